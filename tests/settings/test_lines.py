import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.settings.lines import line_of, lines_of, place_of

TEXT = '''# a comment with [brackets] and = signs
title = "x"   # another

[proxy]
port = 1
api_keys = [
  "a", # ] no end
  """b
  ]""",

  'c',
]
"quoted key" . inner = { one = 1, two = [
  { three = 3 } ] }
text = """
[not.a.heading]
key = 1 ""\\"quoted\\"" """""
after = 'a'

[ upstreams . "gpt-5.4" ]
base_url = \'\'\'
x''\'\'\'
[[rules]]
a = 1979-05-27 07:32:00
[[rules]]
[rules.inner]
b = -1.5e3
[a.b.c]
[a]
d = true
'''


def test_each_key_has_its_line() -> None:
    tomllib.loads(TEXT)
    lines = lines_of(TEXT)
    wanted = {
        ("title",): 2,
        ("proxy",): 4,
        ("proxy", "port"): 5,
        ("proxy", "api_keys"): 6,
        ("proxy", "api_keys", "0"): 7,
        ("proxy", "api_keys", "1"): 8,
        ("proxy", "api_keys", "2"): 11,
        ("proxy", "quoted key", "inner"): 13,
        ("proxy", "quoted key", "inner", "two", "0", "three"): 14,
        ("proxy", "text"): 15,
        ("proxy", "after"): 18,
        ("upstreams",): 20,
        ("upstreams", "gpt-5.4"): 20,
        ("upstreams", "gpt-5.4", "base_url"): 21,
        ("rules",): 23,
        ("rules", "0", "a"): 24,
        ("rules", "1", "inner"): 26,
        ("rules", "1", "inner", "b"): 27,
        ("a", "b", "c"): 28,
        ("a",): 29,
        ("a", "d"): 30,
    }
    assert {key: lines[key] for key in wanted} == wanted
    assert ("not", "a", "heading") not in lines


def test_line_ends_of_windows_count_once() -> None:
    assert lines_of("a = 1\r\n\r\nb = '''x\r\ny'''\r\nc = 2\r\n")[("c",)] == 5


def test_the_nearest_table_stands_for_a_key_that_is_not_there() -> None:
    lines = lines_of("[a]\nb = 1")
    assert line_of(("a", "c"), lines) == 1
    assert line_of(("a", "b", "0"), lines) == 2
    assert line_of(("z",), lines) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a =\n[b]", (1, 4)),
        ("a = 1\nb = [1,", (2, 8)),
        ("a = 1\na = 2", (2, 6)),
        ("[x]\ny", (2, 2)),
    ],
)
def test_what_is_no_toml_has_a_place(text: str, place: tuple[int, int]) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    said, *found = place_of(caught.value, text)
    assert tuple(found) == place
    assert "(at" not in said


def test_words_without_a_place_are_put_at_the_end() -> None:
    assert place_of(tomllib.TOMLDecodeError("odd"), "a\nbc") == ("odd", 2, 3)


KEYS = st.sampled_from(["a", "b-1", '"q.k"', "'#'"])
SCALARS = st.sampled_from(["1", "true", "1.5", '"x]"', "'y#'", '"""m\n[z]\n"""', "1979-05-27", '"\\"="', "'''n'\n'''"])
BREAKS = st.sampled_from(["", " ", "\n", " # c]}\n"])


@st.composite
def arrays(draw: st.DrawFn) -> str:
    inner = draw(st.lists(SCALARS, max_size=3))
    return "[" + draw(BREAKS) + "".join(f"{each},{draw(BREAKS)}" for each in inner) + "]"


@st.composite
def inline(draw: st.DrawFn) -> str:
    keys = draw(st.lists(KEYS, unique=True, max_size=3))
    return "{" + ", ".join(f"{key} = {draw(SCALARS | arrays())}" for key in keys) + "}"


@st.composite
def documents(draw: st.DrawFn) -> str:
    out = []
    for number in range(draw(st.integers(0, 3))):
        out.append(f"[t{number}.{draw(KEYS)}]")
        out += [f"{key} = {draw(SCALARS | arrays() | inline())}" for key in draw(st.lists(KEYS, unique=True))]
    return "\n".join(out)


def leaves(tree: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    found = {path: tree} if path else {}
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, each in inner:
        found |= leaves(each, (*path, str(name)))
    return found


@given(documents())
def test_every_value_of_any_document_has_a_line_and_nothing_else_has(text: str) -> None:
    lines = lines_of(text)
    assert set(lines) == set(leaves(tomllib.loads(text)))
    rows = text.split("\n")
    for key, line in lines.items():
        if not key[-1].isdigit():
            assert key[-1] in rows[line - 1]


@pytest.mark.parametrize("text", ["a = 1\n= 2", "a = 1\nb = [1,", "a = 1\nb = {"])
def test_a_text_that_is_no_toml_gives_what_comes_before_its_fault(text: str) -> None:
    assert lines_of(text)[("a",)] == 1
