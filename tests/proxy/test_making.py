"""Which work serves which kind of request."""

import json

import pytest

from broker.model.errors import BrokerError
from broker.model.naming import Names
from broker.proxy.context import Context
from broker.proxy.making import work_of
from broker.proxy.naming import Served
from broker.proxy.routes import (
    ChatCompletions,
    Compact,
    CountMessages,
    CountTokens,
    Embeddings,
    Generate,
    Images,
    Messages,
    Responses,
    Target,
)
from broker.proxy.upstreams.table import PROVIDERS
from broker.proxy.wire.heads import RequestHead
from broker.proxy.works import GeminiWork, TalkWork, Work
from broker.proxy.works_compact import CompactWork
from broker.proxy.works_embeddings import EmbeddingsWork
from broker.proxy.works_images import ImagesWork
from broker.translate.codecs import Dialect
from broker.translate.signatures import SignatureMemory

HI = [{"role": "user", "content": "hi"}]
ASKED = {
    "chat": {"model": "gpt-4o", "messages": HI},
    "responses": {"model": "gpt-4o", "input": "hi"},
    "messages": {"model": "claude-sonnet-4-5", "messages": HI, "max_tokens": 9},
    "embeddings": {"model": "text-embedding-3-small", "input": "hi"},
    "images": {"model": "gpt-image-1", "prompt": "hi"},
    "compact": {"model": "gpt-5-codex", "input": []},
}


def made(target: Target, body: object, *headers: tuple[bytes, bytes]) -> Work:
    context = Context("r-1", 1, SignatureMemory(), False, Served(PROVIDERS), Names(), lambda _: 0)
    return work_of(target, RequestHead("POST", "/x", "", list(headers)), json.dumps(body).encode(), context)


@pytest.mark.parametrize(
    ("target", "body", "kind", "client"),
    [
        (ChatCompletions(), "chat", TalkWork, Dialect.OPENAI_CHAT),
        (Responses(), "responses", TalkWork, Dialect.RESPONSES),
        (Messages(), "messages", TalkWork, Dialect.CLAUDE),
        (CountMessages(), "messages", TalkWork, Dialect.CLAUDE),
        (Embeddings(), "embeddings", EmbeddingsWork, Dialect.OPENAI_CHAT),
        (Images(), "images", ImagesWork, Dialect.OPENAI_CHAT),
        (Compact(), "compact", CompactWork, Dialect.RESPONSES),
    ],
)
def test_each_path_has_its_work(target: Target, body: str, kind: type, client: Dialect) -> None:
    work = made(target, ASKED[body], (b"content-encoding", b"identity"))
    assert type(work) is kind
    assert (work.client, work.asked) == (client, ASKED[body]["model"])
    assert not work.events


@pytest.mark.parametrize("target", [Generate("gemini-2.5-pro", False, "v1"), CountTokens("gemini-2.5-pro", "v1")])
def test_a_gemini_client_may_send_compressed_bodies_on(target: Target) -> None:
    assert type(made(target, {}, (b"content-encoding", b"gzip"))) is GeminiWork


def test_others_may_not() -> None:
    with pytest.raises(BrokerError, match="uncompressed"):
        made(ChatCompletions(), ASKED["chat"], (b"content-encoding", b"gzip"))
