import json

import pytest

from broker.translate.exchange import Reading
from broker.translate.fold import fold
from broker.translate.ir import (
    CalledTool,
    Failed,
    FailureKind,
    Finished,
    FinishReason,
    Image,
    Logprob,
    LogprobsDelta,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    TokenLogprob,
    ToolCallStarted,
    Usage,
)
from broker.translate.names import ToolNames
from broker.translate.responses import Responses
from broker.translate.signatures import SignatureMemory
from tests.contract.codec_contract import UpstreamCodecContract, read_stream, reading

CODEC = Responses()
USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 1},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 1},
}


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def item(kind, content, number):
    match kind:
        case "thinking":
            return {"id": f"rs_{number}", "type": "reasoning", "summary": [{"type": "summary_text", "text": content}]}
        case "text":
            part = {"type": "output_text", "text": content, "annotations": []}
            return {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": [part]}
        case "image":
            return {"id": f"ig_{number}", "type": "image_generation_call", "status": "completed", "result": content}
        case _:
            call = {"type": "function_call", "call_id": f"c{number}", "name": "f", "arguments": content}
            return {"id": f"fc_{number}", **call}


def response(items, status="completed", **fields):
    head = {"id": "resp_x", "object": "response", "created_at": 5, "model": "m", "status": status, "error": None}
    return {**head, "output": items, "usage": USAGE if status == "completed" else None, **fields}


def whole(pieces, **fields):
    return response([item(kind, content, number) for number, (kind, content) in enumerate(pieces)], **fields)


def pieced(kind, content, number, done):
    """The events by which an item of this kind grows."""
    told = {"output_index": number, "item_id": done["id"]}
    cut = len(content) // 2
    match kind:
        case "thinking":
            for part in (content[:cut], content[cut:]):
                yield {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": part, **told}
            yield {"type": "response.reasoning_summary_text.done", "summary_index": 0, "text": content, **told}
        case "text":
            for part in (content[:cut], content[cut:]):
                yield {"type": "response.output_text.delta", "content_index": 0, "delta": part, "logprobs": [], **told}
            yield {"type": "response.output_text.done", "content_index": 0, "text": content, **told}
        case "image":
            yield {"type": "response.image_generation_call.partial_image", "partial_image_b64": "AAAA", **told}
        case _:
            for part in (content[:cut], content[cut:]):
                yield {"type": "response.function_call_arguments.delta", "delta": part, **told}
            yield {"type": "response.function_call_arguments.done", "arguments": content, **told}


def events(pieces):
    yield {"type": "response.created", "response": response([], "in_progress")}
    yield {"type": "response.in_progress", "response": response([], "in_progress")}
    for number, (kind, content) in enumerate(pieces):
        done = item(kind, content, number)
        empty = done | {
            key: [] if key in ("summary", "content") else ""
            for key in done
            if key in ("summary", "content", "arguments", "result")
        }
        yield {"type": "response.output_item.added", "output_index": number, "item": empty}
        yield from pieced(kind, content, number, done)
        yield {"type": "response.output_item.done", "output_index": number, "item": done}
    yield {"type": "response.completed", "response": whole(pieces)}


def framed(sequence, line_end=b"\n"):
    return b"".join(
        b"event: " + each["type"].encode() + line_end + b"data: " + compact(each) + line_end * 2 for each in sequence
    )


class TestContract(UpstreamCodecContract):
    codec = CODEC

    def whole(self, pieces):
        return compact(whole(pieces))

    def stream(self, pieces, line_end, comments):
        comment = b": a comment" + line_end * 2 if comments else b""
        return comment + framed(events(pieces), line_end)


class TestBareStreams(UpstreamCodecContract):
    """The same of a server that tells items only when they are done."""

    codec = CODEC

    def whole(self, pieces):
        return compact(whole(pieces))

    def stream(self, pieces, line_end, comments):
        told = [each for each in events(pieces) if each["type"].startswith(("response.output_item.done", "response.c"))]
        return framed(told, line_end) + (b"data: [DONE]" + line_end * 2 if comments else b"")


def added(number, **fields):
    return {"type": "response.output_item.added", "output_index": number, "item": fields}


def done(number, **fields):
    return {"type": "response.output_item.done", "output_index": number, "item": fields}


def completed(*items, **fields):
    return {"type": "response.completed", "response": response(list(items), **fields)}


def streamed(*sequence, made=None):
    return read_stream(CODEC.stream_decoder(made or reading()), [framed(sequence)])


def decoded(*items, **fields):
    return CODEC.decode_answer(compact(response(list(items), **fields)), reading())


def parts(told):
    return fold(told).choices[0].parts


def test_a_whole_answer():
    told = decoded(item("text", "hi", 0))
    assert told == [
        Started("resp_x", "m", 5),
        TextDelta("hi"),
        Usage(3, 4, 1, 1),
        Finished(FinishReason.STOP, "completed"),
    ]
    assert decoded(item("call", "{}", 0))[-1].reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", Finished(FinishReason.LENGTH, "max_output_tokens")),
        ("content_filter", Finished(FinishReason.CONTENT_FILTER, "content_filter")),
        ("of_next_year", Finished(FinishReason.LENGTH, "of_next_year")),
        (None, Finished(FinishReason.LENGTH, "incomplete")),
    ],
)
def test_why_it_is_incomplete(reason, expected):
    details = {"reason": reason} if reason else None
    body = response([], "incomplete", incomplete_details=details)
    assert CODEC.decode_answer(compact(body), reading())[-1] == expected
    assert streamed({"type": "response.incomplete", "response": body}) == [Started("resp_x", "m", 5), expected]


