import msgspec

from broker.translate.gemini_client_wire import WireContent, WirePart, WireRequest


def test_all_but_the_contents_has_a_default():
    told = msgspec.convert({"contents": [], "labels": {"a": "b"}}, WireRequest)
    assert told == WireRequest([])
    assert not any(getattr(told, name) for name in WireRequest.__struct_fields__)


def test_what_stands_alone_is_taken_where_a_list_may_stand():
    told = msgspec.convert({"contents": {"parts": {"text": "x"}}}, WireRequest)
    assert told.contents == WireContent(parts=WirePart("x"))
