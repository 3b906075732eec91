"""OpenAI chat completions, answer side."""

import json

import pytest

from broker.translate.exchange import Ids, Reply
from broker.translate.fold import fold
from broker.translate.ir import (
    Answer,
    Choice,
    Failed,
    Failure,
    FailureKind,
    Finished,
    FinishReason,
    ImagePart,
    Logprob,
    LogprobsDelta,
    Started,
    Text,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.openai_chat_answer import ChatStream, encode_answer, encode_error
from broker.translate.sse import SseParser

REPLY = Reply(Ids("abc", 99), "asked")
STOP = Finished(FinishReason.STOP, "STOP")
NO_USAGE = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def events_of(data):
    return [event.data for event in SseParser().feed(data)]


def chunks(*events, reply=REPLY):
    stream = ChatStream(reply)
    return [json.loads(data) for data in events_of(stream.encode(events))]


def deltas(*events):
    return [chunk["choices"][0]["delta"] for chunk in chunks(*events)]


def message(*events):
    return json.loads(encode_answer(fold(events), REPLY))["choices"][0]["message"]


# ------------------------------------------------------------------------------------------------------------ whole


def test_a_whole_answer():
    answer = Answer("r", "upstream-model", 7, (Choice(0, (Text("hi"),), STOP),), Usage(3, 4, 1, 2))
    assert json.loads(encode_answer(answer, REPLY)) == {
        "id": "r",
        "object": "chat.completion",
        "created": 7,
        "model": "asked",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi"},
                "logprobs": None,
                "finish_reason": "stop",
                "native_finish_reason": "STOP",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


def test_what_the_upstream_did_not_say_is_ours():
    found = json.loads(encode_answer(Answer(choices=(Choice(0),)), REPLY))
    assert (found["id"], found["created"], found["usage"]) == ("chatcmpl-abc", 99, NO_USAGE)
    assert (found["choices"][0]["finish_reason"], found["choices"][0]["native_finish_reason"]) == (None, None)


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ([], None),
        ([TextDelta("")], ""),
        ([TextDelta("", signature="s")], None),
        ([TextDelta("a", signature="s"), TextDelta("b")], "ab"),
    ],
)
def test_content_is_null_only_where_nothing_was_said(said, content):
    assert message(*said, STOP)["content"] == content


def test_thoughts_images_calls_and_signatures():
    assert message(
        ThinkingDelta("h"),
        ThinkingDelta("m"),
        TextDelta("", signature="t"),
        ImagePart("image/png", "A", signature="i"),
        ImagePart("image/png", "B", draft=True),
        ImagePart("image/jpeg", "C"),
        ToolCallStarted(0, "c", "f", signature="s"),
        ToolCallDelta(0, '{"a":1}'),
    ) == {
        "role": "assistant",
        "content": None,
        "extra_content": {"google": {"thought_signature": "t"}},
        "reasoning_content": "hm",
        "images": [
            {
                "type": "image_url",
                "index": 0,
                "image_url": {"url": "data:image/png;base64,A"},
                "extra_content": {"google": {"thought_signature": "i"}},
            },
            {"type": "image_url", "index": 1, "image_url": {"url": "data:image/jpeg;base64,C"}},
        ],
        "tool_calls": [
            {
                "id": "c",
                "type": "function",
                "function": {"name": "f", "arguments": '{"a":1}'},
                "extra_content": {"google": {"thought_signature": "s"}},
            }
        ],
    }


def test_probabilities():
    a, e = TokenLogprob("a", -0.5), TokenLogprob("é", -2.0)
    entry = {
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [{"token": "é", "logprob": -2.0, "bytes": [195, 169]}],
    }
    event = LogprobsDelta((Logprob(a, (e,)),))
    whole = json.loads(encode_answer(fold([event, STOP]), REPLY))
    assert whole["choices"][0]["logprobs"] == {"content": [entry], "refusal": None}
    (chunk,) = chunks(event)
    assert chunk["choices"][0]["logprobs"] == {"content": [entry], "refusal": None}


# ----------------------------------------------------------------------------------------------------------- stream


def test_a_stream_without_usage():
    stream = ChatStream(REPLY)
    data = stream.encode([Started("r", "v", 7), TextDelta("a"), TextDelta("b"), Usage(1, 2), STOP]) + stream.close()
    *found, done = events_of(data)
    head = {"id": "r", "object": "chat.completion.chunk", "created": 7, "model": "asked"}

    def choice(delta, **fields):
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **fields}

    assert [json.loads(chunk) for chunk in found] == [
        head | {"choices": [choice({"role": "assistant", "content": "a"})]},
        head | {"choices": [choice({"content": "b"})]},
        head | {"choices": [choice({}, finish_reason="stop", native_finish_reason="STOP")]},
    ]
    assert done == b"[DONE]"


