"""What is asked of an upstream for each kind of request, and how its answer comes back.

Owns: the meeting of a client's dialect with an upstream's: untouched where they are the same, wrapped for Code Assist, translated where they differ.
Pure; `job` sends, `relays` turns the bytes.
"""

from functools import partial
from typing import Final, Protocol

import msgspec

from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, to_upstream
from broker.proxy.models import Wanted, resolve
from broker.proxy.relays import Listed, Relay, Translated, Untouched, Unwrapped, Whole
from broker.proxy.routes import CountTokens, Generate, Voice, without_key
from broker.proxy.upstreams.base import Ask, Kind, Sent, Upstream
from broker.proxy.upstreams.codeassist import project_of
from broker.proxy.upstreams.table import UPSTREAMS as UPSTREAM_OF
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.translate.claude_answer import encode_count
from broker.translate.codeassist import unwrap_answer, wrap_count_tokens, wrap_request
from broker.translate.codecs import CLIENTS, UPSTREAMS, Dialect
from broker.translate.effort import split_suffix
from broker.translate.exchange import Reading, Reply, Route, Target
from broker.translate.fields import bad_field
from broker.translate.fold import fold
from broker.translate.ir import Failure, FailureKind, Ids, Request
from broker.translate.names import ToolNames
from broker.translate.passage import peek, with_model
from broker.translate.signatures import SignatureMemory

VOICES: Final = {Dialect.OPENAI_CHAT: Voice.OPENAI, Dialect.RESPONSES: Voice.OPENAI, Dialect.CLAUDE: Voice.ANTHROPIC}
"""In which shape the clients of a dialect are told errors."""


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
        if upstream.dialect is not Dialect.CODE_ASSIST:
            bad_field("model", "its provider does not speak Gemini's dialect, from which nothing is translated yet")
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


class TalkWork:
    """A request in a dialect that says everything in its body: chat completions, Responses, Anthropic messages. `count` asks for a count of tokens only."""

    def __init__(
        self, client: Dialect, head: RequestHead, body: bytes, context: Context, *, count: bool = False
    ) -> None:
        """Take the request.

        Where every upstream that could serve it speaks its dialect, no more is read of it than its model: the upstream judges the rest.

        Raises:
            BrokerError: `bad_request` naming the field, `not_found` where nothing serves the model.
        """
        self._client = client
        self._count = count
        self._head = head
        self._body = body
        self._context = context
        self._names = ToolNames()
        self._peeked = peek(body)
        name, suffix = split_suffix(self._peeked.model)
        self._suffixed = suffix is not None
        self.wanted = resolve(name, context.providers)
        self.voice = VOICES[client]
        self.events = bool(self._peeked.stream) and not count
        self._understood: Request | None = None
        dialects = {UPSTREAM_OF[context.providers[each]].dialect for each in self.wanted.providers}
        if dialects != {client}:
            self._understand()

    def sent(self, upstream: Upstream, lease: Lease) -> Sent:
        """Leave the body as it is but for the model's name, or translate."""
        if upstream.dialect is self._client:
            ask = Ask(self.wanted.model, self.events, self._count, query=without_key(self._head.query))
            return upstream.request(lease, ask, to_upstream(self._head.headers), self._passed())
        request = self._understand()
        project = project_of(lease) if upstream.dialect is Dialect.CODE_ASSIST and not self._count else None
        target = _target(self.wanted.model, self._context, project)
        codec = UPSTREAMS[upstream.dialect]
        if self._count:
            body = codec.encode_count(request, target)
        else:
            encoded = codec.encode_request(request, target)
            self._names, body = encoded.names, encoded.body
        return upstream.request(lease, Ask(self.wanted.model, self.events, self._count), [], body)

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Pass on, or translate back."""
        request_id = self._context.request_id.encode()
        if upstream.dialect is self._client:
            return Untouched(head, request_id)
        if self._count:
            return Whole(partial(_counted, upstream.dialect), request_id)
        request = self._understand()
        ids = Ids(self._context.request_id, self._context.created)
        codec, client = UPSTREAMS[upstream.dialect], CLIENTS[self._client]
        reading = Reading(ids, self._names, self._context.signatures)
        extras = request.extras.get(self._client.value, {})
        shown = self._shows_thinking(request)
        reply = Reply(ids, request.asked_model, request.include_usage, shown, extras)
        if request.stream:
            return Translated(codec.stream_decoder(reading), client.stream_encoder(reply), request_id)
        return Whole(partial(_translated, upstream.dialect, self._client, reading, reply), request_id)

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return it where the dialect is the client's own."""
        return body if upstream.dialect is self._client else None

    @property
    def request(self) -> Request:
        """The request, understood; raises as the constructor does."""
        return self._understand()

    def _understand(self) -> Request:
        if self._understood is None:
            route = Route(counting=self._count)
            self._understood = CLIENTS[self._client].decode_request(self._body, route)
        return self._understood

    def _passed(self) -> bytes:
        if self._suffixed:
            text = "its provider speaks the client's own dialect: say how hard to think in the request's own fields"
            bad_field("model", text)
        model = self.wanted.model
        return self._body if model == self._peeked.model else with_model(self._body, model)

    def _shows_thinking(self, request: Request) -> bool:
        # Anthropic's clients get thinking blocks only where they asked for them; OpenAI's ignore what they don't know.
        if self._client is not Dialect.CLAUDE:
            return True
        return request.reasoning is not None and bool(request.reasoning.visible)


def _counted(dialect: Dialect, body: bytes) -> bytes | Failure:
    tokens = UPSTREAMS[dialect].decode_count(body)
    if tokens is None:
        return Failure(
            502, FailureKind.SERVER, "the upstream's answer tells no number of tokens", code="bad_upstream_answer"
        )
    return encode_count(tokens)


def _translated(dialect: Dialect, client: Dialect, reading: Reading, reply: Reply, body: bytes) -> bytes | Failure:
    answer = fold(UPSTREAMS[dialect].decode_answer(body, reading))
    if answer.failure is not None:
        return answer.failure
    return CLIENTS[client].encode_answer(answer, reply)


def _target(model: str, context: Context, project: str | None) -> Target:
    return Target(model, context.signatures, project, context.request_id, context.safety_off)


def _uncoded(headers: Headers) -> Headers:
    return [header for header in headers if header[0] != b"content-encoding"]
