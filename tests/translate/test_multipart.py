import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.multipart import MAX_HEAD_BYTES, MAX_PARTS, Part, is_form, split_form, with_value

KIND = "multipart/form-data; boundary=x1"
ONE = b'--x1\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x1--\r\n'


def piece(head: str, value: bytes = b"v") -> bytes:
    return b"--x1\r\n" + head.encode() + b"\r\n\r\n" + value + b"\r\n"


def form(*pieces: bytes) -> bytes:
    return b"".join(pieces) + b"--x1--\r\n"


def refused(body: bytes, kind: str = KIND) -> str:
    with pytest.raises(BrokerError) as caught:
        split_form(body, kind)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value.detail


@pytest.mark.parametrize(
    ("told", "form"),
    [
        (None, False), ("", False), ("application/json", False), ("multipart/form-data", True), ("Multipart/Form-Data ; boundary=a", True),
        ("multipart/form-datax; boundary=a", False),
    ],
)  # fmt: skip
def test_what_is_a_form(told: str | None, form: bool) -> None:
    assert is_form(told) is form


def test_parts_know_where_they_lie() -> None:
    body = form(
        piece('Content-Disposition: form-data; name="model"', b""),
        piece(
            'content-disposition: Form-Data; filename="a \\" ; b.png"; name=image\r\nContent-Type: Image/PNG; x=y',
            b"a\r\n--x2\r\n",
        ),
        piece('Content-Disposition:form-data;name="image[]"\r\nContent-Transfer-Encoding: BINARY'),
    )
    parts = split_form(body, 'multipart/form-data; charset=utf-8; Boundary="x1"')
    assert [(part.name, body[part.start : part.end], part.mime) for part in parts] == [
        ("model", b"", None), ("image", b"a\r\n--x2\r\n", "image/png"), ("image[]", b"v", None),
    ]  # fmt: skip
    assert [part.filename is None for part in parts] == [True, False, True]
    assert split_form(form(), KIND) == ()
    assert split_form(b"--x1 \t\r\n" + ONE[6:], KIND)[0].name == "model"


def test_one_value_is_changed_in_place() -> None:
    (part,) = split_form(ONE, KIND)
    assert with_value(ONE, part, b"gpt-image-2") == ONE.replace(b"\r\nm\r\n", b"\r\ngpt-image-2\r\n")


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=a\u00e9", 'multipart/form-data; boundary="a\tb"',
        f"multipart/form-data; boundary={'a' * 71}", "multipart/form-data; boundary=a; boundary=b", 'multipart/form-data; boundary="a ',
        'multipart/form-data; boundary="a "', "multipart/form-data; boundary x1",
    ],
)  # fmt: skip
def test_what_is_no_boundary(kind: str) -> None:
    assert refused(ONE, kind).startswith("content-type: ")


NAMED = 'Content-Disposition: form-data; name="a"'


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "does not begin"),
        (b"\r\n" + ONE, "does not begin"),
        (ONE[:-6], "no end"),
        (ONE[:-4], "goes on otherwise"),
        (b"--x1", "goes on otherwise"),
        (ONE + b"x", "follows the end"),
        (ONE.replace(b"\r\n", b"\n"), "goes on otherwise"),
        (b"--x1y" + ONE[4:], "goes on otherwise"),
        (ONE.replace(b"m\r\n--x1--", b"m\r\n--x1y\r\n--x1--"), "goes on otherwise"),
        (b"--x1\r\n" + NAMED.encode() + b"\r\n\r\n--x1--\r\n", "no end"),
        (b"--x1\r\n\r\nv\r\n\r\nw\r\n--x1--", "cannot be read"),
        (b"--x1\r\n" + NAMED.encode() + b"\r\n", "have no end"),
        (form(piece(NAMED + "\r\nX: " + "y" * MAX_HEAD_BYTES)), "have no end"),
        (form(*[piece(NAMED)] * (MAX_PARTS + 1)), "more than"),
        (form(piece(NAMED + "\r\n--x1--: b")), "has no end"),
        (form(piece("--x1: b\r\n" + NAMED)), "has no end"),
        (form(piece("Content-Type: text/plain")), "no plain name"),
        (form(piece('Content-Disposition: attachment; name="a"')), "no plain name"),
        (form(piece("Content-Disposition: form-data")), "no plain name"),
        (form(piece("Content-Disposition: form-data; name*=utf-8''a; name=a")), "no plain name"),
        (form(piece(NAMED.replace('"a"', '"a\\"b"'))), "no plain name"),
        (form(piece(NAMED + "; name=b")), "parameters"),
        (form(piece(NAMED + "; name")), "parameters"),
        (form(piece(NAMED + ' filename="b"')), "parameters"),
        (form(piece(NAMED + "\r\nContent-Transfer-Encoding: base64")), "encoded"),
        (form(piece(NAMED + "\r\ncontent-disposition: form-data; name=b")), "cannot be read"),
        (form(piece(NAMED + "\r\n ; filename=b")), "cannot be read"),
        (form(piece(NAMED + "\r\n: b")), "cannot be read"),
        (form(piece(NAMED + "\nX: b")), "cannot be read"),
        (form(piece(NAMED + "\rX: b")), "cannot be read"),
        (form(piece("X")), "cannot be read"),
    ],
)
def test_what_is_no_form_or_two(body: bytes, why: str) -> None:
    assert why in refused(body)


def test_as_many_parts_as_may_be() -> None:
    assert len(split_form(form(*[piece(NAMED)] * MAX_PARTS), KIND)) == MAX_PARTS


NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=20)
VALUES = st.binary(max_size=60) | st.lists(
    st.sampled_from([b"\r\n", b"--", b"x1", b"-", b"a", b"\r"]), max_size=12
).map(b"".join)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.data())
def test_what_is_written_is_read_and_every_other_byte_stays(
    fields: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    fields = [(name, value) for name, value in fields if b"\r\n--x1" not in b"\r\n" + value]
    body = form(*(piece(f'Content-Disposition: form-data; name="{name}"', value) for name, value in fields))
    parts = split_form(body, KIND)
    assert [(part.name, body[part.start : part.end]) for part in parts] == fields
    if parts:
        at = data.draw(st.integers(0, len(parts) - 1))
        changed = with_value(body, parts[at], b"other")
        again = split_form(changed, KIND)
        expected = [*fields[:at], (fields[at][0], b"other"), *fields[at + 1 :]]
        assert [(part.name, changed[part.start : part.end]) for part in again] == expected


@given(
    st.lists(
        st.sampled_from(
            [
                b"--x1",
                b"--",
                b"\r\n",
                b"\n",
                b":",
                b";",
                b'"',
                b"name=",
                b"Content-Disposition: form-data",
                b"a",
                b"\\",
                b"\xff",
            ]
        ),
        max_size=30,
    ).map(b"".join),
    st.booleans(),
)
def test_whatever_comes_is_read_or_refused(tail: bytes, whole: bool) -> None:
    body = (ONE[:-8] if whole else b"") + tail
    refusal = None
    parts: tuple[Part, ...] = ()
    try:
        parts = split_form(body, KIND)
    except BrokerError as error:
        refusal = error.code
    assert refusal in (None, ErrorCode.BAD_REQUEST)
    assert all(0 < part.start <= part.end <= len(body) for part in parts)
