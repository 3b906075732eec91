"""The shapes skip what they do not know, and refuse what is none."""

import msgspec
import pytest

from broker.translate.responses_upstream_wire import WireEvent, WireResponse


def test_unknown_fields_are_skipped():
    told = msgspec.json.decode(b'{"id":"r","output":[{"type":"x","new":[1]}],"next_year":{}}', type=WireResponse)
    assert (told.id, told.output[0].type) == ("r", "x")


def test_an_event_has_a_type():
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b"{}", type=WireEvent)
