import json

import pytest

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
from broker.translate.responses_answer import ResponsesStream, encode_answer
from broker.translate.responses_request import EXTRAS, decode
from broker.translate.sse import SseParser
from tests.translate.test_responses import put_together

IDS = Ids("abc", 1_700_000_000)
REPLY = Reply(IDS, "asked", extras={"encrypted": True, "custom": frozenset({"patch"})})
PLAIN = Reply(IDS, "asked")
END = Finished(FinishReason.STOP)


def stream(*events, reply=REPLY):
    encoder = ResponsesStream(reply)
    return encoder.encode(events) + encoder.close()


def both(*events, reply=REPLY):
    """The whole answer, once it is sure that the stream says the same."""
    told = json.loads(encode_answer(fold(events), reply))
    assert put_together(stream(*events, reply=reply)) == told
    return told


def kinds(data):
    return [event.name.removeprefix("response.") for event in SseParser().feed(data)]


def test_a_response_and_the_order_of_its_events():
    events = [Started("r", created=5), TextDelta("a"), TextDelta("b"), Usage(10, 4, 1, 3), END]
    told = both(*events)
    assert (told["id"], told["object"], told["status"], told["created_at"], told["model"]) == (
        "resp_abc", "response", "completed", 5, "asked",
    )  # fmt: skip
    assert told["output"] == [
        {
            "id": "msg_abc_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}],
        }
    ]
    assert told["usage"]["output_tokens_details"] == {"reasoning_tokens": 1}
    assert kinds(stream(*events)) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip


def test_an_id_of_openai_s_own_is_kept():
    assert both(Started("resp_1"), END)["id"] == "resp_1"


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        (FinishReason.STOP, "completed", None),
        (FinishReason.TOOL_CALLS, "completed", None),
        (FinishReason.LENGTH, "incomplete", {"reason": "max_output_tokens"}),
        (FinishReason.CONTENT_FILTER, "incomplete", {"reason": "content_filter"}),
    ],
)
def test_why_it_ended(reason, status, why):
    told = both(Started(), TextDelta("x"), Finished(reason))
    assert (told["status"], told["incomplete_details"]) == (status, why)
    assert kinds(stream(TextDelta("x"), Finished(reason)))[-1] == status


def test_what_was_asked_is_repeated():
    body = b'{"model":"m","input":"x","temperature":1e0,"tools":[{"type":"function","name":"f"}],"metadata":{"a":"b"}}'
    reply = Reply(IDS, "m", extras=decode(body).extras[EXTRAS])
    told = both(TextDelta("x"), END, reply=reply)
    assert (told["temperature"], told["tools"][0]["name"], told["metadata"]) == (1.0, "f", {"a": "b"})
    assert both(END)["tool_choice"] == "auto"


def test_signatures_stand_in_reasoning_items():
    events = [
        ThinkingDelta("h"),
        ThinkingDelta("m"),
        ThinkingDelta("", signature="s1"),
        ThinkingDelta("", signature="alone"),
        TextDelta("t", signature="lost on purpose"),
        ToolCallStarted(0, "c0", "f", signature="s2"),
        ToolCallDelta(0, '{"a":'),
        ToolCallDelta(0, "1}"),
        END,
    ]
    output = both(*events)["output"]
    assert [item["type"] for item in output] == ["reasoning", "reasoning", "message", "reasoning", "function_call"]
    assert [item.get("encrypted_content") for item in output] == ["ccsb.s1", "ccsb.alone", None, "ccsb+s2", None]
    assert output[-1] == {
        "id": "fc_abc_5", "type": "function_call", "status": "completed", "call_id": "c0", "name": "f", "arguments": '{"a":1}',
    }  # fmt: skip
    hidden = both(*events, reply=PLAIN)["output"]
    assert [item["type"] for item in hidden] == ["reasoning", "message", "function_call"]
    assert "encrypted_content" not in hidden[0]


