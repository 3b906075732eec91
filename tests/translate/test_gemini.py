"""The Gemini codec as a whole: the contract, golden answers on to an OpenAI client, and speed of the joints."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.exchange import Ids, Reading, Reply, Route, Target
from broker.translate.fold import fold
from broker.translate.gemini import Gemini
from broker.translate.ir import CalledTool, Failure, FailureKind, Text
from broker.translate.names import ToolNames
from broker.translate.openai_chat import OpenAIChat
from broker.translate.signatures import SignatureMemory
from broker.translate.sse import SseParser
from tests.contract.codec_contract import CUTS, PIECES, UpstreamCodecContract, cut, events_of
from tests.contract.codec_contract import reading as contract_reading
from tests.translate.gemini_samples import answer, chunked, framed

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "gemini").glob("answer_*.json"))


class TestContract(UpstreamCodecContract):
    codec = Gemini()

    def whole(self, pieces):
        body = {**answer(pieces, finishReason="STOP"), "usageMetadata": {"promptTokenCount": 3}}
        return json.dumps(body, indent=2, ensure_ascii=False).encode()

    def stream(self, pieces, line_end, comments):
        return framed(chunked(pieces), line_end, comments)


def reading():
    return Reading(Ids("abc", 1_700_000_000), ToolNames(["get weather", "get_weather"]), SignatureMemory())


REPLY = Reply(Ids("abc", 1_700_000_000), "asked-model", include_usage=True)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_whole(path):
    case = json.loads(path.read_text())
    events = Gemini().decode_answer(json.dumps(case["gemini"]).encode(), reading())
    assert json.loads(OpenAIChat().encode_answer(fold(events), REPLY)) == case["openai"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@given(cuts=st.lists(st.floats(0, 1), max_size=12))
def test_golden_stream(path, cuts):
    case = json.loads(path.read_text())
    decoder, encoder = Gemini().stream_decoder(reading()), OpenAIChat().stream_encoder(REPLY)
    data = framed(
        [json.dumps(chunk, ensure_ascii=False).encode() for chunk in case["gemini_chunks"]], b"\r\n", comments=True
    )
    out = b"".join(encoder.encode(decoder.feed(piece)) for piece in cut(data, cuts))
    out += encoder.encode(decoder.close()) + encoder.close()
    *chunks, done = [event.data for event in SseParser().feed(out)]
    assert [json.loads(chunk) for chunk in chunks] == case["openai_chunks"]
    assert done == b"[DONE]"


def test_the_golden_files_are_there():
    assert len(GOLDEN) >= 6


def test_signatures_make_the_round_trip_with_a_client_that_drops_them():
    """A call goes out with its signature, comes back without, and is sent upstream with it again."""
    memory = SignatureMemory()
    into = Reading(Ids("abc", 1), ToolNames(), memory)
    body = {
        "candidates": [
            {
                "content": {"parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "s"}]},
                "finishReason": "STOP",
            }
        ]
    }
    whole = fold(Gemini().decode_answer(json.dumps(body).encode(), into))
    message = json.loads(OpenAIChat().encode_answer(whole, REPLY))["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert call.pop("extra_content") == {"google": {"thought_signature": "s"}}
    back = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "x"},
            message,
            {"role": "tool", "tool_call_id": call["id"], "content": "r"},
        ],
    }
    request = OpenAIChat().decode_request(json.dumps(back).encode())
    sent = json.loads(Gemini().encode_request(request, Target("gemini-3-pro-preview", memory)).body)
    assert sent["contents"][1]["parts"] == [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "s"}]


def test_an_image_of_25_megabytes_passes_whole_and_streamed():
    data = "A" * 25_000_000
    body = json.dumps(answer([("image", data)], finishReason="STOP")).encode()
    decoder, encoder = Gemini().stream_decoder(reading()), OpenAIChat().stream_encoder(REPLY)
    stream = framed([body], b"\r\n", comments=False)
    out = b"".join(encoder.encode(decoder.feed(stream[i : i + 65536])) for i in range(0, len(stream), 65536))
    assert out.count(b"A" * 1_000_000) == 25
    whole = fold(Gemini().decode_answer(body, reading()))
    assert whole.choices[0].parts[0].data == data


def test_errors_both_ways():
    failure = Failure(429, FailureKind.RATE_LIMITED, "Wait.", code="RESOURCE_EXHAUSTED", retry_after=2.0)
    assert Gemini().decode_error(429, Gemini().encode_error(failure)) == failure


@given(pieces=PIECES, cuts=CUTS)
def test_what_a_client_is_told_reads_like_an_answer_of_google(pieces, cuts):
    events = events_of(pieces)
    told = fold(events)
    encoder = Gemini().stream_encoder(REPLY)
    stream = encoder.encode(events) + encoder.close()
    decoder = Gemini().stream_decoder(contract_reading())
    streamed = fold([*(event for piece in cut(stream, cuts) for event in decoder.feed(piece)), *decoder.close()])
    whole = fold(Gemini().decode_answer(Gemini().encode_answer(told, REPLY), contract_reading()))
    for read in (streamed, whole):
        assert read.failure is None
        assert read.usage == told.usage
        assert read.choices[0].finished.reason is told.choices[0].finished.reason
        said = [part for part in read.choices[0].parts if part != Text("")]
        assert [normal(part) for part in said] == [normal(part) for part in told.choices[0].parts]


def normal(part):
    return (part.id, part.name, json.loads(part.arguments)) if isinstance(part, CalledTool) else part


def test_a_client_s_request_is_read():
    assert Gemini().decode_request(b'{"model":"models/m","contents":[{"parts":[{"text":"x"}]}]}').model == "m"


def test_counting_asks_with_all_that_would_be_sent():
    body = b'{"contents":[{"parts":[{"text":"x"}]}],"systemInstruction":{"parts":[{"text":"s"}]}}'
    request = Gemini().decode_request(body, Route("m"))
    sent = json.loads(Gemini().encode_count(request, Target("models/g", SignatureMemory(), safety_off=False)))
    assert sent["generateContentRequest"]["model"] == "models/g"
    assert sent["generateContentRequest"]["systemInstruction"]["parts"] == [{"text": "s"}]
    assert Gemini().decode_count(b'{"totalTokens":7}') == 7
