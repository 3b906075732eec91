"""What is asked of an upstream for each kind of request, and how its answer comes back.

Owns: the meeting of a client's dialect with an upstream's: untouched where they are the same, wrapped for Code Assist, translated where they differ.
Pure; `job` sends, `relays` turns the bytes.
"""

from functools import partial
from typing import Protocol

import msgspec

from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, to_upstream
from broker.proxy.models import Wanted, resolve
from broker.proxy.relays import Listed, Relay, Translated, Untouched, Unwrapped, Whole
from broker.proxy.routes import CountTokens, Generate, Voice, without_key
from broker.proxy.upstreams.base import Ask, Kind, Sent, Upstream
from broker.proxy.upstreams.codeassist import project_of
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.translate.codeassist import unwrap_answer, wrap_count_tokens, wrap_request
from broker.translate.codecs import CLIENTS, UPSTREAMS, Dialect
from broker.translate.exchange import Reading, Reply, Target
from broker.translate.fold import fold
from broker.translate.ir import Failure, Ids, Request
from broker.translate.names import ToolNames
from broker.translate.signatures import SignatureMemory


class Context(msgspec.Struct, frozen=True):
    """What a work needs besides the request: its id, the time in seconds since the epoch, and what the worker shares."""

    request_id: str
    created: int
    signatures: SignatureMemory
    safety_off: bool
    providers: dict[str, Kind]


class Work(Protocol):
    """A request to be served by some account. `events` says that the client reads server-sent events, so comments may keep it waiting."""

    wanted: Wanted
    voice: Voice
    events: bool

    def sent(self, upstream: Upstream, lease: Lease) -> Sent:
        """Write the request for an upstream and an account.

        Raises:
            BrokerError: `bad_request` where it cannot be asked of this upstream; `misconfigured` where the account lacks something.
        """
        ...

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Begin to turn the answer that has this head."""
        ...

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return an upstream's error as this client can read it without loss; None where it must be worded anew."""
        ...


class GeminiWork:
    """A Gemini client's generateContent, streamGenerateContent or countTokens."""

    def __init__(self, route: Generate | CountTokens, head: RequestHead, body: bytes, context: Context) -> None:
        """Take the request; raises BrokerError `not_found` where nothing serves the model."""
        self.wanted = resolve(route.model, context.providers)
        self.voice = Voice.GEMINI
        self._count = isinstance(route, CountTokens)
        self._stream = isinstance(route, Generate) and route.stream
        self.events = isinstance(route, Generate) and route.stream and route.sse
        self._version = route.version
        self._head = head
        self._body = body
        self._context = context

    def sent(self, upstream: Upstream, lease: Lease) -> Sent:
        """Leave the body as it is, or put it in Code Assist's envelope."""
        headers = to_upstream(self._head.headers)
        ask = Ask(self.wanted.model, self._stream, self._count, self._version, without_key(self._head.query))
        if upstream.dialect is Dialect.GEMINI:
            return upstream.request(lease, ask, headers, self._body)
        wrap = wrap_count_tokens if self._count else wrap_request
        target = _target(self.wanted.model, self._context, None if self._count else project_of(lease))
        return upstream.request(lease, ask, _uncoded(headers), wrap(self._body, target))

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Pass on, or take the envelope off."""
        request_id = self._context.request_id.encode()
        if upstream.dialect is Dialect.GEMINI:
            return Untouched(head, request_id)
        if not self._stream:
            return Whole(unwrap_answer, request_id)
        return Unwrapped(request_id) if self.events else Listed(request_id)

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return it: both upstreams speak Google's errors."""
        del upstream
        return unwrap_answer(body)


class ChatWork:
    """An OpenAI client's chat completion."""

    def __init__(self, body: bytes, context: Context) -> None:
        """Understand the request; raises BrokerError: `bad_request` naming the field, `not_found` where nothing serves the model."""
        self._request = CLIENTS[Dialect.OPENAI_CHAT].decode_request(body)
        self.wanted = resolve(self._request.model, context.providers)
        self.voice = Voice.OPENAI
        self.events = self._request.stream
        self._context = context
        self._names = ToolNames()

    def sent(self, upstream: Upstream, lease: Lease) -> Sent:
        """Translate."""
        project = project_of(lease) if upstream.dialect is Dialect.CODE_ASSIST else None
        target = _target(self.wanted.model, self._context, project)
        encoded = UPSTREAMS[upstream.dialect].encode_request(self._request, target)
        self._names = encoded.names
        return upstream.request(lease, Ask(self.wanted.model, self._request.stream), [], encoded.body)

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Translate back."""
        del head
        ids = Ids(self._context.request_id, self._context.created)
        codec, client = UPSTREAMS[upstream.dialect], CLIENTS[Dialect.OPENAI_CHAT]
        reading = Reading(ids, self._names, self._context.signatures)
        reply = Reply(ids, self._request.asked_model, self._request.include_usage)
        request_id = self._context.request_id.encode()
        if self._request.stream:
            return Translated(codec.stream_decoder(reading), client.stream_encoder(reply), request_id)
        return Whole(partial(_translate, upstream.dialect, reading, reply), request_id)

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return None: the dialects differ."""
        del upstream, body
        return None

    @property
    def request(self) -> Request:
        """The request, understood."""
        return self._request


def _translate(dialect: Dialect, reading: Reading, reply: Reply, body: bytes) -> bytes | Failure:
    answer = fold(UPSTREAMS[dialect].decode_answer(body, reading))
    if answer.failure is not None:
        return answer.failure
    return CLIENTS[Dialect.OPENAI_CHAT].encode_answer(answer, reply)


def _target(model: str, context: Context, project: str | None) -> Target:
    return Target(model, context.signatures, project, context.request_id, context.safety_off)


def _uncoded(headers: Headers) -> Headers:
    return [header for header in headers if header[0] != b"content-encoding"]
