"""Requests to make or change images.

Owns: what is asked of each upstream that makes them, and how its answer comes back: as it is where it speaks as OpenAI does, else through a conversation with
one of Gemini's image models. Pure.
"""

from functools import partial
from typing import Final

import msgspec

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.context import Context
from broker.proxy.headers import to_upstream
from broker.proxy.relays import Relay, Untouched, Whole
from broker.proxy.routes import Voice, without_key
from broker.proxy.translation import project_for, target_for
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent, Upstream
from broker.proxy.upstreams.table import upstream_of
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.translate.codecs import UPSTREAMS, Dialect
from broker.translate.exchange import Ids, Reading
from broker.translate.fold import fold
from broker.translate.images import (
    Drawing,
    FormHead,
    decode_edit,
    decode_form,
    decode_generation,
    encode_answer,
    form_head,
)
from broker.translate.ir import Failure, Request
from broker.translate.multipart import is_form, with_value
from broker.translate.names import ToolNames
from broker.translate.openai_errors import tells_error
from broker.translate.passage import Peeked, peek, with_model

_WITH_TEXT: Final = frozenset({Kind.VERTEX})
"""Where it is not established that images alone can be asked for; both are what its models answer with by themselves."""


class ImagesWork:
    """POST /v1/images/generations or, with `edits`, /v1/images/edits, in JSON or, for these, as a form."""

    client = Dialect.OPENAI_CHAT
    voice = Voice.OPENAI

    def __init__(self, head: RequestHead, body: bytes, context: Context, *, edits: bool) -> None:
        """Take the request; no more is read of it than its model where an upstream that could serve it takes it as it is.

        Raises:
            BrokerError: `bad_request` naming the field, `not_found` where nothing makes images with the model.
        """
        self._head = head
        self._body = body
        self._context = context
        self._offer = Offer.IMAGE_EDITS if edits else Offer.IMAGES
        told = head.get(b"content-type")
        self._kind = told.decode("latin-1") if told is not None and is_form(told.decode("latin-1")) else None
        if self._kind is not None and not edits:
            raise BrokerError(ErrorCode.BAD_REQUEST, "content-type: this path takes JSON")
        self._told: Peeked | FormHead = peek(body) if self._kind is None else form_head(body, self._kind)
        self.asked = self._told.model
        self.events = bool(self._told.stream)
        self.wanted = context.wanted(self.asked, self._offer)
        self._drawing: Drawing | None = None
        if not any(_passes(upstream_of(context.served.kinds[each], self.client)) for each in self.wanted.providers):
            self._understood()

    def sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        """Leave the body as it is but for the model's name, or translate."""
        request_id = self._context.request_id
        if not _passes(upstream):
            target = target_for(model, self._context, project_for(upstream, lease, counting=False))
            encoded = UPSTREAMS[upstream.dialect].encode_request(self._request(upstream), target)
            return upstream.request(lease, Ask(model, request_id=request_id), [], encoded.body)
        query = without_key(self._head.query)
        ask = Ask(model, self.events, query=query, request_id=request_id, offer=self._offer)
        return upstream.request(lease, ask, to_upstream(self._head.headers), self._passed(model))

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Pass on, or take the images out of what a model said."""
        request_id = self._context.request_id.encode()
        if _passes(upstream):
            return Untouched(head, request_id)
        reading = Reading(Ids(self._context.request_id, self._context.created), ToolNames(), self._context.signatures)
        return Whole(partial(_made, upstream.dialect, reading, self._understood()), request_id)

    def session(self) -> str | None:
        """Return None: one image has nothing to do with another."""
        return None

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return it where it is told in OpenAI's words."""
        return body if _passes(upstream) and tells_error(body) else None

    def _understood(self) -> Drawing:
        if self._drawing is None:
            if self._kind is not None:
                self._drawing = decode_form(self._body, self._kind)
            else:
                read = decode_edit if self._offer is Offer.IMAGE_EDITS else decode_generation
                self._drawing = read(self._body)
        return self._drawing

    def _request(self, upstream: Upstream) -> Request:
        request = self._understood().request
        if upstream.kind not in _WITH_TEXT:
            return request
        both = msgspec.structs.replace(request.image, modalities=("text", "image"))
        return msgspec.structs.replace(request, image=both)

    def _passed(self, model: str) -> bytes:
        if model == self.asked:
            return self._body
        if isinstance(self._told, FormHead):
            return with_value(self._body, self._told.place, model.encode())
        return with_model(self._body, model)


def _passes(upstream: Upstream) -> bool:
    return upstream.dialect is Dialect.OPENAI_CHAT


def _made(dialect: Dialect, reading: Reading, drawing: Drawing, body: bytes) -> bytes | Failure:
    answer = fold(UPSTREAMS[dialect].decode_answer(body, reading))
    if answer.failure is not None:
        return answer.failure
    return encode_answer(answer, reading.ids.created, as_url=drawing.as_url)
