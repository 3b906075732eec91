import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import Routing
from broker.model.secret import Secret
from broker.providers.routing import read


def test_a_file_that_says_nothing() -> None:
    assert read({}) == Routing() == Routing("", 0, 1, ())


def test_all_fields() -> None:
    document = {"prefix": "/team/", "priority": 5, "weight": 3, "excluded_models": ["gemini-*-image*", " gpt-5 "]}
    assert read(document) == Routing("team", 5, 3, ("gemini-*-image*", "gpt-5"))


@pytest.mark.parametrize("key", ["excluded_models", "excludedModels", "excluded-models"])
def test_spellings(key: str) -> None:
    assert read({key: ["a"]}).excluded == ("a",)


@pytest.mark.parametrize(
    ("value", "priority", "weight"),
    [
        ("7", 7, 7),
        (7.9, 7, 7),
        (-3, -3, 1),
        (10**12, 1_000_000, 100),
        ("-1e3", -1000, 1),
        (True, 0, 1),
        ("high", 0, 1),
        ("nan", 0, 1),
        (float("inf"), 0, 1),
        ([], 0, 1),
        (0, 0, 1),
    ],
)
def test_numbers(value: object, priority: int, weight: int) -> None:
    found = read({"priority": value, "weight": value})
    assert (found.priority, found.weight) == (priority, weight)


@pytest.mark.parametrize("value", ["a/b", "", "  ", "x" * 201, "a\nb", 5, None])
def test_a_prefix_that_cannot_be(value: object) -> None:
    assert read({"prefix": value}).prefix == ""


@pytest.mark.parametrize(
    ("value", "globs"),
    [("a", ()), (["a", 1, "", "x" * 201, "b\n", "c\td"], ("a", "b")), ([f"m{n}" for n in range(101)], None)],
)
def test_globs(value: object, globs: tuple[str, ...] | None) -> None:
    found = read({"excluded_models": value}).excluded
    assert found == globs if globs is not None else len(found) == 100


@pytest.mark.parametrize("value", [None, "", "  "])
def test_no_proxy_is_none(value: object) -> None:
    assert read({"proxy_url": value}).proxy_url is None


@pytest.mark.parametrize(("value", "fault"), [("direct", ""), ("socks5://me:fake@out.example", "")])
def test_a_proxy_is_kept_as_it_is_written(value: str, fault: str) -> None:
    found = read({"proxy-url": f" {value} "})
    assert (found.proxy_url, found.proxy_fault) == (Secret(value), fault)


@pytest.mark.parametrize("value", ["out.example:3128", "socks4://out.example", 5, ["http://x"], "http://\udc80"])
def test_a_proxy_that_cannot_be_is_told(value: object) -> None:
    found = read({"proxy_url": value})
    assert found.proxy_fault
    assert found.proxy_url is not None
    found.proxy_url.digest()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["prefix", "priority", "weight", "excluded_models", "proxy_url"], JSON)
    )
)
def test_anything_is_read(document: dict[str, object]) -> None:
    found = read(document)
    assert 1 <= found.weight <= 100
    assert abs(found.priority) <= 1_000_000
