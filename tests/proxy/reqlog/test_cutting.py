import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.reqlog.cutting import beginning, cut, cut_form, ending, marker

TOKEN = "fake-" + "token" * 40


def test_a_marker_stands_for_something() -> None:
    assert (marker(0), marker(12)) == (b"", b"<12 bytes>")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"", b""),
        (b'{"a": "short", "b": "no longer than it may be"}', b'{"a": "short", "b": "no longer than it may be"}'),
        (b'{"a": "one two three four five six seven"}', b'{"a": "one two three four five six <5 bytes>"}'),
        (b'{"a": "' + b"QUJD" * 20 + b'", "b": 1}', b'{"a": "<80 bytes>", "b": 1}'),
        (b'{"a": "data:image/png;base64,' + b"QUJD" * 20 + b'"}', b'{"a": "data:image/png;base64,<80 bytes>"}'),
        (b'{"a": "say \\"' + b"x" * 40 + b'\\" twice"}', b'{"a": "say \\"<48 bytes>"}'),
        (b"{" + b"[0.25, 0.5]," * 9 + b"}", b"{[0.25, 0.5],[0.25, 0.5],[<84 bytes>"),
        (b"- \\n" * 9, b"- \\n- \\n- \\n- \\n- \\n- \\n- \\n- <6 bytes>"),
    ],
)
def test_strings_are_cut(text: bytes, shown: bytes) -> None:
    assert cut(text, 30) == shown


def test_every_string_of_a_stream_is_cut_by_itself() -> None:
    line = b'data: {"delta": "one two three four five six seven"}\n\n'
    assert cut(line * 3, 30) == b'data: {"delta": "one two three four five six <5 bytes>"}\n\n' * 3


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"two words", b"two "),
        (b"word", b""),
        (b"a token: " + TOKEN.encode(), b"a token: "),
        (b"an escape \\", b"an escape "),
        (b"an escape \\u00", b"an escape "),
        (b"a slash \\/abc\\/", b"a slash "),
        (b"a backslash \\\\", b"a backslash \\\\"),
        ("größe: ä".encode(), "größe: ".encode()),
        ("größe: ä".encode()[:-1], "größe: ".encode()),
        ("一二三".encode(), "一二".encode()),
        ("一二三".encode()[:-1], "一二".encode()),
    ],
)
def test_where_a_text_may_end(text: bytes, kept: bytes) -> None:
    assert ending(text) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"two words", b" words"),
        (TOKEN.encode() + b'", "b"', b'", "b"'),
        ("三 rest".encode()[1:], b" rest"),
        ("三 rest".encode()[2:], b" rest"),
        (b"", b""),
    ],
)
def test_where_a_text_may_begin(text: bytes, kept: bytes) -> None:
    assert beginning(text) == kept


PICTURE = b"\x89PNG\r\n\x00\xff" * 9
FORM = (
    b'--xyz\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na cat\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + PICTURE + b"\r\n--xyz--\r\n"
)


def test_of_a_form_the_files_are_left_out() -> None:
    assert cut_form(FORM, b"--xyz", 40) == FORM.replace(PICTURE, b"<72 bytes>")
    assert cut_form(FORM, b"--xyz", 400) == FORM


def test_of_a_form_that_is_not_whole_too() -> None:
    half = FORM.index(PICTURE) + 50
    assert cut_form(FORM[:half], b"--xyz", 40) == FORM.partition(PICTURE)[0] + b"<50 bytes>"
    assert cut_form(FORM[half - 45 :], b"--xyz", 40) == b"<67 bytes>\r\n--xyz--\r\n"


@given(
    st.recursive(
        st.text(max_size=30).map(lambda text: text * 10) | st.integers(-9, 9) | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=40), inner, max_size=3),
        max_leaves=8,
    ),
    st.integers(80, 120),
    st.booleans(),
)
def test_json_stays_json(document: object, limit: int, ascii_only: bool) -> None:
    written = json.dumps({"x": document}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    short = cut(written, limit).decode("utf-8", "surrogatepass")
    assert all(len(text) <= limit + len("<12345 bytes>") for text in strings(json.loads(short)))


def strings(document: object) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    for inner in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from strings(inner)


def test_an_end_is_found_however_often_a_text_could_end() -> None:
    begun = time.process_time()
    assert ending(b'"' + b"x\\" * 131_072) == b'"'
    assert ending(b" " + b"\\" * 4097 + b"x") == b" " + b"\\" * 4096
    assert ending(b" " + b"x" * 4096) == b" "
    assert time.process_time() - begun < 1  # it takes a tenth, and three where each end costs a copy
