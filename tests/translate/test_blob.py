"""Long base64 text is found where it stands, and written without being decoded."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.blob import LONG, Blob, blob_of, spared, written

TEXT = "iVBORw0KGgo/+" * (LONG // 13 + 1) + "=="


def raw(text: str) -> msgspec.Raw:
    return msgspec.json.decode(b'{"x": %s }' % text.encode(errors="surrogateescape"), type=dict[str, msgspec.Raw])["x"]


def blob(text: str = TEXT) -> Blob:
    found = blob_of(raw(f'"{text}"'))
    assert found is not None
    return found


@pytest.mark.parametrize("length", [LONG - 2, LONG - 1, LONG, 2 * LONG - 1, 2 * LONG, 2 * LONG + 1, 3 * LONG + 2])
def test_long_text_of_any_length_is_found(length):
    text = "A" * (length - 1) + "="
    assert blob(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f'"{"A" * (LONG - 3)}"',  # short
        f"[{'1,' * LONG}1]",
        f'"{TEXT}\\/{TEXT}"',
        f'"\\u0041{TEXT}"',
        f'"{TEXT}\\u002b"',
        f'"{TEXT}\\n"',
        f'"{TEXT}ü"',
        f'"\udcff{TEXT}"',  # no UTF-8
        f'"{TEXT}\udcff"',
        "null",
        "5",
    ],
)
def test_what_is_short_or_must_be_decoded_is_none(text):
    assert blob_of(raw(text)) is None


def test_it_is_text_but_does_not_show_it():
    found = blob()
    assert str(found) == TEXT
    assert (found, hash(found)) == (TEXT, hash(TEXT))
    assert found == blob()
    assert found != "A"
    assert found != 5
    assert repr(found) == f"<base64 text of {len(TEXT)} bytes>"


def test_it_is_taken_apart_and_headed():
    found = blob("data:image/png;base64," + TEXT)
    assert found.begins(15) == "data:image/png;"
    inner = found.after(22)
    assert inner == TEXT
    assert inner.headed('data:"\u00fc,') == 'data:"\u00fc,' + TEXT
    assert msgspec.json.decode(written(inner.headed('data:"\u00fc,'))) == 'data:"\u00fc,' + TEXT


def test_it_keeps_its_body_alive():
    body = bytearray(b'"' + b"A" * LONG + b'"')
    found = blob_of(msgspec.json.decode(bytes(body), type=msgspec.Raw))
    body.clear()
    assert found == "A" * LONG


VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | st.text() | st.sampled_from([blob(), blob("B" * LONG).headed("data:x;base64,")]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(value=VALUES)
def test_json_with_it_is_json_with_its_text(value):
    assert msgspec.json.decode(written(value)) == msgspec.json.decode(msgspec.json.encode(value, enc_hook=str))
    assert written(value, b"data: ", b"\n") == b"data: " + written(value) + b"\n"


def test_nothing_else_is_written_that_json_has_not():
    with pytest.raises(NotImplementedError, match="object"):
        written([blob(), object()])


def test_text_that_was_decoded_is_spared_where_it_can_be():
    found = spared(TEXT)
    assert isinstance(found, Blob)
    assert found == TEXT
    assert (spared("AAAA"), spared(f'"{TEXT}')) == ("AAAA", f'"{TEXT}')
    assert isinstance(spared(f'"{TEXT}'), str)


def test_json_that_is_there_is_written_as_it_is():
    assert written(msgspec.Raw(b'{"a": 1}'), b"<", b">") == b'<{"a": 1}>'
