import json

import pytest

from broker.translate.claude_answer import ClaudeStream, encode_answer, encode_count, encode_error
from broker.translate.exchange import Ids, Reply
from broker.translate.fold import fold
from broker.translate.ir import (
    Failed,
    Failure,
    FailureKind,
    Finished,
    FinishReason,
    ImagePart,
    LogprobsDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.sse import SseParser
from tests.translate.test_claude import put_together

REPLY = Reply(Ids("abc", 1), "asked")
HIDDEN = Reply(Ids("abc", 1), "asked", thinking=False)
END = Finished(FinishReason.STOP)


def whole(*events, reply=REPLY):
    return json.loads(encode_answer(fold(events), reply))


def stream(*events, reply=REPLY):
    encoder = ClaudeStream(reply)
    return encoder.encode(events) + encoder.close()


def both(*events, reply=REPLY):
    """The whole answer, once it is sure that the stream says the same."""
    told = whole(*events, reply=reply)
    assert put_together(stream(*events, reply=reply)) == told
    return told


def kinds(data):
    return [json.loads(event.data)["type"] for event in SseParser().feed(data)]


def test_a_message_and_the_order_of_its_events():
    events = [Started("r"), TextDelta("a"), TextDelta("b"), Usage(10, 4, 0, 3, 2), END]
    assert both(*events) == {
        "id": "msg_abc",
        "type": "message",
        "role": "assistant",
        "model": "asked",
        "content": [{"type": "text", "text": "ab"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 4,
        },
    }  # fmt: skip
    assert kinds(stream(*events)) == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip


def test_an_id_of_anthropic_s_own_is_kept():
    assert both(Started("msg_01"), END)["id"] == "msg_01"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (FinishReason.STOP, "end_turn"),
        (FinishReason.LENGTH, "max_tokens"),
        (FinishReason.TOOL_CALLS, "tool_use"),
        (FinishReason.CONTENT_FILTER, "refusal"),
    ],
)
def test_why_it_ended(reason, told):
    assert both(Started(), Finished(reason))["stop_reason"] == told
    assert both(Started())["stop_reason"] is None
    ended = both(Started(), Finished(FinishReason.STOP, stop_sequence="\n\n"))
    assert (ended["stop_reason"], ended["stop_sequence"]) == ("stop_sequence", "\n\n")


def test_signatures_stand_in_thinking_blocks():
    events = [
        ThinkingDelta("hm"),
        ThinkingDelta("", signature="s1"),
        TextDelta("t", signature="lost on purpose"),
        ToolCallStarted(0, "c0", "f", signature="s2"),
        ToolCallDelta(0, '{"a":'),
        ToolCallDelta(0, "1}"),
        ToolCallStarted(1, "c1", "g"),
        ToolCallDelta(1, ""),
        END,
    ]
    assert both(*events)["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "ccsb.s1"},
        {"type": "text", "text": "t"},
        {"type": "thinking", "thinking": "", "signature": "ccsb+s2"},
        {"type": "tool_use", "id": "c0", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "c1", "name": "g", "input": {}},
    ]
    assert [block["type"] for block in both(*events, reply=HIDDEN)["content"]] == ["text", "tool_use", "tool_use"]


def test_what_says_nothing_makes_no_block_and_still_parts_its_neighbours():
    events = [
        TextDelta("a"), ThinkingDelta(""), TextDelta("b"), TextDelta("", signature="s"), TextDelta("c"), ThinkingDelta("x"),
        TextDelta(""), ThinkingDelta("y"), END,
    ]  # fmt: skip
    assert [block.get("text") or block["thinking"] for block in both(*events)["content"]] == ["a", "b", "c", "x", "y"]
    assert [block["text"] for block in both(*events, reply=HIDDEN)["content"]] == ["a", "b", "c"]


def test_reasoning_that_only_its_maker_can_read():
    events = [ThinkingDelta("", redacted="zzz"), ThinkingDelta("hm"), END]
    assert [block["type"] for block in both(*events)["content"]] == ["redacted_thinking", "thinking"]


def test_an_image_is_a_block_of_its_own_and_a_draft_is_none():
    events = [
        TextDelta("a"),
        ImagePart("image/png", "AAAA"),
        ImagePart("image/png", "BBBB", draft=True),
        TextDelta("b"),
        END,
    ]
    assert both(*events)["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "text", "text": "b"},
    ]


def test_arguments_that_are_no_object_are_kept_as_they_are():
    for text in ('{"a":', "[1]", "[" * 50_000):
        assert whole(ToolCallStarted(0, "c", "f"), ToolCallDelta(0, text), END)["content"][0]["input"] == {
            "_unparsed": text
        }


def test_later_arguments_find_their_own_call():
    events = [
        ToolCallStarted(0, "c0", "f"),
        ToolCallStarted(1, "c1", "g"),
        ToolCallDelta(0, '{"a":1}'),
        ToolCallDelta(1, '{"b":2}'),
        END,
    ]
    assert [block["input"] for block in both(*events)["content"]] == [{"a": 1}, {"b": 2}]


def test_what_comes_before_a_call_is_whole_waits_for_it():
    events = [
        ToolCallStarted(0, "c0", "f"),
        ToolCallDelta(0, '{"a":{}'),
        TextDelta("x"),
        ToolCallStarted(1, "c1", "g"),
        ToolCallDelta(1, '{"b":'),
        ToolCallDelta(0, "}"),
        ToolCallDelta(1, "2}"),
        TextDelta("y"),
        END,
    ]
    told = both(*events)["content"]
    assert [block.get("input", block.get("text")) for block in told] == [{"a": {}}, "x", {"b": 2}, "y"]
    assert b"text_delta" not in ClaudeStream(REPLY).encode(events[:5])
    assert b"text_delta" in ClaudeStream(REPLY).encode(events[:6])


@pytest.mark.parametrize("end", [[END], []])
def test_what_never_becomes_whole_is_waited_for_until_the_end(end):
    events = [ToolCallStarted(0, "c0", "f"), TextDelta("x"), ToolCallStarted(1, "c1", "g"), TextDelta("y"), *end]
    assert [block.get("text") for block in both(*events)["content"]] == [None, "x", None, "y"]


def test_only_the_first_choice_is_told():
    events = [TextDelta("a"), TextDelta("other", choice=1), LogprobsDelta(()), END]
    assert [block["text"] for block in both(*events)["content"]] == ["a"]


def test_no_answer_at_all_is_still_a_message():
    assert both()["content"] == []


def test_errors_by_kind():
    failure = Failure(503, FailureKind.OVERLOADED, "busy")
    assert json.loads(encode_error(failure)) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "busy"},
    }
    assert json.loads(encode_error(failure, "req"))["request_id"] == "req"
    assert kinds(stream(TextDelta("a"), Failed(failure)))[-1] == "error"


def test_a_count():
    assert json.loads(encode_count(7)) == {"input_tokens": 7}