def test_usage_comes_where_asked_in_a_chunk_of_its_own():
    stream = ChatStream(Reply(Ids("abc", 99), "asked", include_usage=True))
    *found, last, done = events_of(stream.encode([TextDelta("a"), Usage(1, 1), Usage(1, 2), STOP]) + stream.close())
    assert all(json.loads(chunk)["usage"] is None for chunk in found)
    assert json.loads(last) == {
        "id": "chatcmpl-abc",
        "object": "chat.completion.chunk",
        "created": 99,
        "model": "asked",
        "choices": [],
        "usage": NO_USAGE | {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    assert done == b"[DONE]"


def test_usage_nobody_told_is_zero():
    stream = ChatStream(Reply(Ids("abc", 99), "asked", include_usage=True))
    assert json.loads(events_of(stream.close())[0])["usage"] == NO_USAGE


def test_the_role_is_told_once_a_choice():
    found = chunks(TextDelta("a"), TextDelta("b", choice=1), TextDelta("c"), TextDelta("d", choice=1))
    assert [(c["choices"][0]["index"], "role" in c["choices"][0]["delta"]) for c in found] == [
        (0, True),
        (1, True),
        (0, False),
        (1, False),
    ]


def test_an_answer_of_nothing_has_a_role_all_the_same():
    assert deltas(STOP) == [{"role": "assistant", "content": None}]


def test_deltas_of_each_kind():
    assert deltas(
        ThinkingDelta("hm"),
        ThinkingDelta("", signature="s"),
        TextDelta("", signature="t"),
        TextDelta("a", signature="t"),
        ImagePart("image/png", "A"),
        ImagePart("image/png", "B", draft=True),
        ImagePart("image/png", "C", signature="i"),
        ToolCallStarted(0, "c", "f", signature="s"),
        ToolCallDelta(0, "{}"),
        ToolCallStarted(1, "d", "g"),
    ) == [
        {"role": "assistant", "content": None, "reasoning_content": "hm"},
        {"extra_content": {"google": {"thought_signature": "t"}}},
        {"content": "a", "extra_content": {"google": {"thought_signature": "t"}}},
        {
            "content": None,
            "images": [{"type": "image_url", "index": 0, "image_url": {"url": "data:image/png;base64,A"}}],
        },
        {
            "content": None,
            "images": [
                {
                    "type": "image_url",
                    "index": 1,
                    "image_url": {"url": "data:image/png;base64,C"},
                    "extra_content": {"google": {"thought_signature": "i"}},
                }
            ],
        },
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "c",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                    "extra_content": {"google": {"thought_signature": "s"}},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 1, "id": "d", "type": "function", "function": {"name": "g", "arguments": ""}}]},
    ]


def test_images_count_on_across_chunks_for_each_choice():
    stream = ChatStream(REPLY)
    data = b"".join(stream.encode([ImagePart("image/png", "A", choice=c)]) for c in (0, 1, 0))
    assert [json.loads(d)["choices"][0]["delta"]["images"][0]["index"] for d in events_of(data)] == [0, 0, 1]


def test_a_failure_is_the_last_thing_said():
    stream = ChatStream(Reply(Ids("abc", 99), "asked", include_usage=True))
    (event,) = events_of(stream.encode([Failed(Failure(502, FailureKind.SERVER, "cut"))]))
    assert json.loads(event) == {"error": {"message": "cut", "type": "server_error", "param": None, "code": None}}
    assert stream.close() == b""


# ----------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (FailureKind.BAD_REQUEST, "invalid_request_error"),
        (FailureKind.TOO_LARGE, "invalid_request_error"),
        (FailureKind.AUTHENTICATION, "authentication_error"),
        (FailureKind.PERMISSION, "permission_error"),
        (FailureKind.RATE_LIMITED, "rate_limit_error"),
        (FailureKind.QUOTA_EXHAUSTED, "rate_limit_error"),
        (FailureKind.OVERLOADED, "server_error"),
        (FailureKind.TIMEOUT, "server_error"),
        (FailureKind.SERVER, "server_error"),
    ],
)
def test_the_type_of_an_error(kind, word):
    error = json.loads(encode_error(Failure(400, kind, "m", code="C", param="messages[0].role")))["error"]
    assert error == {"message": "m", "type": word, "param": "messages[0].role", "code": "C"}


def test_every_kind_has_a_type():
    assert all(encode_error(Failure(500, kind, "m")) for kind in FailureKind)


def test_a_reason_is_more_exact_than_a_code_and_delays_are_rounded_up():
    failure = Failure(
        429, FailureKind.RATE_LIMITED, "m", code="C", reason="R", retry_after=2.1, help_url="https://x.example"
    )
    error = json.loads(encode_error(failure))["error"]
    assert (error["code"], error["reset_seconds"], error["help_url"]) == ("R", 3, "https://x.example")


def test_an_unknown_model():
    assert json.loads(encode_error(Failure(404, FailureKind.NOT_FOUND, "m", code="NOT_FOUND")))["error"] == {
        "message": "m",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }
