"""Gemini generateContent, answer side."""

import json

import pytest

from broker.translate import gemini_answer
from broker.translate.exchange import Ids, Reading
from broker.translate.gemini_answer import GeminiStream, decode_answer
from broker.translate.ir import (
    Failed,
    Failure,
    FailureKind,
    Finished,
    FinishReason,
    ImagePart,
    Logprob,
    LogprobsDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.names import ToolNames
from broker.translate.signatures import SignatureMemory
from broker.translate.sse import SseParser

STOP = Finished(FinishReason.STOP, "STOP")


def reading(*names):
    return Reading(Ids("abc", 1), ToolNames(names), SignatureMemory())


def candidate(*parts, finish="STOP", **fields):
    return {"content": {"role": "model", "parts": list(parts)}, "finishReason": finish, **fields}


def whole(*candidates, names=(), **fields):
    return decode_answer(json.dumps({"candidates": list(candidates), **fields}).encode(), reading(*names))


def streamed(*chunks, close=True):
    stream = GeminiStream(reading())
    data = b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)
    return stream.feed(data) + (stream.close() if close else [])


def said(*parts):
    """Return the events between the first and the last."""
    return whole(candidate(*parts))[1:-1]


def test_a_plain_answer():
    assert whole(
        candidate({"text": "hi"}), responseId="r", modelVersion="v", createTime="2026-05-01T12:00:00.123456789Z"
    ) == [
        Started("r", "v", 1777636800),
        TextDelta("hi"),
        STOP,
    ]


@pytest.mark.parametrize("created", ["yesterday", "", None])
def test_a_time_that_is_none(created):
    assert whole(candidate(), createTime=created)[0] == Started()


def test_each_kind_of_part():
    assert said(
        {"text": "hm", "thought": True, "thoughtSignature": "s"},
        {"thought": True},
        {"text": ""},
        {"thoughtSignature": "s"},
        {"text": "", "thought_signature": "s"},
        {"text": "a", "thoughtSignature": ""},
        {"executableCode": {"code": "1"}},
        {},
    ) == [
        ThinkingDelta("hm", signature="s"),
        ThinkingDelta(""),
        TextDelta(""),
        TextDelta("", signature="s"),
        TextDelta("", signature="s"),
        TextDelta("a"),
    ]


def test_images_in_both_spellings():
    assert said(
        {"inlineData": {"mimeType": "image/jpeg", "data": "A"}, "thoughtSignature": "s"},
        {"inline_data": {"mime_type": "image/webp", "data": "B"}},
        {"inlineData": {"data": "C"}},
        {"inlineData": {"mimeType": "image/png", "data": ""}},
        {"inlineData": {"mimeType": "image/png"}},
        {"inlineData": {"mimeType": "image/png", "data": "D"}, "thought": True},
    ) == [
        ImagePart("image/jpeg", "A", signature="s"),
        ImagePart("image/webp", "B"),
        ImagePart("image/png", "C"),
        ImagePart("image/png", "D", draft=True),
    ]


def test_calls_count_on_across_chunks_and_their_signatures_are_remembered():
    into = reading("my tool")
    stream = GeminiStream(into)
    chunks = [
        {
            "candidates": [
                {
                    "content": {
                        "parts": [
                            {"functionCall": {"name": "my_tool", "args": {"a": [1, "x y"]}}, "thoughtSignature": "s"}
                        ]
                    }
                }
            ]
        },
        {"candidates": [candidate({"function_call": {"name": "g", "args": None}}, {"functionCall": {}})]},
    ]
    events = [
        e
        for c in chunks
        for e in stream.feed(b"data: " + json.dumps(c, indent=1).replace("\n", "\ndata: ").encode() + b"\n\n")
    ]
    assert events + stream.close() == [
        Started(),
        ToolCallStarted(0, "call_abc_0", "my tool", signature="s"),
        ToolCallDelta(0, '{"a":[1,"x y"]}'),
        ToolCallStarted(1, "call_abc_1", "g"),
        ToolCallDelta(1, "{}"),
        ToolCallStarted(2, "call_abc_2", ""),
        ToolCallDelta(2, "{}"),
        Finished(FinishReason.TOOL_CALLS, "STOP"),
    ]
    assert (into.signatures.recall("call_abc_0"), into.signatures.recall("call_abc_1")) == ("s", None)


def test_calls_of_two_choices_have_their_own_numbers_and_different_ids():
    call = {"functionCall": {"name": "f", "args": {}}}
    events = whole(candidate(call), candidate(call, index=1))
    started = [e for e in events if isinstance(e, ToolCallStarted)]
    assert started == [ToolCallStarted(0, "call_abc_0", "f"), ToolCallStarted(0, "call_abc_1", "f", choice=1)]


@pytest.mark.parametrize(
    ("native", "reason", "with_call"),
    [
        ("STOP", FinishReason.STOP, FinishReason.TOOL_CALLS),
        ("MAX_TOKENS", FinishReason.LENGTH, FinishReason.TOOL_CALLS),
        ("MALFORMED_FUNCTION_CALL", FinishReason.STOP, FinishReason.TOOL_CALLS),
        ("OTHER", FinishReason.STOP, FinishReason.TOOL_CALLS),
        *(
            (native, FinishReason.CONTENT_FILTER, FinishReason.CONTENT_FILTER)
            for native in (
                "SAFETY",
                "RECITATION",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "IMAGE_SAFETY",
                "NO_IMAGE",
            )
        ),
    ],
)
def test_finish_reasons(native, reason, with_call):
    assert whole(candidate({"text": "a"}, finish=native))[-1] == Finished(reason, native)
    assert whole(candidate({"functionCall": {"name": "f"}}, finish=native))[-1] == Finished(with_call, native)


