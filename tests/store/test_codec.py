import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.store import codec
from broker.store.codec import MAX_BYTES, Fault, FaultKind, Parsed, encode, parse, parse_object, render, same


def parsed(text: str) -> Parsed:
    made = parse(text.encode())
    assert isinstance(made, Parsed), made
    return made


def changed(text: str, **fields: object) -> str:
    """Set fields of a document and return the new text."""
    file = parsed(text)
    return render(file, {**file.document, **fields}).decode()


# --- faults ---


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", FaultKind.EMPTY),
        (b" \n\t", FaultKind.EMPTY),
        (b"\0\0\0\0", FaultKind.EMPTY),  # what a power cut leaves on ext4 and xfs
        (b"{", FaultKind.HALF),
        (b'{"type": "fa', FaultKind.HALF),
        (b'{"type": "fake"', FaultKind.HALF),
        (b'{"type": "fake", ', FaultKind.HALF),
        (b'{"type": "fake", "x": tr', FaultKind.HALF),
        (b'{"type": "fake", "x": -', FaultKind.HALF),
        (b'{"type": "fake", "x": "\\u00', FaultKind.HALF),
        (b'{"type": "fake", "x": "\xc3', FaultKind.HALF),
        (b"nope", FaultKind.NOT_JSON),
        (b'{"type": "fake"} {}', FaultKind.NOT_JSON),
        (b'{"type": "fa\xffke"}', FaultKind.NOT_JSON),
        (b'{"type": "fake", "x": NaN}', FaultKind.NOT_JSON),
        (b'{"type": "fake", "x": ' + b"[" * 200 + b"]" * 200 + b"}", FaultKind.NOT_JSON),
        (b"[1]", FaultKind.NOT_OBJECT),
        (b'"text"', FaultKind.NOT_OBJECT),
        (b"{}", FaultKind.NO_TYPE),
        (b'{"type": 7}', FaultKind.NO_TYPE),
        (b'{"type": ""}', FaultKind.NO_TYPE),
        (b"{" + b" " * MAX_BYTES, FaultKind.TOO_BIG),
    ],
)
def test_faults(data: bytes, kind: FaultKind) -> None:
    fault = parse(data)
    assert isinstance(fault, Fault)
    assert fault.kind is kind
    assert fault.settles == (kind in {FaultKind.EMPTY, FaultKind.HALF, FaultKind.NOT_JSON})


def test_a_fault_quotes_nothing_of_the_file() -> None:
    fault = parse(b'{"type": "fake", "access_token": fake-secret}')
    assert isinstance(fault, Fault)
    assert "fake-secret" not in fault.detail
    assert "line 1" in fault.detail


def test_a_parsed_file_shows_nothing() -> None:
    assert "fake-secret" not in repr(parsed('{"type": "fake", "token": "fake-secret"}'))


def test_every_beginning_of_a_file_is_half_or_empty() -> None:
    whole = json.dumps(
        {"type": "fake", "n": [1, 2.5, -3, 1e-7, True, None], "text": 'ä "quoted" \\ \u20ac'}, indent=2
    ).encode()
    for end in range(len(whole)):
        fault = parse(whole[:end])
        assert isinstance(fault, Fault), whole[:end]
        assert fault.kind in {FaultKind.HALF, FaultKind.EMPTY}, whole[:end]


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf")
@example(b"\xef\xbb\xbf{")
@example(b'{"type":"a","b":1' + b"0" * 5000 + b"}")
def test_no_bytes_make_it_raise(data: bytes) -> None:
    assert isinstance(parse(data), Parsed | Fault)


def test_brackets_in_strings_are_no_depth() -> None:
    assert parsed(json.dumps({"type": "fake", "x": "[{" * 300})).document["x"] == "[{" * 300
    many = json.dumps({"type": "fake", "x": [[]] * 150})
    assert len(parsed(many).document["x"]) == 150  # type: ignore[arg-type]


