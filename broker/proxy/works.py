"""What is asked of an upstream for each kind of request, and how its answer comes back.

Owns: the meeting of a client's dialect with an upstream's: untouched where they are the same, wrapped for Code Assist, a `translation` where they differ.
Pure; `job` sends, `relays` turns the bytes.
"""

from collections.abc import Collection, Mapping
from enum import Enum
from functools import partial
from typing import Final, Protocol

from broker.ipc.schema import Lease
from broker.proxy.context import Context
from broker.proxy.headers import Headers, to_upstream
from broker.proxy.naming import Wanted
from broker.proxy.outgoing import again, written
from broker.proxy.policies import Edits, edits_of
from broker.proxy.relays import Guarded, Listed, Relay, Renamed, Untouched, Unwrapped, Whole
from broker.proxy.routes import CountTokens, Generate, Voice, without_key
from broker.proxy.session import session_of
from broker.proxy.translation import Translation, project_for, target_for
from broker.proxy.upstreams.base import STEADY, Ask, Kind, Sent, StreamsOnly, Upstream
from broker.proxy.upstreams.table import upstream_of
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.translate.codeassist import unwrap_answer
from broker.translate.codecs import CLIENTS, Dialect
from broker.translate.effort import split_suffix
from broker.translate.envelopes import ENVELOPES
from broker.translate.exchange import Route
from broker.translate.fields import bad_field
from broker.translate.ir import Failure, Request
from broker.translate.openai_errors import tells_error
from broker.translate.passage import Peeked, peek, with_model
from broker.translate.renaming import renamed

VOICES: Final = {Dialect.OPENAI_CHAT: Voice.OPENAI, Dialect.RESPONSES: Voice.OPENAI, Dialect.CLAUDE: Voice.ANTHROPIC}
"""In which shape the clients of a dialect are told errors."""


class Work(Protocol):
    """A request, in the dialect `client`, to be served by some account.

    `asked` is the model's name as the client wrote it, without a suffix. `events` says that its client reads events, so comments may keep it waiting.
    """

    client: Dialect
    asked: str
    wanted: Wanted
    voice: Voice
    events: bool

    def sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        """Write the request for an upstream, an account and a model of `wanted`.

        Raises:
            BrokerError: `bad_request` where it cannot be asked of this upstream; `misconfigured` where the account lacks something.
        """
        ...

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Begin to turn the answer that has this head."""
        ...

    def session(self) -> str | None:
        """Return the conversation it belongs to, as far as that can be told."""
        ...

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return an upstream's error as this client can read it without loss; None where it must be worded anew."""
        ...


class Manner(Enum):
    """How a request goes to an upstream, and its answer comes back."""

    UNTOUCHED = "untouched"
    TRANSLATED = "translated"


