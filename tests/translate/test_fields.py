"""A fault in a body is told by the path of its field, and never quotes a value."""

import msgspec
import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.fields import (
    attempt,
    bad_field,
    field_of,
    join,
    read,
    read_arguments,
    read_text,
    read_text_or_none,
    shaped,
)


class Inner(msgspec.Struct):
    b: int


class Outer(msgspec.Struct):
    a: list[Inner]


DECODER = msgspec.json.Decoder(Outer)


@pytest.mark.parametrize(
    ("body", "path", "detail"),
    [
        (b'{"a":[{"b":"hidden"}]}', "", "a[0].b: expected int, got str"),
        (b'{"a":[{"b":"hidden"}]}', "x", "x.a[0].b: expected int, got str"),
        (b'{"a":[{}]}', "", "a[0].b: is required"),
        (b"{}", "", "a: is required"),
        (b"{}", "x[1]", "x[1].a: is required"),
        (b"[]", "", "body: expected object, got array"),
        (b"[]", "x", "x: expected object, got array"),
        (b"{", "", "body: not valid JSON: Input data was truncated"),
        (b"", "x", "x: not valid JSON: Input data was truncated"),
    ],
)
def test_the_detail_names_the_field(body, path, detail):
    with pytest.raises(BrokerError) as caught:
        read(DECODER, body, path)
    assert (caught.value.code, caught.value.detail) == (ErrorCode.BAD_REQUEST, detail)


def test_invalid_utf8_is_no_json():
    with pytest.raises(BrokerError, match=r"^body: not valid JSON"):
        read(msgspec.json.Decoder(), b'"\xff\xfe"')


@pytest.mark.parametrize(("path", "named"), [("", "body"), ("x", "x")])
def test_nesting_beyond_the_stack_is_refused(path, named):
    with pytest.raises(BrokerError, match=rf"^{named}: nested too deeply"):
        read(msgspec.json.Decoder(), b"[" * 100_000 + b"]" * 100_000, path)


def test_reading_what_is_right():
    assert read(DECODER, b'{"a":[{"b":1}]}') == Outer([Inner(1)])


def test_arguments_are_an_object_or_left_out():
    assert read_arguments('{"a": 1}', "x") == {"a": 1}
    assert read_arguments(" ", "x") == {}
    with pytest.raises(BrokerError, match=r"^x: expected object, got array"):
        read_arguments("[]", "x")
    with pytest.raises(BrokerError, match=r"^x: not valid JSON"):
        read_arguments('{"a": "\ud800"}', "x")


def test_shaping_what_is_decoded_already():
    assert shaped(Outer, {"a": [{"b": "1"}]}) == Outer([Inner(1)])
    with pytest.raises(BrokerError) as caught:
        shaped(Outer, {"a": [{"b": "x"}]}, "at[0]")
    assert caught.value.detail.startswith("at[0].a[0].b: expected int")
    with pytest.raises(BrokerError, match="body: expected object"):
        shaped(Outer, [])


@pytest.mark.parametrize(
    ("outer", "inner", "whole"), [("", "a", "a"), ("a", "", "a"), ("a", "[0].b", "a[0].b"), ("a", "b", "a.b")]
)
def test_joining_paths(outer, inner, whole):
    assert join(outer, inner) == whole


def test_the_named_field_is_found_again():
    with pytest.raises(BrokerError) as caught:
        bad_field("messages[2].content[0].image_url.url", "is required")
    assert field_of(caught.value.detail) == "messages[2].content[0].image_url.url"
    assert field_of("body: not valid JSON") is None
    assert field_of("the disk is full: no space") is None


def test_what_is_only_looked_at_may_be_unreadable():
    numbers = msgspec.json.Decoder(list[int])
    assert attempt(numbers, b"[1]") == [1]
    for data in (b"", b'["x"]', b"\xff", b'"\xff"'):
        assert attempt(numbers, data) is None
    assert attempt(msgspec.json.Decoder(object), b"[" * 100_000) is None


def test_text_may_be_long_or_null():
    long = '"' + "A" * 70_000 + '"'
    assert read_text(msgspec.Raw(long.encode()), "x") == long[1:-1]
    assert read_text_or_none(msgspec.Raw(b'"a"'), "x") == "a"
    assert read_text_or_none(msgspec.Raw(b"null"), "x") is None
    for wrong in (b"5", b"null"):
        with pytest.raises(BrokerError, match=r"^x\.y: expected str, got "):
            read_text(msgspec.Raw(wrong), "x.y")