@pytest.mark.parametrize("quote", ["", '\\"'])
@pytest.mark.parametrize("inside", ["", "0.5", "[], {}"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_hundred_levels_are_read_and_one_more_is_not(opening: str, closing: str, inside: str, quote: str) -> None:
    levels = 99 - inside.count("[], {}")
    for more in (0, 1):
        depth = levels + more
        nest = opening * (depth - 1) + f"[{inside}]" + closing * (depth - 1)
        found = parse(f'{{"type": "fake{quote}", "x": {nest}}}'.encode())
        assert (found.kind if isinstance(found, Fault) else None) == (FaultKind.NOT_JSON if more else None)


def test_repeated_keys_are_named_and_the_last_counts() -> None:
    file = parsed('{"type": "fake", "a": 1, "in": {"b": 1, "b": 2}, "a": 3}')
    assert (file.document["a"], file.document["in"]) == (3, {"b": 2})
    assert sorted(file.repeated) == ["a", "b"]


# --- writing back ---


def test_an_unchanged_document_keeps_every_byte() -> None:
    text = '\ufeff{ "type" :"fake",\r\n\t"a":1.10, "b": 1E400 ,"c":"\\u00e9\\/" }\r\n\r\n'
    assert changed(text) == text


def test_only_the_changed_value_changes() -> None:
    text = '{\n  "type": "fake",\n  "a": 1.10,\n  "token": {"x": 1e400, "y": "old"},\n  "big": 100000000000000000000000000000001\n}\n'
    made = changed(text, token={"x": float("inf"), "y": "new"})
    assert made == text.replace('"old"', '"new"')


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ('{"type":"fake","a":1}', '{"type":"fake","a":1,"n":{"k":[1,2]}}'),
        ('{"type": "fake", "a": 1}', '{"type": "fake", "a": 1, "n": {"k": [1, 2]}}'),
        ('{"type":"fake"}', '{"type":"fake","n":{"k":[1,2]}}'),
        (
            '{\n  "type": "fake"\n}\n',
            '{\n  "type": "fake",\n  "n": {\n    "k": [\n      1,\n      2\n    ]\n  }\n}\n',
        ),
        (
            '{\r\n\t"type": "fake",\r\n\t"a": 1\r\n}',
            '{\r\n\t"type": "fake",\r\n\t"a": 1,\r\n\t"n": {\r\n\t\t"k": [\r\n\t\t\t1,\r\n\t\t\t2\r\n\t\t]\r\n\t}\r\n}',
        ),
    ],
)
def test_a_new_field_takes_the_style_of_the_file(text: str, made: str) -> None:
    assert changed(text, n={"k": [1, 2]}) == made


def test_a_new_field_in_a_nested_object_is_indented_like_its_siblings() -> None:
    text = '{\n  "type": "fake",\n  "token": {\n    "a": 1\n  }\n}\n'
    made = changed(text, token={"a": 1, "b": {"c": 2}})
    assert made == text.replace('"a": 1', '"a": 1,\n    "b": {\n      "c": 2\n    }')


@pytest.mark.parametrize(
    ("old", "new", "made"),
    [
        ({"a": 1, "b": 2, "c": 3}, {"b": 2, "c": 3}, '{"type": "fake", "o": {"b": 2, "c": 3}}'),
        ({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2}, '{"type": "fake", "o": {"a": 1, "b": 2}}'),
        ({"a": 1, "b": 2, "c": 3}, {"a": 1}, '{"type": "fake", "o": {"a": 1}}'),
        ({"a": 1, "b": 2}, {"z": 1}, '{"type": "fake", "o": {"z": 1}}'),
        ({"a": 1, "b": 2}, {}, '{"type": "fake", "o": {}}'),
        ({}, {"a": 1}, '{"type": "fake", "o": {"a": 1}}'),
        ({"a": 1, "b": 2}, {"b": 3, "d": 4}, '{"type": "fake", "o": {"b": 3, "d": 4}}'),
    ],
)
def test_removed_fields_go_with_their_comma(old: object, new: object, made: str) -> None:
    assert changed(json.dumps({"type": "fake", "o": old}), o=new) == made


def test_escapes_stay_in_the_spelling_of_the_file() -> None:
    assert changed('{"type":"fake","a":"\\u00e9"}', b="ü") == '{"type":"fake","a":"\\u00e9","b":"\\u00fc"}'
    assert changed('{"type":"fake","a":"é"}', b="ü") == '{"type":"fake","a":"é","b":"ü"}'
    assert changed('{"type":"fake","a":"\\u0001"}', b="ü") == '{"type":"fake","a":"\\u0001","b":"ü"}'


