import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.exchange import Ids, Reply, Route
from broker.translate.fold import fold
from broker.translate.gemini_client_answer import LISTED, GeminiChunks, encode_answer, encode_count
from broker.translate.gemini_client_request import decode
from broker.translate.gemini_client_signatures import pack, read
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
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.signers import Signer, marked
from tests.translate.test_gemini_client import chunks_of, merged, put_together

REPLY = Reply(Ids("abc", 1), "asked")
HIDDEN = Reply(Ids("abc", 1), "asked", thinking=False)
END = Finished(FinishReason.STOP)
PROOF = marked(Signer.ANTHROPIC, "s1")
SECRET = marked(Signer.ANTHROPIC, "zzz")


def stream(*events, reply=REPLY):
    encoder = GeminiChunks(reply)
    return chunks_of(encoder.encode(events) + encoder.close())


def both(*events, reply=REPLY):
    """The whole answer, once it is sure that the stream says the same."""
    told = json.loads(encode_answer(fold(events), reply))
    for candidate in told["candidates"]:
        if "content" in candidate:
            candidate["content"]["parts"] = merged(candidate["content"]["parts"])
    assert put_together(stream(*events, reply=reply)) == told
    return told


def parts(*events, reply=REPLY):
    return both(*events, END, reply=reply)["candidates"][0]["content"]["parts"]


def returned(told):
    """What the model said, as it is understood when a client sends these parts back."""
    contents = [{"parts": [{"text": "x"}]}, {"role": "model", "parts": told}]
    return decode(json.dumps({"contents": contents}).encode(), Route("m")).messages[-1].parts


