import json

import pytest

from broker.translate.fold import fold
from broker.translate.ir import (
    CalledTool,
    Failed,
    Finished,
    FinishReason,
    Image,
    Logprob,
    LogprobsDelta,
    Started,
    Text,
    TextDelta,
    Thinking,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.openai_chat import OpenAIChat
from broker.translate.signers import Signer
from broker.translate.thoughts import recall
from tests.contract.codec_contract import UpstreamCodecContract, read_stream, reading

CODEC = OpenAIChat()
ORDER = ("thinking", "text", "image", "call")
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 1}}


def ordered(pieces):
    """The one order the dialect can tell: its message has a field for each kind."""
    return sorted(pieces, key=lambda piece: ORDER.index(piece[0]))


def image(data):
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def whole(pieces, **fields):
    message = {"role": "assistant", "content": None}
    for kind, content in ordered(pieces):
        match kind:
            case "thinking":
                message["reasoning_content"] = message.get("reasoning_content", "") + content
            case "text":
                message["content"] = (message["content"] or "") + content
            case "image":
                message.setdefault("images", []).append(image(content))
            case "call":
                calls = message.setdefault("tool_calls", [])
                calls.append(
                    {"id": f"c{len(calls)}", "type": "function", "function": {"name": "f", "arguments": content}}
                )
    ended = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "message": message, "finish_reason": ended}
    return {"id": "x", "model": "m", "created": 5, "choices": [choice], "usage": USAGE, **fields}


def chunk(delta, **fields):
    return {"id": "x", "model": "m", "created": 5, "choices": [{"index": 0, "delta": delta, **fields}]}


def chunks(pieces):
    calls = 0
    yield chunk({"role": "assistant", "content": ""})
    for kind, content in ordered(pieces):
        match kind:
            case "thinking":
                yield chunk({"reasoning_content": content})
            case "text":
                yield chunk({"content": content})
            case "image":
                yield chunk({"images": [image(content)]})
            case "call":
                head = {
                    "index": calls,
                    "id": f"c{calls}",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
                yield chunk({"tool_calls": [head]})
                for part in (content[:2], content[2:]):
                    yield chunk({"tool_calls": [{"index": calls, "function": {"arguments": part}}]})
                calls += 1
    yield {"id": "x", "choices": [], "usage": USAGE}
    yield chunk({}, finish_reason="tool_calls" if calls else "stop")


def framed(sequence, line_end=b"\n"):
    return b"".join(b"data: " + compact(each) + line_end * 2 for each in sequence)


class TestContract(UpstreamCodecContract):
    codec = CODEC

    def whole(self, pieces):
        return compact(whole(pieces))

    def stream(self, pieces, line_end, comments):
        comment = b": a comment" + line_end * 2 if comments else b""
        return comment + framed(chunks(pieces), line_end)


def streamed(*sequence, end=b"data: [DONE]\n\n"):
    return read_stream(CODEC.stream_decoder(reading()), [framed(sequence) + end])


STOP = chunk({}, finish_reason="stop")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("max_tokens", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("of_next_year", FinishReason.STOP),
    ],
)
def test_why_it_ended(word, reason):
    assert streamed(chunk({}, finish_reason=word))[-1] == Finished(reason, word)


def test_a_call_outranks_stop():
    call = chunk({"tool_calls": [{"function": {"name": "f"}}]})
    assert streamed(call, STOP)[-1] == Finished(FinishReason.TOOL_CALLS, "stop")


def test_a_whole_answer_needs_no_reason():
    body = compact({"choices": [{"message": {"content": "x"}}]})
    assert CODEC.decode_answer(body, reading()) == [Started(), TextDelta("x"), Finished(FinishReason.STOP)]


def test_what_servers_make_of_calls():
    first = {"index": 4, "id": None, "function": {"name": None, "arguments": '{"a"'}}
    late = {"index": 4, "id": "late", "function": {"name": "late", "arguments": ":1}"}}
    again = {"index": 4, "id": "late", "function": {"name": "late"}}
    bare = {"index": 5, "function": {"arguments": {"b": 2}}}
    told = fold(
        streamed(
            chunk({"tool_calls": [first]}),
            chunk({"tool_calls": [late, bare, {"index": 6}]}),
            chunk({"tool_calls": [again]}),
            STOP,
        )
    ).choices[0]
    assert told.parts == (
        CalledTool("late", "late", '{"a":1}'),
        CalledTool("call_contract_1", "tool_1", '{"b":2}'),
        CalledTool("call_contract_2", "tool_2", ""),
    )


@pytest.mark.parametrize("index", [0, None])
def test_calls_that_all_come_under_one_index_are_several(index):
    def call(number):
        return chunk(
            {"tool_calls": [{"index": index, "id": f"c{number}", "function": {"name": "f", "arguments": "{}"}}]}
        )

    told = [event for event in streamed(call(0), call(1), STOP) if not isinstance(event, Started)]
    assert told[:-1] == [
        ToolCallStarted(0, "c0", "f"), ToolCallDelta(0, "{}"), ToolCallStarted(1, "c1", "f"), ToolCallDelta(1, "{}"),
    ]  # fmt: skip


def test_a_choice_that_was_not_finished_was_cut():
    both = {"choices": [{"index": i, "delta": {"content": str(i)}} for i in (0, 1)]}
    assert isinstance(streamed(both, STOP, end=b"")[-1], Failed)
    assert [event.choice for event in streamed(both, STOP) if isinstance(event, Finished)] == [0, 1]