def test_calls_that_follow_each_other_may_be_told_in_pieces():
    events = [
        ToolCallStarted(0, "c0", "f"),
        ToolCallStarted(1, "c1", "patch"),
        ToolCallDelta(1, '{"input":"*** '),
        ToolCallDelta(0, "{}"),
        ToolCallDelta(1, 'Begin"}'),
        ToolCallDelta(1, ""),
        TextDelta("done"),
        END,
    ]
    call, custom, message = both(*events)["output"]
    assert (call["arguments"], custom["type"], custom["input"]) == ("{}", "custom_tool_call", "*** Begin")
    assert message["type"] == "message"
    late = stream(ToolCallStarted(0, "c0", "f"), TextDelta("x"), ToolCallDelta(0, "{}"), END)
    assert put_together(late)["output"][0]["arguments"] == "{}"
    assert put_together(stream(TextDelta("x"), ToolCallDelta(0, "{}"), END))["output"][0]["type"] == "message"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [("", ""), ("{}", ""), ('{"input":{"a":1}}', '{"a":1}'), ("not json", "not json"), ("[" * 50_000, "[" * 50_000)],
)
def test_the_input_of_a_custom_tool_whatever_the_model_wrote(arguments, told):
    assert both(ToolCallStarted(0, "c", "patch"), ToolCallDelta(0, arguments), END)["output"][0]["input"] == told


def test_what_says_nothing_makes_no_item_and_still_parts_its_neighbours():
    events = [
        TextDelta("a"), ThinkingDelta(""), TextDelta("b"), TextDelta("", signature="s"), TextDelta("c"), ThinkingDelta("x"),
        TextDelta(""), ThinkingDelta("y"), ThinkingDelta("", redacted="zzz"), ThinkingDelta("z"), END,
    ]  # fmt: skip
    said = both(*events)["output"]
    assert [(item.get("content") or item["summary"])[0]["text"] for item in said] == ["a", "b", "c", "x", "y", "z"]


def test_an_image_is_an_item_and_a_draft_is_none():
    events = [ImagePart("image/png", "AAAA"), ImagePart("image/png", "BBBB", draft=True), END]
    assert both(*events)["output"] == [
        {"id": "ig_abc_1", "type": "image_generation_call", "status": "completed", "result": "AAAA"}
    ]
    begun = [json.loads(event.data) for event in SseParser().feed(stream(*events)) if b"item.added" in event.data]
    assert [(event["item"]["status"], event["item"]["result"]) for event in begun] == [("in_progress", None)]


def test_only_the_first_choice_is_told():
    events = [TextDelta("a"), TextDelta("other", choice=1), LogprobsDelta(()), END]
    assert len(both(*events)["output"]) == 1


def test_no_answer_at_all_is_still_a_response():
    assert both()["output"] == []


def test_a_failure_is_told_with_what_came_before():
    data = stream(TextDelta("a"), Failed(Failure(429, FailureKind.QUOTA_EXHAUSTED, "no more")))
    last = json.loads(SseParser().feed(data)[-1].data)
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "insufficient_quota", "message": "no more"}
    assert len(last["response"]["output"]) == 1


def test_a_call_of_a_tool_in_a_namespace_is_told_by_both_names():
    spaces = {"agents__wait": ("agents", "wait"), "agents__say": ("agents", "say")}
    reply = Reply(IDS, "asked", extras={"custom": frozenset({"agents__say"}), "spaces": spaces})
    told = both(
        ToolCallStarted(0, "c1", "agents__wait"), ToolCallDelta(0, "{}"),
        ToolCallStarted(1, "c2", "agents__say"), ToolCallDelta(1, '{"input":"x"}'), END, reply=reply,
    )  # fmt: skip
    calls = [(item["type"], item["namespace"], item["name"]) for item in told["output"]]
    assert calls == [("function_call", "agents", "wait"), ("custom_tool_call", "agents", "say")]
