"""Requests for embeddings.

Owns: what is asked of each upstream that makes them, and how its answer comes back: as it is where it speaks as OpenAI does, translated at Google. Pure.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from broker.ipc.schema import Lease
from broker.proxy.context import Context
from broker.proxy.headers import to_upstream
from broker.proxy.relays import Relay, Renamed, Untouched, Whole
from broker.proxy.routes import Voice, without_key
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent, Upstream
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.translate.codecs import Dialect
from broker.translate.embeddings import Texts, decode_request, encode_answer
from broker.translate.google_embeddings import EmbeddingCodec, GeminiEmbeddings, VertexEmbeddings
from broker.translate.ir import Failure
from broker.translate.openai_errors import tells_error
from broker.translate.passage import peek, with_model

CODECS: Final[Mapping[Kind, EmbeddingCodec]] = {Kind.GEMINI: GeminiEmbeddings(), Kind.VERTEX: VertexEmbeddings()}
"""The upstreams that take embeddings in a way of their own."""


class EmbeddingsWork:
    """POST /v1/embeddings."""

    client = Dialect.OPENAI_CHAT
    voice = Voice.OPENAI
    events = False

    def __init__(self, head: RequestHead, body: bytes, context: Context) -> None:
        """Take the request; no more is read of it than its model where an upstream that could serve it takes it as it is.

        Raises:
            BrokerError: `bad_request` naming the field, `not_found` where nothing makes embeddings with the model.
        """
        self._head = head
        self._body = body
        self._context = context
        self.asked = peek(body).model
        self.wanted = context.wanted(self.asked, Offer.EMBEDDINGS)
        self._texts: Texts | None = None
        kinds = {context.served.kinds[each] for each in self.wanted.providers}
        if kinds <= CODECS.keys():
            self._understood()

    def sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        """Leave the body as it is but for the model's name, or translate."""
        codec, request_id = CODECS.get(upstream.kind), self._context.request_id
        if codec is not None:
            ask = Ask(model, request_id=request_id, offer=Offer.EMBEDDINGS)
            return upstream.request(lease, ask, [], codec.encode(self._understood(), model))
        ask = Ask(model, query=without_key(self._head.query), request_id=request_id, offer=Offer.EMBEDDINGS)
        body = self._body if model == self.asked else with_model(self._body, model)
        return upstream.request(lease, ask, to_upstream(self._head.headers), body)

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Pass on, or translate back."""
        codec, request_id = CODECS.get(upstream.kind), self._context.request_id.encode()
        if codec is not None:
            return Whole(partial(_answered, codec, self._understood(), self.asked), request_id)
        passed = Untouched(head, request_id)
        readable = head.get(b"content-encoding") in (None, b"identity")
        return Renamed(passed, self.asked) if self.wanted.own and readable else passed

    def session(self) -> str | None:
        """Return None: texts to embed have nothing to do with each other."""
        return None

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return it where it is told in OpenAI's words."""
        return body if upstream.kind not in CODECS and tells_error(body) else None

    def _understood(self) -> Texts:
        if self._texts is None:
            self._texts = decode_request(self._body)
        return self._texts


def _answered(codec: EmbeddingCodec, asked: Texts, model: str, body: bytes) -> bytes | Failure:
    found = codec.decode(body)
    return found if isinstance(found, Failure) else encode_answer(found, asked, model)