def test_an_answer_and_its_chunks():
    events = [Started("r"), TextDelta("a"), TextDelta("b"), Usage(10, 7, 3, 4), END]
    assert both(*events) == {
        "candidates": [{"content": {"parts": [{"text": "ab"}], "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 10,
            "candidatesTokenCount": 4,
            "totalTokenCount": 17,
            "thoughtsTokenCount": 3,
            "cachedContentTokenCount": 4,
        },
        "modelVersion": "asked",
        "responseId": "r",
    }
    said = [chunk["candidates"][0]["content"]["parts"] for chunk in stream(*events)]
    assert said == [[{"text": "a"}], [{"text": "b"}], [{"text": ""}]]
    assert all("usageMetadata" not in chunk for chunk in stream(*events)[:-1])


def test_an_answer_without_an_id_or_anything_gets_the_request_s():
    assert both()["responseId"] == "abc"
    assert both()["candidates"] == [{"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0}]
    assert "promptFeedback" not in both()


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason.STOP, "STOP"),
        (FinishReason.TOOL_CALLS, "STOP"),
        (FinishReason.LENGTH, "MAX_TOKENS"),
        (FinishReason.CONTENT_FILTER, "SAFETY"),
    ],
)
def test_why_it_ended(reason, word):
    told = both(TextDelta("x"), Finished(reason))
    assert told["candidates"][0]["finishReason"] == word
    assert "promptFeedback" not in told


def test_a_refusal_without_a_word_is_told_of_the_prompt_too():
    told = both(Started("r"), Finished(FinishReason.CONTENT_FILTER, "refusal"))
    assert told["promptFeedback"] == {"blockReason": "SAFETY"}
    assert told["candidates"] == [{"finishReason": "SAFETY", "finishMessage": "refusal", "index": 0}]
    later = both(TextDelta("I"), Finished(FinishReason.CONTENT_FILTER, "refusal"))
    assert later["candidates"][0]["content"]["parts"] == [{"text": "I"}]


def test_calls_are_told_whole_at_the_end_with_what_came_after():
    events = [
        TextDelta("a"),
        ToolCallStarted(0, "c0", "f"),
        ToolCallDelta(0, '{ "a" :\n 1e0,'),
        ToolCallStarted(1, "c1", "g"),
        ToolCallDelta(0, '"b": 123456789012345678901234567890}'),
        TextDelta("b"),
        END,
    ]
    expected = [
        {"text": "a"},
        {"functionCall": {"id": "c0", "name": "f", "args": {"a": 1.0, "b": 123456789012345678901234567890}}},
        {"functionCall": {"id": "c1", "name": "g", "args": {}}},
        {"text": "b"},
    ]
    assert parts(*events) == expected
    last = stream(*events)[-1]
    assert last["candidates"][0] == {
        "content": {"parts": expected[1:], "role": "model"}, "finishReason": "STOP", "index": 0,
    }  # fmt: skip
    encoder = GeminiChunks(REPLY)
    assert b"\n" not in (encoder.encode(events) + encoder.close()).strip().replace(b"\n\n", b"")


def test_a_call_that_never_began_is_not_told():
    assert stream(ToolCallDelta(0, "{}"), END)[0]["candidates"][0]["content"]["parts"] == [{"text": ""}]


@pytest.mark.parametrize("arguments", ["{", "[]", "null", "[" * 50_000])
def test_arguments_that_are_no_object(arguments):
    (call,) = parts(ToolCallStarted(0, "c", "f"), ToolCallDelta(0, arguments))
    assert call["functionCall"]["args"] == {"_unparsed": arguments}


def test_what_was_signed_travels_with_what_it_led_to():
    events = [
        ThinkingDelta("h"),
        ThinkingDelta("m"),
        ThinkingDelta("", signature=PROOF),
        ThinkingDelta("", redacted=SECRET),
    ]
    thoughts = (Thinking("hm", PROOF), Thinking("", None, SECRET))
    call = [ToolCallStarted(0, "c", "f"), ToolCallDelta(0, "{}")]
    seen, called = parts(*events, *call)
    assert seen == {"text": "hm", "thought": True}
    assert read(called["thoughtSignature"]) == (None, thoughts)
    assert returned([seen, called]) == returned([called]) == (*thoughts, ToolCall("c", "f", {}))
    seen, said = parts(*events, TextDelta("a"), TextDelta("b"), *call)[:2]
    assert returned([said]) == (*thoughts, Text("ab"))
    assert "thoughtSignature" not in parts(*events, TextDelta("a"), *call)[-1]
    image = parts(*events, ImagePart("image/png", "AAAA"))[-1]
    assert returned([image])[:-1] == thoughts


def test_who_does_not_want_to_see_thoughts_carries_their_proof_all_the_same():
    events = [
        ThinkingDelta("hm", signature=PROOF),
        TextDelta("a"),
        ThinkingDelta("so", signature=PROOF),
        TextDelta("b"),
    ]
    first, second = parts(*events, reply=HIDDEN)
    assert (first["text"], second["text"]) == ("a", "b")
    assert returned([first, second]) == (Thinking("hm", PROOF), Text("a"), Thinking("so", PROOF), Text("b"))


def test_a_proof_that_nothing_came_after_stands_alone():
    events = [ThinkingDelta("hm", signature=PROOF)]
    assert parts(*events, reply=HIDDEN) == [
        {"text": "", "thought": True, "thoughtSignature": pack(None, [Thinking("hm", PROOF)])}
    ]
    assert returned(parts(*events)) == (Thinking("hm", PROOF),)
    after = [TextDelta("a"), ToolCallStarted(0, "c", "f"), ThinkingDelta("hm", signature=PROOF)]
    assert returned(parts(*after))[-1] == Thinking("hm", PROOF)


def test_what_is_unsigned_proves_nothing_and_what_stands_between_parts_it():
    events = [ThinkingDelta("a"), TextDelta("x"), ThinkingDelta("b", signature=PROOF), TextDelta("y")]
    *_, last = parts(*events)
    assert read(last["thoughtSignature"]) == (None, (Thinking("b", PROOF),))
    events = [
        ThinkingDelta("a"),
        ThinkingDelta("", redacted=SECRET),
        ThinkingDelta("b", signature=PROOF),
        TextDelta("y"),
    ]
    *_, last = parts(*events)
    assert read(last["thoughtSignature"])[1] == (Thinking("", None, SECRET), Thinking("b", PROOF))
    events = [ThinkingDelta("a"), TextDelta(""), ThinkingDelta("b", signature=PROOF), TextDelta("y")]
    *_, last = parts(*events)
    assert read(last["thoughtSignature"])[1] == (Thinking("b", PROOF),)
    events = [
        ThinkingDelta("a"),
        ImagePart("image/png", "D", draft=True),
        ThinkingDelta("b", signature=PROOF),
        TextDelta("y"),
    ]
    *_, last = parts(*events)
    assert read(last["thoughtSignature"])[1] == (Thinking("ab", PROOF),)


def test_signatures_of_parts_themselves():
    events = [
        TextDelta("a"), TextDelta("", signature="CiQB"), TextDelta("b"), ImagePart("image/png", "AAAA", signature="CiQC"),
        ToolCallStarted(0, "c", "f", signature="CiQD"),
    ]  # fmt: skip
    assert [part.get("thoughtSignature") for part in parts(*events)] == ["CiQB", None, "CiQC", "CiQD"]


STEPS = st.lists(
    st.builds(ThinkingDelta, st.text(max_size=3), signature=st.none() | st.just(PROOF))
    | st.builds(ThinkingDelta, st.just(""), redacted=st.just(SECRET))
    | st.builds(TextDelta, st.text(max_size=3))
    | st.builds(ImagePart, st.just("image/png"), st.just("AAAA"), draft=st.booleans())
    | st.just(None),
    max_size=8,
)


@given(STEPS, st.booleans())
def test_whatever_is_said_in_whatever_order_a_stream_says_the_same_and_no_proof_is_lost(steps, shown):
    events = []
    for number, step in enumerate(steps):
        call = [ToolCallStarted(number, f"c{number}", "f"), ToolCallDelta(number, "{}")]
        events += call if step is None else [step]
    told = both(*events, END, reply=REPLY if shown else HIDDEN)
    said = fold([*events, END]).choices[0].parts
    back = returned(told["candidates"][0]["content"]["parts"]) if said else ()
    assert proofs(back) == proofs(said)


def proofs(said):
    return [part for part in said if isinstance(part, Thinking) and (part.signature or part.redacted)]


def test_images_and_no_drafts():
    assert parts(ImagePart("image/png", "DDDD", draft=True), ImagePart("image/webp", "AAAA")) == [
        {"inlineData": {"mimeType": "image/webp", "data": "AAAA"}}
    ]


def test_several_choices():
    token = Logprob(TokenLogprob("a", -0.5), (TokenLogprob("b", -1.5),))
    told = both(
        TextDelta("second", 1),
        TextDelta("first"),
        LogprobsDelta((token,)),
        LogprobsDelta((token,)),
        Finished(FinishReason.LENGTH, choice=1),
        END,
    )
    first, second = told["candidates"]
    assert first["logprobsResult"] == {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}] * 2,
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1.5}]}] * 2,
    }
    assert (first["finishReason"], second["finishReason"]) == ("STOP", "MAX_TOKENS")
    assert second["content"]["parts"] == [{"text": "second"}]


@pytest.mark.parametrize("before", [[], [TextDelta("a")]])
def test_a_failure_is_the_last_of_either_form(before):
    failed = Failed(Failure(529, FailureKind.OVERLOADED, "too much"))
    error = {"error": {"code": 529, "message": "too much", "status": "UNAVAILABLE"}}
    encoder = GeminiChunks(REPLY)
    assert chunks_of(encoder.encode([*before, ToolCallStarted(0, "c", "f"), failed]) + encoder.close())[-1] == error
    listed = GeminiChunks(Reply(REPLY.ids, "asked", extras={LISTED: True}))
    told = json.loads(listed.encode([*before, failed]) + listed.close())
    assert len(told) == len(before) + 1
    assert told[-1] == error


def test_an_array_of_chunks():
    events = [TextDelta("a"), TextDelta("b"), END]
    listed = GeminiChunks(Reply(REPLY.ids, "asked", extras={LISTED: True}))
    assert json.loads(listed.encode(events) + listed.close()) == stream(*events)


def test_a_count():
    assert json.loads(encode_count(7)) == {"totalTokens": 7}