@pytest.mark.parametrize(("word", "status"), [("error", 502), ("insufficient_system_resource", 503)])
def test_an_answer_that_was_given_up_is_a_failure(word, status):
    both = {"choices": [{"index": i, "delta": {}, "finish_reason": word} for i in (0, 1)]}
    *_, failed = streamed(chunk({"content": "x"}), both, STOP)
    assert isinstance(failed, Failed)
    assert failed.failure.status == status


def test_usage_may_stand_in_a_choice():
    assert streamed(chunk({}, finish_reason="stop", usage={"prompt_tokens": 3, "completion_tokens": 1}))[-2] == Usage(
        3, 1
    )


def test_an_answer_may_end_with_done_alone():
    assert streamed(chunk({"content": "x"}))[-1] == Finished(FinishReason.STOP)


def test_a_refusal_ends_as_what_is_filtered_does():
    told = streamed(chunk({"refusal": "I "}), chunk({"refusal": "cannot."}), STOP)
    assert told[-1] == Finished(FinishReason.CONTENT_FILTER, "refusal")
    assert fold(told).choices[0].parts == (Text("I cannot."),)


@pytest.mark.parametrize(
    ("used", "told"),
    [
        ({"completion_tokens": 4, "total_tokens": 7}, Usage(3, 4, 2)),
        ({"completion_tokens": 4, "total_tokens": 9}, Usage(3, 6, 2)),
        ({"cached_tokens": 1}, Usage(3, 0, 2, 1)),
        ({"prompt_cache_hit_tokens": 1}, Usage(3, 0, 2, 1)),
    ],
)
def test_usage_as_other_servers_count(used, told):
    counted = {"prompt_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 2}, **used}
    assert streamed(STOP, {"choices": [], "usage": counted})[-2] == told


def test_usage_comes_anywhere_and_never_below_nothing():
    used = {
        "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": -1, "prompt_tokens_details": {"cached_tokens": 2}},
    }
    assert streamed(STOP, used)[-2] == Usage(5, 0, 0, 2)
    assert not any(isinstance(event, Usage) for event in streamed(STOP))


def test_other_names_and_shapes_of_content():
    told = streamed(
        chunk({"reasoning": "hm"}),
        chunk({"content": [{"type": "text", "text": "a"}, {"type": "text"}, {"type": "text", "text": "b"}]}),
        chunk({"refusal": "no"}),
        chunk({"images": [image("AAAA"), {"image_url": {"url": "https://a/x.png"}}, {}]}),
        STOP,
    )
    assert fold(told).choices[0].parts == (Thinking("hm"), Text("abno"), Image("image/png", "AAAA"))


def test_log_probabilities():
    entry = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1}]}
    told = streamed(chunk({}, logprobs={"content": [entry]}), chunk({}, logprobs={"content": None}), STOP)
    expected = Logprob(TokenLogprob("a", -0.5), (TokenLogprob("b", -1.0),))
    assert LogprobsDelta((expected,)) in told


def test_several_choices_end_each_for_itself():
    both = {"choices": [{"index": i, "delta": {"content": str(i)}, "finish_reason": "stop"} for i in (1, 0)]}
    assert [event.choice for event in streamed(both) if isinstance(event, Finished)] == [0, 1]


def test_an_error_in_the_middle_ends_it():
    text = chunk({"content": "a"})
    told = streamed(text, {"error": {"message": "busy", "type": "overloaded_error"}}, text, STOP)
    assert isinstance(told[-1], Failed)
    assert (told[-1].failure.status, told[-1].failure.message) == (503, "busy")
    assert sum(isinstance(event, Failed) for event in told) == 1
    (failed,) = CODEC.decode_answer(b'{"error":"plain"}', reading())
    assert isinstance(failed, Failed)


def test_a_choice_that_says_nothing():
    assert streamed({"choices": [{"finish_reason": "stop"}]})[-1] == Finished(FinishReason.STOP, "stop")


def test_no_answer_at_all():
    (failed,) = streamed()
    assert isinstance(failed, Failed)


def test_a_line_too_long_is_a_failure_of_the_upstream():
    decoder = CODEC.stream_decoder(reading())
    told = [event for _ in range(66) for event in decoder.feed(b"data: " + b"x" * (1 << 20))]
    assert isinstance(told[0], Failed)
    assert len(told) == 1


def test_what_led_to_a_call_is_remembered():
    into = reading()
    told = [
        chunk({"reasoning_content": "h"}),
        chunk({"reasoning_content": "m"}),
        chunk({"tool_calls": [{"id": "c", "function": {"name": "f"}}]}),
    ]
    other = {
        "choices": [
            {"index": 1, "delta": {"reasoning_content": "no", "tool_calls": [{"id": "d", "function": {"name": "f"}}]}}
        ]
    }
    read_stream(CODEC.stream_decoder(into), [framed([*told, other])])
    assert recall(into.signatures, Signer.CHAT, "c") == (Thinking("hm"),)
    assert recall(into.signatures, Signer.CHAT, "d") == ()


def test_a_call_s_name_is_the_client_s():
    from broker.translate.names import ToolNames
    from broker.translate.signatures import SignatureMemory

    names = ToolNames(["a tool"])
    made = reading().__class__(reading().ids, names, SignatureMemory())
    call = {"id": "c", "function": {"name": names.outward("a tool"), "arguments": "{}"}}
    told = CODEC.decode_answer(compact({"choices": [{"message": {"tool_calls": [call]}}]}), made)
    assert ToolCallStarted(0, "c", "a tool") in told
