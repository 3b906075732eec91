"""The table of codecs, used as its docstring says."""

import json

import pytest

from broker.translate.codecs import CLIENTS, ERRORS, UPSTREAMS, Dialect
from broker.translate.exchange import Ids, Reading, Reply, Route, Target
from broker.translate.fold import fold
from broker.translate.ir import Failure, FailureKind
from broker.translate.signatures import SignatureMemory
from tests.fakes import kiro

GEMINI = b'{"candidates":[{"content":{"parts":[{"text":"pong"}]},"finishReason":"STOP"}]}'
GEMINI_STREAM = b"data: " + GEMINI + b"\n\n"
CLAUDE = b'{"type":"message","content":[{"type":"text","text":"pong"}],"stop_reason":"end_turn"}'
CLAUDE_STREAM = b'data: {"type":"message_start","message":' + CLAUDE + b'}\n\ndata: {"type":"message_stop"}\n\n'
CHAT = b'{"choices":[{"index":0,"message":{"content":"pong"},"finish_reason":"stop"}]}'
RESPONSE = b'{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"pong"}]}]}'
KIRO = kiro.event("assistantResponseEvent", content="pong")
RESPONSE_STREAM = b'data: {"type":"response.completed","response":' + RESPONSE + b"}\n\n"
ANSWERS = {
    Dialect.RESPONSES: (RESPONSE, RESPONSE_STREAM),
    Dialect.OPENAI_CHAT: (CHAT, b"data: " + CHAT + b"\n\n"),
    Dialect.GEMINI: (GEMINI, GEMINI_STREAM),
    Dialect.CODE_ASSIST: (GEMINI, GEMINI_STREAM),
    Dialect.ANTIGRAVITY: (GEMINI, GEMINI_STREAM),
    Dialect.CLAUDE: (CLAUDE, CLAUDE_STREAM),
    Dialect.KIRO: (KIRO, KIRO),
}


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("upstream", list(UPSTREAMS))
def test_every_client_meets_every_upstream(client, upstream):
    ours, theirs, memory = CLIENTS[client], UPSTREAMS[upstream], SignatureMemory()
    request = ours.decode_request(
        b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"ping"}],"input":"ping",'
        b'"contents":[{"parts":[{"text":"ping"}]}]}'
    )
    sent = theirs.encode_request(request, Target(request.model, memory, project="p"))
    assert b"ping" in sent.body
    reading = Reading(Ids("i", 1), sent.names, memory)
    reply = Reply(reading.ids, request.asked_model, request.include_usage)
    answer, stream = ANSWERS[upstream]
    whole = fold(theirs.decode_answer(answer, reading))
    assert whole.failure is None
    assert b"pong" in ours.encode_answer(whole, reply)
    reader, writer = theirs.stream_decoder(reading), ours.stream_encoder(reply)
    out = writer.encode(reader.feed(stream)) + writer.encode(reader.close()) + writer.close()
    assert b"pong" in out


@pytest.mark.parametrize(
    "upstream", [each for each in UPSTREAMS if each not in (Dialect.OPENAI_CHAT, Dialect.RESPONSES, Dialect.KIRO)]
)
def test_upstreams_count_what_they_would_be_asked(upstream):
    codec = UPSTREAMS[upstream]
    body = b'{"model":"m","messages":[{"role":"user","content":"ping"}],"system":"be kind","tools":[{"name":"f"}]}'
    request = CLIENTS[Dialect.CLAUDE].decode_request(body, Route(counting=True))
    sent = codec.encode_count(request, Target("m", SignatureMemory(), project="p"))
    assert all(word in sent for word in (b"ping", b"be kind", b"f"))
    assert codec.decode_count(b'{"totalTokens":7}') == 7
    assert codec.decode_count(b"[]") is None
    bare = CLIENTS[Dialect.CLAUDE].decode_request(
        b'{"model":"m","messages":[{"role":"user","content":"x"}]}', Route(counting=True)
    )
    assert b"be kind" not in codec.encode_count(bare, Target("m", SignatureMemory()))


def test_every_dialect_spoken_by_clients_can_tell_an_error():
    assert set(CLIENTS) <= set(ERRORS)
    for codec in ERRORS.values():
        assert "error" in json.loads(codec.encode_error(Failure(503, FailureKind.OVERLOADED, "m")))


def test_the_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        CLIENTS[Dialect.GEMINI] = CLIENTS[Dialect.OPENAI_CHAT]
