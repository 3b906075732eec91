import json

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Names
from broker.model.secret import Secret
from broker.proxy.context import Context
from broker.proxy.naming import Served
from broker.proxy.relays import Renamed, Untouched, Whole
from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.proxy.works_embeddings import EmbeddingsWork
from broker.translate.signatures import SignatureMemory

NAMES = Names({"mine": "openai-api/text-embedding-3-small", "g": "gemini-api/gemini-embedding-001"})
OPENAI, GEMINI, VERTEX = UPSTREAMS[Kind.OPENAI], UPSTREAMS[Kind.GEMINI], UPSTREAMS[Kind.VERTEX]
LEASE = Lease(
    account="x/a", provider="x", generation=1, access_token=Secret("fake-access-1"), facts={"project_id": "p-1"}
)
HEAD = ResponseHead(200, [(b"content-type", b"application/json")], 2)


def work(model: str, text: object = "a", **fields: object) -> EmbeddingsWork:
    body = json.dumps({"model": model, "input": text, **fields}).encode()
    head = RequestHead(
        "POST", "/v1/embeddings", "a=b&key=ours", [(b"user-agent", b"openai"), (b"authorization", b"ours")]
    )
    return EmbeddingsWork(
        head, body, Context("r-1", 5, SignatureMemory(), False, Served(PROVIDERS), NAMES, lambda _: 0)
    )


def test_what_speaks_as_openai_does_gets_the_bytes() -> None:
    asked = work("openai-compatible/nomic", [[1, 2]], odd=1)
    sent = asked.sent(UPSTREAMS[Kind.OPENAI_COMPATIBLE], LEASE, "nomic")
    assert sent.target == b"/embeddings?a=b"
    assert sent.body == b'{"model": "nomic", "input": [[1, 2]], "odd": 1}'
    assert dict(sent.headers)[b"user-agent"] == b"openai"
    assert dict(sent.headers)[b"authorization"] == b"Bearer fake-access-1"
    same = work("text-embedding-3-small")
    assert b'{"model": "text-embedding-3-small", ' in same.sent(OPENAI, LEASE, "text-embedding-3-small").body
    assert isinstance(same.relay(OPENAI, HEAD), Untouched)
    assert same.session() is None


def test_an_alias_is_told_as_it_was_asked() -> None:
    assert isinstance(work("mine").relay(OPENAI, HEAD), Renamed)
    coded = ResponseHead(200, [(b"content-encoding", b"gzip")], 2)
    assert isinstance(work("mine").relay(OPENAI, coded), Untouched)


@pytest.mark.parametrize(
    ("upstream", "target", "answer", "told"),
    [
        (GEMINI, b"/v1beta/models/m:batchEmbedContents", {"embeddings": [{"values": [0.5]}]}, [0.5]),
        (VERTEX, b"models/m:predict", {"predictions": [{"embeddings": {"values": [2]}}]}, [2.0]),
    ],
)  # fmt: skip
def test_google_is_asked_in_its_own_way(upstream, target: bytes, answer: object, told: list[float]) -> None:  # type: ignore[no-untyped-def]
    asked = work("g", dimensions=1)
    sent = asked.sent(upstream, LEASE, "m")
    assert sent.target.endswith(target)
    assert b'"outputDimensionality":1' in sent.body
    relay = asked.relay(upstream, HEAD)
    assert isinstance(relay, Whole)
    assert relay.feed(json.dumps(answer).encode()) == b""
    whole = json.loads(relay.close())
    assert (whole["data"][0]["embedding"], whole["model"]) == (told, "g")


def test_an_answer_that_is_none_is_a_failure() -> None:
    relay = work("g").relay(GEMINI, HEAD)
    relay.feed(b"{}")
    assert relay.close() == b""
    assert relay.failure is not None
    assert relay.failure.status == 502


def test_what_only_google_could_serve_is_read_at_once() -> None:
    for name, text, where in (("g", [], "input"), ("", "a", "model"), ("text-embedding-005", [1], "input")):
        with pytest.raises(BrokerError, match=f"^{where}: "):
            work(name, text)
    mixed = work("openai-api/x", [1])
    with pytest.raises(BrokerError, match=r"^input: "):
        mixed.sent(GEMINI, LEASE, "m")


def test_what_makes_none() -> None:
    with pytest.raises(BrokerError) as caught:
        work("claude-opus-4-5")
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_whose_errors_can_be_read() -> None:
    error = b'{"error":{"message":"m"}}'
    assert work("mine").own_error(OPENAI, error) is error
    assert work("mine").own_error(OPENAI, b"<html>") is None
    assert work("g").own_error(GEMINI, error) is None
