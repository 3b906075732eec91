"""Codex's request to have a conversation compacted (`POST /v1/responses/compact`).

Owns: who is asked for it, and what is said where nobody can. Pure. What comes of it is encrypted, for OpenAI alone to read, so it passes untouched and can be
made nowhere else.

Source: platform.openai.com "Compact a response"; openai/codex, `codex-rs/codex-api/src/endpoint/compact.rs`.
"""

from typing import Final

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.context import Context
from broker.proxy.headers import to_upstream
from broker.proxy.relays import Relay, Untouched
from broker.proxy.routes import Voice, without_key
from broker.proxy.session import session_of
from broker.proxy.upstreams.base import Ask, Offer, Sent, Upstream
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.translate.codecs import Dialect
from broker.translate.openai_errors import tells_error
from broker.translate.passage import peek, with_model
from broker.translate.responses_request import COMPACT_YOURSELF

_SHOWN: Final = 60


class CompactWork:
    """POST /v1/responses/compact."""

    client = Dialect.RESPONSES
    voice = Voice.OPENAI
    events = False

    def __init__(self, head: RequestHead, body: bytes, context: Context) -> None:
        """Take the request; no more is read of it than its model.

        Raises:
            BrokerError: `bad_request` where those who serve the model compact nothing, `not_found` where nobody serves it.
        """
        self._head = head
        self._body = body
        self._context = context
        self.asked = peek(body).model
        those = ", ".join(context.wanted(self.asked).providers)
        try:
            self.wanted = context.wanted(self.asked, Offer.COMPACT)
        except BrokerError as error:
            text = f"model: {self.asked[:_SHOWN]!r} is served by {those}, which cannot compact; {COMPACT_YOURSELF}"
            raise BrokerError(ErrorCode.BAD_REQUEST, text, hint="") from error

    def sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        """Leave the body as it is but for the model's name."""
        ask = Ask(model, query=without_key(self._head.query), request_id=self._context.request_id, offer=Offer.COMPACT)
        body = self._body if model == self.asked else with_model(self._body, model)
        return upstream.request(lease, ask, to_upstream(self._head.headers), body)

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Pass on."""
        del upstream
        return Untouched(head, self._context.request_id.encode())

    def session(self) -> str | None:
        """Return the conversation it belongs to: what comes of it can be read by the account that made it."""
        return session_of(self._head.headers, self._body)

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return it where it is told in OpenAI's words."""
        del upstream
        return body if tells_error(body) else None