def test_a_lone_surrogate_can_be_written() -> None:
    assert changed('{"type":"fake"}', b="\ud800") == '{"type":"fake","b":"\\ud800"}'


def test_numbers_that_only_look_equal_are_changes() -> None:
    assert changed('{"type":"fake","a":1}', a=True) == '{"type":"fake","a":true}'
    assert changed('{"type":"fake","a":1}', a=1.0) == '{"type":"fake","a":1.0}'
    assert changed('{"type":"fake","a":[0.0]}', a=[-0.0]) == '{"type":"fake","a":[-0.0]}'
    assert changed('{"type":"fake","a":[1]}', a=[1, 2]) == '{"type":"fake","a":[1,2]}'


def test_of_a_repeated_field_the_last_is_written() -> None:
    assert changed('{"a":1,"type":"fake","a":2}', a=3) == '{"a":1,"type":"fake","a":3}'


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        changed('{"type":"fake"}', a=float("nan"))


def test_a_new_file_is_indented_and_ends_with_a_newline() -> None:
    assert (
        encode({"type": "fake", "o": {"ä": [1]}})
        == '{\n  "type": "fake",\n  "o": {\n    "ä": [\n      1\n    ]\n  }\n}\n'.encode()
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(st.text(max_size=6), json_values, max_size=5).map(lambda d: {**d, "type": "fake"})


@given(documents, documents, st.sampled_from([None, 1, 2, 4, "\t"]), st.booleans(), st.booleans())
def test_any_change_reads_back_as_meant(
    old: dict[str, Any], new: dict[str, Any], indent: int | str | None, ascii_: bool, tight: bool
) -> None:
    separators = (",", ":") if tight else None
    text = json.dumps(old, indent=indent, ensure_ascii=ascii_, separators=separators)
    made = render(parsed(text), new)
    assert json.dumps(json.loads(made), sort_keys=True) == json.dumps(new, sort_keys=True)


@given(documents, st.sampled_from([None, 2]))
def test_what_is_not_touched_keeps_its_bytes(document: dict[str, Any], indent: int | None) -> None:
    document.pop("access_token", None)
    text = json.dumps({**document, "access_token": "fake-old"}, indent=indent)
    assert changed(text, access_token="fake-new") == re.sub('"fake-old"(?=\n?}$)', '"fake-new"', text)


# --- the quick way ---

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """JSON, or nearly: some is written with escapes, some has a key twice, some is cut or has a character too many."""
    text = json.dumps(draw(_TREES), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    if draw(st.booleans()):
        text = '{"a": 1, "b": ' + text + ', "' + draw(st.sampled_from("abc")) + '": "x"}'
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.sampled_from(["", "\n", "\t", '"', ",", "\\", "0", "-", "}", "[1]", "1e5", "\x00"]))
            + text[at:]
        )
    return text


@given(texts())
@example('{"a": "x", "a": "y"}')
@example('{"a": {"b": "", "b": 1}}')
@example('{"a": [{"b": 1, "b": 1}]}')
@example('{"a": -0, "b": 1E2, "c": 18446744073709551616}')
@example('{"a": NaN}')
def test_the_quick_way_reads_what_the_careful_way_does(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        quick = parse_object(text.encode(errors="replace"))
        patch.setattr(codec, "_plainly", lambda _text: None)
        careful = parse_object(text.encode(errors="replace"))
    assert type(quick) is type(careful)
    if isinstance(quick, Parsed) and isinstance(careful, Parsed):
        assert same(quick.document, careful.document)
        assert list(quick.document) == list(careful.document)
        assert (quick.text, quick.repeated) == (careful.text, careful.repeated)
    else:
        assert quick == careful


def test_an_ordinary_file_goes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec.json, "JSONDecoder", None)
    made = parse_object(b'{"type": "fake", "token": {"access_token": "a", "n": [1, null, true]}, "disabled": false}')
    assert isinstance(made, Parsed)
    assert "fake" not in repr(made)