def test_an_answer_told_by_its_last_event_only():
    told = streamed(completed(item("text", "hi", 0), item("call", "{}", 1)))
    assert parts(told) == (Text("hi"), CalledTool("c1", "f", "{}"))


def test_an_answer_whose_last_event_is_empty():
    """The Codex backend was seen to leave the output of the last event empty."""
    told = streamed(done(0, **item("text", "hi", 0)), {"type": "response.completed", "response": {"output": None}})
    assert parts(told) == (Text("hi"),)


def test_text_of_an_item_that_was_never_opened():
    delta = {"type": "response.output_text.delta", "delta": "hi"}
    told = streamed(delta, {"type": "response.completed", "response": {"output": [item("text", "hi", 0)]}})
    assert parts(told) == (Text("hi"),)


def test_pieces_nobody_can_use():
    told = streamed(
        {"type": "response.function_call_arguments.delta", "output_index": 7, "delta": "{"},
        {"type": "response.audio.delta", "delta": "AAAA"},
        {"type": "response.output_text.delta", "delta": ["odd"]},
        {"type": "response.output_text.delta", "delta": ""},
        {"type": "response.of.next_year"},
        completed(),
    )
    assert [type(event) for event in told] == [Started, Usage, Finished]


def test_an_item_opened_twice_is_one():
    call = item("call", "", 0)
    told = streamed(added(0, **call), added(0, **call), done(0, **item("call", '{"a":1}', 0)), completed())
    assert parts(told) == (CalledTool("c0", "f", '{"a":1}'),)


def test_a_call_without_name_or_id():
    told = decoded({"type": "function_call"}, {"type": "function_call", "call_id": "c"})
    assert parts(told) == (CalledTool("call_contract_0", "tool_0", ""), CalledTool("c", "tool_1", ""))


def test_a_call_s_name_is_the_client_s():
    names = ToolNames(["a tool"])
    made = Reading(reading().ids, names, SignatureMemory())
    call = {"type": "function_call", "call_id": "c", "name": names.outward("a tool"), "arguments": "{}"}
    assert ToolCallStarted(0, "c", "a tool") in CODEC.decode_answer(compact(response([call])), made)


def test_a_custom_tool_s_input_is_an_argument():
    call = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"}
    delta = {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": "***"}
    expected = (CalledTool("c", "patch", '{"input":"*** Begin"}'),)
    assert parts(decoded(call)) == expected
    assert parts(streamed(added(0, **call), delta, done(0, **call), completed())) == expected
    assert parts(decoded(call | {"input": None})) == (CalledTool("c", "patch", '{"input":""}'),)


def test_encrypted_reasoning_is_kept_and_remembered_by_the_next_call():
    thought = item("thinking", "hm", 0) | {"encrypted_content": "ENC="}
    memory = SignatureMemory()
    made = Reading(reading().ids, ToolNames(), memory)
    body = response([thought, item("text", "so", 1), item("call", "{}", 2), item("call", "{}", 3)])
    told = CODEC.decode_answer(compact(body), made)
    assert parts(told)[0] == Thinking("hm", "openai.ENC=")
    assert (memory.recall("c2"), memory.recall("c3")) == ("openai.ENC=", None)
    delta = {"type": "response.reasoning_summary_text.delta", "delta": "hm"}
    assert parts(streamed(delta, done(0, **thought), completed()))[0] == Thinking("hm", "openai.ENC=")
    lone = {"type": "reasoning", "summary": [], "encrypted_content": "ENC="}
    assert parts(decoded(lone)) == (Thinking("", "openai.ENC="),)
    assert [type(event) for event in decoded({"type": "reasoning"})] == [Started, Usage, Finished]


def test_several_parts_of_a_summary_are_paragraphs():
    def delta(number, text, kind="summary", place="summary_index"):
        return {"type": f"response.reasoning_{kind}.delta", place: number, "delta": text}

    summary = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": ""}, {"text": "b"}]
    reasoned = {"type": "reasoning", "summary": summary, "content": [{"type": "reasoning_text", "text": "c"}]}
    told = streamed(
        delta(0, "a", "summary_text"), delta(2, "b", "summary_text"), delta(0, "c", "text", "content_index"), done(0, **reasoned), completed()
    )  # fmt: skip
    assert parts(told) == parts(decoded(reasoned)) == (Thinking("a\n\nb\n\nc"),)


def test_a_refusal_is_text_that_ends_as_what_is_filtered_does():
    refused = {
        "type": "message",
        "content": [{"type": "refusal", "refusal": "no"}, {"type": "output_text", "text": ""}],
    }
    assert parts(decoded(refused)) == (Text("no"),)
    delta = {"type": "response.refusal.delta", "delta": "no"}
    told = streamed(delta, completed())
    assert parts(told) == (Text("no"),)
    assert told[-1] == decoded(refused)[-1] == Finished(FinishReason.CONTENT_FILTER, "refusal")
    assert [type(event) for event in decoded({"type": "message"})] == [Started, Usage, Finished]


def test_images_and_what_ran_at_the_provider():
    made = {"type": "image_generation_call", "result": "AAAA", "output_format": "webp"}
    told = decoded(
        made, {"type": "image_generation_call", "result": None}, {"type": "web_search_call", "status": "completed"}
    )
    assert parts(told) == (Image("image/webp", "AAAA"),)


def test_log_probabilities():
    entry = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1}]}
    expected = LogprobsDelta((Logprob(TokenLogprob("a", -0.5), (TokenLogprob("b", -1.0),)),))
    text = {"type": "output_text", "text": "a", "logprobs": [entry]}
    assert expected in decoded({"type": "message", "content": [text]})
    assert expected in streamed({"type": "response.output_text.delta", "delta": "a", "logprobs": [entry]}, completed())