class GeminiWork:
    """A Gemini client's generateContent, streamGenerateContent or countTokens."""

    def __init__(self, route: Generate | CountTokens, head: RequestHead, body: bytes, context: Context) -> None:
        """Take the request.

        Where an upstream that could serve it speaks Gemini's dialect, in an envelope or not, the body is not read until it goes to another.

        Raises:
            BrokerError: `bad_request` naming the field, `not_found` where nothing serves the model.
        """
        self.client = Dialect.GEMINI
        name, suffix = split_suffix(route.model)
        self.asked = name
        self._asked = route.model
        self.wanted = context.wanted(name)
        self.voice = Voice.GEMINI
        self._count = isinstance(route, CountTokens)
        self._edits = edits_of(context.policies, self.wanted, suffix, count=self._count)
        self._stream = isinstance(route, Generate) and route.stream
        self.events = isinstance(route, Generate) and route.stream and route.sse
        self._version = route.version
        self._head = head
        self._body = body
        self._context = context
        self._understood: Translation | None = None
        self.foreign = not _served_in(_GEMINI_LIKE, context.served.kinds, self.wanted.providers, self.client)
        """Whether no API of those meant speaks its dialect."""
        if self.foreign:
            self._understand()

    def sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        """Leave the body as it is, put it in an envelope, or translate."""
        if not _speaks_gemini(upstream):
            return self._understand().sent(upstream, lease, model)
        if self._edits is None and upstream.kind in STEADY:
            return again(
                self._head.made, (upstream, model), lease, self._body, lambda: self._sent(upstream, lease, model)
            )
        return self._sent(upstream, lease, model)

    def _sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        body = self._body if self._edits is None else self._edited(self._edits, lease, model)
        headers = to_upstream(self._head.headers)
        query, request_id = without_key(self._head.query), self._context.request_id
        ask = Ask(model, self._stream, self._count, self._version, query, request_id)
        if upstream.dialect is Dialect.GEMINI:
            return written(self._edits, upstream, lease, ask, headers, body)
        wrap = ENVELOPES[upstream.dialect].count if self._count else ENVELOPES[upstream.dialect].request
        target = target_for(model, self._context, project_for(upstream, lease, counting=self._count))
        return written(self._edits, upstream, lease, ask, _uncoded(headers), wrap(body, target))

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Pass on, take the envelope off, or translate back."""
        if not _speaks_gemini(upstream):
            return self._understand().relay(upstream, listed=not self.events)
        request_id = self._context.request_id.encode()
        if upstream.dialect is Dialect.GEMINI:
            return Untouched(head, request_id)
        if not self._stream:
            return Whole(unwrap_answer, request_id)
        return Unwrapped(request_id) if self.events else Listed(request_id)

    @property
    def said(self) -> None:
        """What the body says of model and streaming: nothing, the path does."""

    def manner(self, upstream: Upstream, _model: str) -> Manner | None:
        """Return how every request with this head goes to an upstream and comes back; None where that may differ."""
        if not _plain(self.wanted, self._edits, upstream):
            return None
        if upstream.dialect is Dialect.GEMINI:
            return Manner.UNTOUCHED
        return None if _speaks_gemini(upstream) else Manner.TRANSLATED

    def session(self) -> str | None:
        """Return the conversation it belongs to."""
        return session_of(self._head.headers, self._body)

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return it where it is Google's: in an envelope or not."""
        return unwrap_answer(body) if _speaks_gemini(upstream) else None

    def _understand(self) -> Translation:
        if self._understood is None:
            self._readable()
            request = CLIENTS[self.client].decode_request(self._body, Route(self._asked, self._stream, self._count))
            made = self._head.made
            self._understood = Translation(self.client, request, self._context, self._edits, made, count=self._count)
        return self._understood

    def _edited(self, edits: Edits, lease: Lease, model: str) -> bytes:
        self._readable()
        limits = self._context.served.catalog.limits(model)
        return edits.passed(self.client, self._body, lease.provider, model, limits)

    def _readable(self) -> None:
        if self._head.get(b"content-encoding") not in (None, b"identity"):
            bad_field("content-encoding", "bodies are read as they are; send it uncompressed")


