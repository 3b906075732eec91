"""The table of codecs, used as its docstring says."""

import json

import pytest

from broker.translate.codecs import CLIENTS, ERRORS, UPSTREAMS, Dialect
from broker.translate.exchange import Reading, Reply, Target
from broker.translate.fold import fold
from broker.translate.ir import Failure, FailureKind, Ids
from broker.translate.signatures import SignatureMemory

ANSWER = b'{"candidates":[{"content":{"parts":[{"text":"pong"}]},"finishReason":"STOP"}]}'


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("upstream", list(UPSTREAMS))
def test_every_client_meets_every_upstream(client, upstream):
    ours, theirs, memory = CLIENTS[client], UPSTREAMS[upstream], SignatureMemory()
    request = ours.decode_request(b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"ping"}]}')
    sent = theirs.encode_request(request, Target(request.model, memory, project="p"))
    assert b"ping" in sent.body
    reading = Reading(Ids("i", 1), sent.names, memory)
    reply = Reply(reading.ids, request.asked_model, request.include_usage)
    whole = fold(theirs.decode_answer(ANSWER, reading))
    assert whole.failure is None
    assert b"pong" in ours.encode_answer(whole, reply)
    reader, writer = theirs.stream_decoder(reading), ours.stream_encoder(reply)
    out = writer.encode(reader.feed(b"data: " + ANSWER + b"\n\n")) + writer.encode(reader.close()) + writer.close()
    assert b"pong" in out


def test_every_dialect_spoken_by_clients_can_tell_an_error():
    assert set(CLIENTS) <= set(ERRORS)
    for codec in ERRORS.values():
        assert "error" in json.loads(codec.encode_error(Failure(503, FailureKind.OVERLOADED, "m")))


def test_the_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        CLIENTS[Dialect.GEMINI] = CLIENTS[Dialect.OPENAI_CHAT]