def test_usage_is_never_below_nothing_and_may_be_missing():
    told = decoded(usage={"input_tokens": -1, "output_tokens": None})
    assert told[1] == Usage()
    assert [type(event) for event in decoded(usage=None)] == [Started, Finished]


@pytest.mark.parametrize("status", ["cancelled", "queued", "in_progress", "failed"])
def test_an_answer_that_is_none(status):
    (failed,) = decoded(status=status)
    assert isinstance(failed, Failed)
    assert failed.failure.status == 502


@pytest.mark.parametrize(
    ("event", "kind", "word"),
    [
        (
            {"type": "response.failed", "response": response([], "failed", error={"code": "rate_limit_exceeded", "message": "slow down"})},
            FailureKind.RATE_LIMITED,
            "slow down",
        ),
        ({"type": "response.failed"}, FailureKind.SERVER, "gave up"),
        ({"type": "error", "code": "server_error", "message": "broken", "param": None}, FailureKind.SERVER, "broken"),
        ({"type": "error", "error": {"type": "usage_limit_reached", "message": "used up"}}, FailureKind.QUOTA_EXHAUSTED, "used up"),
        ({"type": "error", "error": "plain"}, FailureKind.SERVER, "plain"),
    ],
)  # fmt: skip
def test_a_failure_ends_the_stream(event, kind, word):
    first = {"type": "response.created", "response": response([], "in_progress")}
    told = streamed(first, event, done(0, **item("text", "late", 0)), completed())
    # Nothing was said before it: the request may still go to another account.
    assert len(told) == 1
    assert told[0].failure.kind is kind
    assert word in told[0].failure.message


def test_a_failure_in_the_middle():
    delta = {"type": "response.output_text.delta", "delta": "a"}
    told = streamed(delta, {"type": "error", "message": "busy", "code": "server_is_overloaded"}, delta)
    assert [type(event) for event in told] == [Started, TextDelta, Failed]
    assert told[-1].failure.status == 503


def test_a_whole_error():
    (failed,) = decoded(error={"code": "invalid_prompt", "message": "no"}, status="failed")
    assert (failed.failure.status, failed.failure.message) == (400, "no")
    (failed,) = CODEC.decode_answer(b'{"error":"plain"}', reading())
    assert failed.failure.message == "plain"


def test_nothing_is_read_after_the_end():
    decoder = CODEC.stream_decoder(reading())
    first = decoder.feed(framed([completed()]))
    assert isinstance(first[-1], Finished)
    assert decoder.feed(framed([completed()])) == decoder.close() == []
    assert streamed(completed(), completed())[-1] == first[-1]


def test_a_line_too_long_is_a_failure_of_the_upstream():
    decoder = CODEC.stream_decoder(reading())
    told = [event for _ in range(66) for event in decoder.feed(b"data: " + b"x" * (1 << 20))]
    assert [type(event) for event in told] == [Failed]


def test_an_event_that_is_none():
    decoder = CODEC.stream_decoder(reading())
    (failed,) = decoder.feed(b"data: {]\n\n")
    assert failed.failure.status == 502


def test_a_last_event_without_its_blank_line():
    data = framed([done(0, **item("thinking", "hm", 0)), completed()])
    told = read_stream(CODEC.stream_decoder(reading()), [data.rstrip(b"\n")])
    assert ThinkingDelta("hm") in told
    assert isinstance(told[-1], Finished)
