import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import Routing
from broker.providers.routing import read


def test_a_file_that_says_nothing() -> None:
    assert read({}) == Routing() == Routing("", 0, 1, ())


def test_all_fields() -> None:
    document = {"prefix": "/work/", "priority": 5, "weight": 3, "excluded_models": ["gemini-*-image*", " gpt-5 "]}
    assert read(document) == Routing("work", 5, 3, ("gemini-*-image*", "gpt-5"))


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["prefix", "priority", "weight", "excluded_models"], JSON)))
def test_anything_is_read(document: dict[str, object]) -> None:
    found = read(document)
    assert 1 <= found.weight <= 100
    assert abs(found.priority) <= 1_000_000
