import msgspec

from broker.translate.claude_wire import WireBlock, WireRequest


def test_unknown_fields_are_skipped_and_known_ones_typed():
    wire = msgspec.json.decode(
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}],"service_tier":"auto"}',
        type=WireRequest,
    )
    assert wire.messages[0].content == [WireBlock("text", text="x")]
    assert wire.max_tokens is None
