"""Code Assist's envelope, around translated requests and around a Gemini client's own bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError
from broker.translate import codeassist
from broker.translate.codeassist import CodeAssist, UnwrapStream, unwrap_answer, wrap_count_tokens, wrap_request
from broker.translate.exchange import Target
from broker.translate.ir import Message, Request, Role, Text
from broker.translate.signatures import SignatureMemory
from broker.translate.sse import SseParser
from tests.contract.codec_contract import UpstreamCodecContract, cut
from tests.translate.gemini_samples import answer, chunked, framed

TARGET = Target("gemini-2.5-pro", SignatureMemory(), "my-proj", "prompt-1", safety_off=False)


class TestContract(UpstreamCodecContract):
    codec = CodeAssist()

    def whole(self, pieces):
        body = {**answer(pieces, finishReason="STOP"), "usageMetadata": {"promptTokenCount": 3}}
        return json.dumps({"response": body, "traceId": "t", "consumedCredits": []}, ensure_ascii=False).encode()

    def stream(self, pieces, line_end, comments):
        return framed(chunked(pieces, lambda chunk: {"response": chunk, "traceId": "t"}), line_end, comments)


def test_a_translated_request():
    request = Request("m", (Message(Role.USER, (Text("x"),)),), "m", session="s-1")
    assert json.loads(CodeAssist().encode_request(request, TARGET).body) == {
        "model": "gemini-2.5-pro",
        "project": "my-proj",
        "user_prompt_id": "prompt-1",
        "request": {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "session_id": "s-1"},
    }


def test_what_is_not_known_is_left_out():
    request = Request("m", (Message(Role.USER, (Text("x"),)),), "m")
    sent = json.loads(CodeAssist().encode_request(request, Target("m", SignatureMemory(), safety_off=False)).body)
    assert set(sent) == {"model", "request"}
    assert set(sent["request"]) == {"contents"}


def test_a_gemini_clients_body_is_wrapped_byte_for_byte():
    body = b' {"contents": [ {"parts":[{"text":"\\u00e9"}]} ],  "unknown": 1.50}\n'
    wrapped = wrap_request(body, TARGET)
    assert (
        wrapped
        == b'{"model":"gemini-2.5-pro","project":"my-proj","user_prompt_id":"prompt-1","request":' + body.strip() + b"}"
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"5", b'{"a":1} x', b"\xff"])
def test_what_cannot_be_wrapped(body):
    with pytest.raises(BrokerError, match=r"^body: "):
        wrap_request(body, TARGET)


@pytest.mark.parametrize(
    "body",
    [
        b'{"contents":[{"parts":[{"text":"x"}]}]}',
        b'{"generateContentRequest":{"model":"models/other","contents":[{"parts":[{"text":"x"}]}],"tools":[]}}',
    ],
)
def test_counting_tokens_has_its_own_shape(body):
    expected = {"request": {"model": "models/gemini-2.5-pro", "contents": [{"parts": [{"text": "x"}]}]}}
    assert json.loads(wrap_count_tokens(body, TARGET)) == expected


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{}", "contents: is required"),
        (b'{"generateContentRequest":{}}', "generateContentRequest.contents: is required"),
        (b"[]", "body: expected object"),
    ],
)
def test_nothing_to_count(body, detail):
    with pytest.raises(BrokerError) as caught:
        wrap_count_tokens(body, TARGET)
    assert caught.value.detail.startswith(detail)


@pytest.mark.parametrize(
    ("body", "out"),
    [
        (b'{"response": {"candidates": [ 1.0 ]}, "traceId": "t"}', b'{"candidates": [ 1.0 ]}'),
        (b'{"totalTokens": 7}', b'{"totalTokens": 7}'),
        (b'{"error": {"code": 429}}', b'{"error": {"code": 429}}'),
        (b' [{"error": {"code": 429}}]', b'{"error": {"code": 429}}'),
        (b'[{"response":{"a":1}},{"response":{"b":2}}]', b'[{"a":1},{"b":2}]'),
        (b"[]", b"[]"),
        (b"<html>", b"<html>"),
        (b"", b""),
        (b"[5]", b"[5]"),
        (b'{"response":null}', b'{"response":null}'),
    ],
)
def test_taking_the_envelope_off(body, out):
    assert unwrap_answer(body) == out


def test_nesting_beyond_the_stack_is_passed_on():
    body = b'{"response":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert unwrap_answer(body) == body


@given(cuts=st.lists(st.floats(0, 1), max_size=8))
def test_a_stream_is_unwrapped_however_it_is_cut(cuts):
    data = 'data: {"response": {"a":"é"}}\r\n\r\n: c\r\nevent: e\r\ndata: {"response": {"b":2}}\r\n\r\ndata: {"response":{"c":3}}'.encode()
    stream = UnwrapStream()
    out = b"".join(stream.feed(piece) for piece in cut(data, cuts)) + stream.close()
    assert out == 'data: {"a":"é"}\n\nevent: e\ndata: {"b":2}\n\ndata: {"c":3}\n\n'.encode()


def test_an_event_too_large_ends_the_stream_with_an_error(monkeypatch):
    monkeypatch.setattr(codeassist, "SseParser", lambda: SseParser(limit=50))
    stream = UnwrapStream()
    (event,) = SseParser().feed(stream.feed(b"data: " + b"x" * 60))
    error = json.loads(event.data)["error"]
    assert (error["code"], error["status"]) == (500, "INTERNAL")
    assert "larger than 50 bytes" in error["message"]
    assert stream.feed(b"data: 1\n\n") + stream.close() == b""


def test_errors_in_an_array():
    assert CodeAssist().decode_error(429, b'[{"error":{"message":"m"}}]').message == "m"