def test_the_finish_waits_for_the_end_though_told_on_every_chunk():
    events = streamed({"candidates": [candidate({"text": "a"})]}, {"candidates": [candidate({"text": "b"})]})
    assert events == [Started(), TextDelta("a"), TextDelta("b"), STOP]


def test_a_finish_told_before_the_last_content_counts():
    events = streamed(
        {"candidates": [candidate({"text": "a"})]}, {"candidates": [{"content": {"parts": [{"text": "b"}]}}]}
    )
    assert events[-1] == STOP


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (
            {
                "promptTokenCount": 10,
                "candidatesTokenCount": 5,
                "thoughtsTokenCount": 7,
                "cachedContentTokenCount": 4,
                "totalTokenCount": 22,
            },
            Usage(10, 12, 7, 4),
        ),
        ({"promptTokenCount": 10, "toolUsePromptTokenCount": 3, "totalTokenCount": 13}, Usage(13, 0)),
        ({}, Usage()),
    ],
)
def test_usage(told, usage):
    assert whole(candidate(), usageMetadata=told)[-2:] == [usage, STOP]


def test_the_last_usage_counts():
    events = streamed(
        {"candidates": [candidate()], "usageMetadata": {"promptTokenCount": 1}},
        {"usageMetadata": {"promptTokenCount": 2}},
    )
    assert events[-2:] == [Usage(2), STOP]


def test_a_blocked_prompt():
    feedback = {"promptFeedback": {"blockReason": "SAFETY"}}
    blocked = [Started(), Finished(FinishReason.CONTENT_FILTER, "SAFETY")]
    assert streamed(feedback) == decode_answer(json.dumps(feedback).encode(), reading()) == blocked
    odd = whole(promptFeedback={"blockReason": "A_NEW_REASON"})
    assert odd[-1] == Finished(FinishReason.CONTENT_FILTER, "A_NEW_REASON")
    assert whole(candidate(), promptFeedback={})[-1] == STOP


def test_probabilities():
    token = {"token": "a", "logProbability": -0.5}
    result = {"chosenCandidates": [token, token], "topCandidates": [{"candidates": [token]}]}
    a = TokenLogprob("a", -0.5)
    assert whole(candidate(logprobsResult=result))[1] == LogprobsDelta((Logprob(a, (a,)), Logprob(a)))
    assert whole(candidate(logprobsResult={})) == [Started(), STOP]


@pytest.mark.parametrize(
    "wrap", [lambda answer: {"response": answer, "traceId": "t"}, lambda answer: [{"response": answer}]]
)
def test_the_envelope_of_code_assist_is_taken_off(wrap):
    body = json.dumps(wrap({"candidates": [candidate({"text": "a"})]})).encode()
    assert decode_answer(body, reading()) == [Started(), TextDelta("a"), STOP]


def test_a_whole_answer_without_a_finish_reason_is_taken_as_finished():
    assert whole({"content": {"parts": [{"text": "a"}]}})[-1] == Finished(FinishReason.STOP)


def test_a_candidate_without_content():
    assert whole({"finishReason": "STOP"}) == whole({"content": {}, "finishReason": "STOP"}) == [Started(), STOP]


# --------------------------------------------------------------------------------------------------------- failures


def failure(events):
    assert isinstance(events[-1], Failed)
    return events[-1].failure


def test_a_stream_cut_short():
    events = streamed({"candidates": [{"content": {"parts": [{"text": "a"}]}}]})
    assert events[:2] == [Started(), TextDelta("a")]
    assert "cut short" in failure(events).message
    stream = GeminiStream(reading())
    stream.feed(b'data: {"candidates":[{"content":{"parts":[{"te')
    assert failure(stream.close()).status == 502


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"candidates":[]}', b'{"usageMetadata":{"promptTokenCount":1}}'])
def test_an_answer_that_holds_nothing(body):
    assert "holds nothing" in failure(decode_answer(body, reading())).message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'"x"',
        b'{"candidates":5}',
        b"\xff",
        b"[" * 100_000,
        b'{"candidates":[{"content":{"parts":[{"text":5}]}}]}',
    ],
)
def test_an_answer_that_cannot_be_read(body):
    found = failure(decode_answer(body, reading()))
    assert (found.status, found.kind) == (502, FailureKind.SERVER)


def test_an_error_in_mid_stream_ends_it():
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}}
    text = {"candidates": [candidate({"text": "a"})]}
    expected = [
        Started(),
        TextDelta("a"),
        Failed(Failure(503, FailureKind.OVERLOADED, "overloaded", code="UNAVAILABLE")),
    ]
    assert streamed(text, error, text, error) == expected
    assert streamed(text, [error, text]) == expected


def test_an_event_too_large_ends_the_answer_once(monkeypatch):
    monkeypatch.setattr(gemini_answer, "SseParser", lambda: SseParser(limit=50))
    stream = GeminiStream(reading())
    assert "larger than 50 bytes" in failure(stream.feed(b"data: " + b"x" * 60)).message
    assert stream.feed(b"x" * 60) == stream.close() == []


def test_a_failure_is_told_once():
    stream = GeminiStream(reading())
    assert len(stream.feed(b"data: {\n\ndata: {\n\n")) == 1
    assert stream.close() == []
