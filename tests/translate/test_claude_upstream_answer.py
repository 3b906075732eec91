import json

import pytest

from broker.translate.claude import Claude
from broker.translate.fold import fold
from broker.translate.ir import (
    CalledTool,
    Failed,
    FailureKind,
    Finished,
    FinishReason,
    Image,
    Started,
    Text,
    TextDelta,
    Thinking,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.signers import Signer
from broker.translate.thoughts import recall
from tests.contract.codec_contract import UpstreamCodecContract, read_stream, reading

CODEC = Claude()


def block(kind, content):
    match kind:
        case "text":
            return {"type": "text", "text": content}
        case "thinking":
            return {"type": "thinking", "thinking": content, "signature": ""}
        case "image":
            return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": content}}
        case "call":
            return {"type": "tool_use", "id": "toolu_1", "name": "f", "input": json.loads(content)}


def deltas(kind, content):
    match kind:
        case "text":
            yield {"type": "text_delta", "text": content}
        case "thinking":
            yield {"type": "thinking_delta", "thinking": content}
        case "call":
            text = json.dumps(json.loads(content), separators=(",", ":"), ensure_ascii=False)
            yield {"type": "input_json_delta", "partial_json": text[:1]}
            yield {"type": "input_json_delta", "partial_json": text[1:]}


def message(pieces, **fields):
    ended = "tool_use" if any(kind == "call" for kind, _ in pieces) else "end_turn"
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [block(*p) for p in pieces],
        "stop_reason": ended, "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 4}, **fields,
    }  # fmt: skip


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def events(pieces):
    whole = message(pieces)
    start = whole | {"content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
    yield {"type": "message_start", "message": start}
    for index, (kind, content) in enumerate(pieces):
        empty = block(kind, content) | {"text": {"text": ""}, "thinking": {"thinking": ""}, "call": {"input": {}}}.get(
            kind, {}
        )
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        yield {"type": "ping"}
        yield from ({"type": "content_block_delta", "index": index, "delta": each} for each in deltas(kind, content))
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"]}, "usage": {"output_tokens": 4}}
    yield {"type": "message_stop"}


def framed(sequence, line_end=b"\n"):
    return b"".join(
        b"event: " + each["type"].encode() + line_end + b"data: " + compact(each) + line_end * 2 for each in sequence
    )


class TestContract(UpstreamCodecContract):
    codec = CODEC

    def whole(self, pieces):
        return compact(message(pieces))

    def stream(self, pieces, line_end, comments):
        comment = b": a comment" + line_end * 2 if comments else b""
        return comment + framed(events(pieces), line_end)


def streamed(*sequence):
    return read_stream(CODEC.stream_decoder(reading()), [framed(sequence)])


def start(**usage):
    return {"type": "message_start", "message": {"id": "msg_1", "model": "m", "type": "message", "usage": usage}}


STOP = {"type": "message_stop"}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("pause_turn", FinishReason.STOP),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("refusal", FinishReason.CONTENT_FILTER),
        ("of_next_year", FinishReason.STOP),
        (None, FinishReason.STOP),
    ],
)
def test_why_it_ended(word, reason):
    whole = fold(CODEC.decode_answer(compact(message([("text", "x")], stop_reason=word)), reading()))
    assert whole.choices[0].finished == Finished(reason, word)


def test_a_stop_sequence_is_told():
    told = {"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"}}
    assert streamed(start(), told, STOP)[-1] == Finished(FinishReason.STOP, "stop_sequence", stop_sequence="END")


def test_usage_of_both_ends_is_put_together():
    begun = start(input_tokens=5, cache_creation_input_tokens=2, cache_read_input_tokens=3, output_tokens=1)
    ended = {"type": "message_delta", "usage": {"output_tokens": 9}}
    assert streamed(begun, ended, STOP)[-2] == Usage(10, 9, 0, 3, 2)
    assert streamed(begun, {"type": "message_delta", "usage": {"input_tokens": 7}}, STOP)[-2] == Usage(12, 1, 0, 3, 2)


def test_signatures_and_what_only_anthropic_can_read():
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "redacted_thinking"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "image", "source": {"type": "url"}},
        {"type": "image", "source": {"data": "AAAA"}},
        {"type": "text", "text": "t"},
    ]
    parts = fold(CODEC.decode_answer(compact(message([], content=content)), reading())).choices[0].parts
    assert parts == (
        Thinking("hm", "anthropic.s1"),
        Thinking("", None, "anthropic.zzz"),
        Image("image/png", "AAAA"),
        Text("t"),
    )
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s1"}}
    assert Thinking("", "anthropic.s1") in fold(streamed(start(), delta, STOP)).choices[0].parts


def test_thoughts_are_remembered_by_the_call_they_led_to():
    thought = {"type": "thinking", "thinking": "hm", "signature": "s1"}
    call = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    into = reading()
    CODEC.decode_answer(compact(message([], content=[thought, call, call | {"id": "c2"}])), into)
    assert recall(into.signatures, Signer.ANTHROPIC, "c1") == (Thinking("hm", "anthropic.s1"),)
    assert recall(into.signatures, Signer.ANTHROPIC, "c2") == ()


def test_arguments_that_all_came_at_the_beginning():
    opened = {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "input": {"a": 1}}}
    shut = {"type": "content_block_stop", "index": 0}
    assert fold(streamed(start(), opened, shut, shut, STOP)).choices[0].parts == (
        CalledTool("call_contract_0", "tool_0", '{"a":1}'),
    )


def test_what_belongs_to_nothing_is_left_out():
    late = {"type": "content_block_delta", "index": 9, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
    other = {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta"}}
    empty = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}}
    assert streamed(start(), late, other, empty, {"type": "of_next_year"}, STOP) == [
        Started("msg_1", "m"),
        Usage(),
        Finished(FinishReason.STOP),
    ]


def test_nothing_follows_the_end():
    decoder = CODEC.stream_decoder(reading())
    more = framed([{"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}])
    assert decoder.feed(framed([start(), STOP]) + more)[-1] == Finished(FinishReason.STOP)
    assert decoder.feed(more) == []
    assert decoder.close() == []


def test_a_stream_without_a_beginning_gets_one():
    assert streamed(STOP)[0] == Started()


def test_an_error_in_the_middle_ends_it():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    *_, said, failed = streamed(start(), text, error, STOP)
    assert said == TextDelta("a")
    assert isinstance(failed, Failed)
    assert (failed.failure.kind, failed.failure.status, failed.failure.message) == (FailureKind.OVERLOADED, 529, "busy")


def test_an_error_with_a_good_status_is_one():
    (failed,) = CODEC.decode_answer(b'{"type":"error","error":{"type":"api_error","message":"m"}}', reading())
    assert isinstance(failed, Failed)
    assert failed.failure.status == 502


def test_a_line_too_long_is_a_failure_of_the_upstream():
    decoder = CODEC.stream_decoder(reading())
    told = [event for _ in range(66) for event in decoder.feed(b"data: " + b"x" * (1 << 20))]
    assert isinstance(told[0], Failed)
    assert len(told) == 1


def test_calls_are_numbered_on():
    opened = [
        {"type": "content_block_start", "index": i, "content_block": {"type": "tool_use", "id": f"c{i}", "name": "f"}}
        for i in range(2)
    ]
    more = {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
    told = streamed(start(), *opened, more, STOP)
    assert [e for e in told if isinstance(e, ToolCallStarted | ToolCallDelta)] == [
        ToolCallStarted(0, "c0", "f"),
        ToolCallStarted(1, "c1", "f"),
        ToolCallDelta(1, "{}"),
    ]