class TalkWork:
    """A request in a dialect that says everything in its body: chat completions, Responses, Anthropic messages. `count` asks for a count of tokens only."""

    def __init__(
        self, client: Dialect, head: RequestHead, body: bytes, context: Context, *, count: bool = False
    ) -> None:
        """Take the request.

        Where an upstream that could serve it speaks its dialect, no more is read of it than its model until it goes to another: the upstream judges the rest.

        Raises:
            BrokerError: `bad_request` naming the field, `not_found` where nothing serves the model.
        """
        self.client = client
        self._count = count
        self._head = head
        self._body = body
        self._context = context
        self._peeked = peek(body)
        name, suffix = split_suffix(self._peeked.model)
        self.asked = name
        self.wanted = context.wanted(name)
        self._edits = edits_of(context.policies, self.wanted, suffix, count=count)
        self.voice = VOICES[client]
        self.events = bool(self._peeked.stream) and not count
        self._understood: Translation | None = None
        self.foreign = not _served_in((client,), context.served.kinds, self.wanted.providers, client)
        """Whether no API of those meant speaks its dialect."""
        if self.foreign:
            self._understand()

    def sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        """Leave the body as it is but for the model's name, or translate."""
        if upstream.dialect is not self.client:
            return self._understand().sent(upstream, lease, model)
        body = self._passed(lease, model)
        if self._edits is None and upstream.kind in STEADY:
            key = (upstream, model, self.events)
            return again(self._head.made, key, lease, body, lambda: self._sent(upstream, lease, model, body))
        return self._sent(upstream, lease, model, body)

    def _sent(self, upstream: Upstream, lease: Lease, model: str, body: bytes) -> Sent:
        query, request_id = without_key(self._head.query), self._context.request_id
        ask = Ask(model, self.events, self._count, query=query, request_id=request_id)
        return written(self._edits, upstream, lease, ask, to_upstream(self._head.headers), body)

    def relay(self, upstream: Upstream, head: ResponseHead) -> Relay:
        """Pass on, or translate back."""
        request_id = self._context.request_id.encode()
        if upstream.dialect is self.client:
            own = self._peeked.model if self.wanted.own else None
            if isinstance(upstream, StreamsOnly) and not self.events:
                return Whole(partial(_folded, upstream, own), request_id)
            passed = (Guarded if self.client is Dialect.RESPONSES else Untouched)(head, request_id)
            readable = head.get(b"content-encoding") in (None, b"identity")
            return Renamed(passed, own) if own is not None and readable and not self._count else passed
        return self._understand().relay(upstream)

    @property
    def said(self) -> Peeked:
        """What the body says of model and streaming."""
        return self._peeked

    def manner(self, upstream: Upstream, model: str) -> Manner | None:
        """Return how every request with this head that says the same goes to an upstream and comes back; None as there."""
        if not _plain(self.wanted, self._edits, upstream):
            return None
        if upstream.dialect is not self.client:
            return Manner.TRANSLATED
        return Manner.UNTOUCHED if model == self._peeked.model else None

    def session(self) -> str | None:
        """Return the conversation it belongs to."""
        return session_of(self._head.headers, self._body)

    def own_error(self, upstream: Upstream, body: bytes) -> bytes | None:
        """Return it where the dialect is the client's own; of OpenAI's, where it is told in its words: some servers have their own."""
        own = upstream.dialect is self.client and (self.voice is not Voice.OPENAI or tells_error(body))
        return body if own else None

    @property
    def request(self) -> Request:
        """The request, understood; raises as the constructor does."""
        return self._understand().request

    def _understand(self) -> Translation:
        if self._understood is None:
            request = CLIENTS[self.client].decode_request(self._body, Route(counting=self._count))
            made = self._head.made
            self._understood = Translation(self.client, request, self._context, self._edits, made, count=self._count)
        return self._understood

    def _passed(self, lease: Lease, model: str) -> bytes:
        body = self._body if model == self._peeked.model else with_model(self._body, model)
        if self._edits is None:
            return body
        limits = self._context.served.catalog.limits(model)
        return self._edits.passed(self.client, body, lease.provider, model, limits)


def _plain(wanted: Wanted, edits: Edits | None, upstream: Upstream) -> bool:
    """Tell whether nothing is written into what passes, and what goes out follows from the head and the lease."""
    return edits is None and not wanted.own and upstream.kind in STEADY


def _folded(upstream: StreamsOnly, name: str | None, body: bytes) -> bytes | Failure:
    out = upstream.whole(body)
    return out if name is None or isinstance(out, Failure) else renamed(out, name)


def _speaks_gemini(upstream: Upstream) -> bool:
    return upstream.dialect in _GEMINI_LIKE


_GEMINI_LIKE: Final = frozenset({Dialect.GEMINI, *ENVELOPES})


def _served_in(
    dialects: Collection[Dialect], kinds: Mapping[str, Kind], providers: tuple[str, ...], client: Dialect
) -> bool:
    """Tell whether the API of one of the providers speaks one of these dialects to a client."""
    for each in providers:  # noqa: SIM110 - the first mostly does, and a generator costs more than asking it
        if upstream_of(kinds[each], client).dialect in dialects:
            return True
    return False


def _uncoded(headers: Headers) -> Headers:
    return [header for header in headers if header[0] != b"content-encoding"]
