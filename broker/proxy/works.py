"""What is asked of an upstream for each kind of request, and how its answer comes back.

Owns: the meeting of a client's dialect with an upstream's: untouched where they are the same, wrapped for Code Assist, translated where they differ.
Pure; `job` sends, `relays` turns the bytes.
"""

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from functools import partial
from typing import Final, Protocol

import msgspec

from broker.ipc.schema import Lease
from broker.model.naming import Names
from broker.proxy.asking import Meanings, Place, wanted_at
from broker.proxy.headers import Headers, to_upstream
from broker.proxy.naming import Served, Wanted
from broker.proxy.policies import Edits, Policies, edits_of
from broker.proxy.relays import Guarded, Listed, Relay, Renamed, Translated, TranslatedList, Untouched, Unwrapped, Whole
from broker.proxy.routes import CountTokens, Generate, Voice, without_key
from broker.proxy.session import session_of
from broker.proxy.upstreams.base import STEADY, Ask, Kind, Offer, Sent, StreamsOnly, Upstream
from broker.proxy.upstreams.codeassist import project_of
from broker.proxy.upstreams.table import upstream_of
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.translate import claude_answer, gemini_client_answer
from broker.translate.codeassist import unwrap_answer
from broker.translate.codecs import CLIENTS, UPSTREAMS, Dialect, UpstreamCodec
from broker.translate.effort import split_suffix
from broker.translate.envelopes import ENVELOPES
from broker.translate.exchange import Ids, Reading, Reply, Route, Target
from broker.translate.fields import bad_field
from broker.translate.fold import fold
from broker.translate.ir import Event, Failure, FailureKind, Request
from broker.translate.names import ToolNames
from broker.translate.openai_errors import tells_error
from broker.translate.passage import Peeked, peek, with_model
from broker.translate.renaming import renamed
from broker.translate.signatures import SignatureMemory

VOICES: Final = {Dialect.OPENAI_CHAT: Voice.OPENAI, Dialect.RESPONSES: Voice.OPENAI, Dialect.CLAUDE: Voice.ANTHROPIC}
"""In which shape the clients of a dialect are told errors."""


_COUNTS: Final = {Dialect.CLAUDE: claude_answer.encode_count, Dialect.GEMINI: gemini_client_answer.encode_count}


class Context(msgspec.Struct, frozen=True):
    """What a work needs besides the request: its id, the time in seconds since the epoch, and what the worker shares.

    `turn` counts the uses of a name; `provider` is the one its path names, if any; `policies` what the config changes of requests, None for nothing.
    `meanings` are those of names that are known already; good for the same `names` and `served` only.
    """

    request_id: str
    created: int
    signatures: SignatureMemory
    safety_off: bool
    served: Served
    names: Names
    turn: Callable[[str], int]
    provider: str | None = None
    policies: Policies | None = None
    meanings: Meanings | None = None

    def wanted(self, name: str, offer: Offer = Offer.TALK) -> Wanted:
        """Return what a model's name means; raises as `asking.wanted_at`."""
        if self.meanings is None:
            return wanted_at(Place(offer, self.provider), name, self.names, self.served, self.turn)
        known = self.meanings.known(name, offer, self.provider)
        return known or self.meanings.of(Place(offer, self.provider), name, self.names, self.served, self.turn)


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
        self._understood: _Translation | None = None
        self.foreign = not _served_in(_GEMINI_LIKE, context.served.kinds, self.wanted.providers, self.client)
        """Whether no API of those meant speaks its dialect."""
        if self.foreign:
            self._understand()

    def sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        """Leave the body as it is, put it in an envelope, or translate."""
        if not _speaks_gemini(upstream):
            return self._understand().sent(upstream, lease, model)
        if self._edits is None and upstream.kind in STEADY:
            return _again(
                self._head.made, (upstream, model), lease, self._body, lambda: self._sent(upstream, lease, model)
            )
        return self._sent(upstream, lease, model)

    def _sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        body = self._body if self._edits is None else self._edited(self._edits, lease, model)
        headers = to_upstream(self._head.headers)
        query, request_id = without_key(self._head.query), self._context.request_id
        ask = Ask(model, self._stream, self._count, self._version, query, request_id)
        if upstream.dialect is Dialect.GEMINI:
            return _sent(self._edits, upstream, lease, ask, headers, body)
        wrap = ENVELOPES[upstream.dialect].count if self._count else ENVELOPES[upstream.dialect].request
        target = target_for(model, self._context, project_for(upstream, lease, counting=self._count))
        return _sent(self._edits, upstream, lease, ask, _uncoded(headers), wrap(body, target))

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

    def _understand(self) -> "_Translation":
        if self._understood is None:
            self._readable()
            request = CLIENTS[self.client].decode_request(self._body, Route(self._asked, self._stream, self._count))
            made = self._head.made
            self._understood = _Translation(self.client, request, self._context, self._edits, made, count=self._count)
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
        self._understood: _Translation | None = None
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
            return _again(self._head.made, key, lease, body, lambda: self._sent(upstream, lease, model, body))
        return self._sent(upstream, lease, model, body)

    def _sent(self, upstream: Upstream, lease: Lease, model: str, body: bytes) -> Sent:
        query, request_id = without_key(self._head.query), self._context.request_id
        ask = Ask(model, self.events, self._count, query=query, request_id=request_id)
        return _sent(self._edits, upstream, lease, ask, to_upstream(self._head.headers), body)

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

    def _understand(self) -> "_Translation":
        if self._understood is None:
            request = CLIENTS[self.client].decode_request(self._body, Route(counting=self._count))
            made = self._head.made
            self._understood = _Translation(self.client, request, self._context, self._edits, made, count=self._count)
        return self._understood

    def _passed(self, lease: Lease, model: str) -> bytes:
        body = self._body if model == self._peeked.model else with_model(self._body, model)
        if self._edits is None:
            return body
        limits = self._context.served.catalog.limits(model)
        return self._edits.passed(self.client, body, lease.provider, model, limits)


class _Translation:
    """A request that was understood, on its way to upstreams of other dialects, and their answers on the way back."""

    def __init__(
        self,
        client: Dialect,
        request: Request,
        context: Context,
        edits: Edits | None,
        made: dict[object, object],
        *,
        count: bool,
    ) -> None:
        self.request = request
        self._made = made
        self._edits = edits
        self._client = client
        self._context = context
        self._count = count
        self._names = ToolNames()

    def sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        target = target_for(model, self._context, project_for(upstream, lease, counting=self._count))
        codec, request = UPSTREAMS[upstream.dialect], self.request
        if self._edits is not None:
            request = self._edits.understood(request, lease.provider, model)
        if self._count:
            body = codec.encode_count(request, target)
        else:
            encoded = codec.encode_request(request, target)
            self._names, body = encoded.names, encoded.body
        streams = request.stream and not self._count
        if self._edits is None and upstream.kind in STEADY:
            key = (upstream, model, streams, self._count)
            return _again(self._made, key, lease, body, lambda: self._asked(upstream, lease, model, streams, body))
        return self._asked(upstream, lease, model, streams, body)

    def _asked(self, upstream: Upstream, lease: Lease, model: str, streams: bool, body: bytes) -> Sent:
        ask = Ask(model, streams, self._count, request_id=self._context.request_id)
        return _sent(self._edits, upstream, lease, ask, [], body)

    def relay(self, upstream: Upstream, *, listed: bool = False) -> Relay:
        """Begin to translate an answer; `listed` for a stream that shall be a JSON array."""
        request_id = self._context.request_id.encode()
        if self._count:
            return Whole(partial(_counted, upstream.dialect, self._client), request_id)
        ids = Ids(self._context.request_id, self._context.created)
        codec, client = UPSTREAMS[upstream.dialect], CLIENTS[self._client]
        reading = Reading(ids, self._names, self._context.signatures)
        reply = self._reply(ids, listed=listed)
        if self.request.stream:
            relay = TranslatedList if listed else Translated
            return relay(codec.stream_decoder(reading), client.stream_encoder(reply), request_id)
        read = _streamed if isinstance(upstream, StreamsOnly) else _decoded
        return Whole(partial(_translated, partial(read, codec, reading), self._client, reply), request_id)

    def _reply(self, ids: Ids, *, listed: bool) -> Reply:
        request = self.request
        extras = dict(request.extras.get(self._client.value, {}))
        if listed:
            extras[gemini_client_answer.LISTED] = True
        return Reply(ids, request.asked_model, request.include_usage, self._shows_thinking(), extras)

    def _shows_thinking(self) -> bool:
        # Anthropic's and Google's clients get thoughts only where they asked for them; OpenAI's ignore what they don't know.
        if self._client not in (Dialect.CLAUDE, Dialect.GEMINI):
            return True
        return self.request.reasoning is not None and bool(self.request.reasoning.visible)


def _again(made: dict[object, object], key: object, lease: Lease, body: bytes, make: Callable[[], Sent]) -> Sent:
    """Return what `make` does, or what it did for the last request with this head and lease: but for the body it is the same."""
    known = made.get(_Made)
    if isinstance(known, _Made) and known.lease is lease and known.key == key:
        return Sent(known.sent.target, known.sent.headers, body)
    sent = make()
    made[_Made] = _Made(key, lease, msgspec.structs.replace(sent, body=b""))
    return sent


class _Made(msgspec.Struct, frozen=True):
    key: object
    lease: Lease
    sent: Sent


def _plain(wanted: Wanted, edits: Edits | None, upstream: Upstream) -> bool:
    """Tell whether nothing is written into what passes, and what goes out follows from the head and the lease."""
    return edits is None and not wanted.own and upstream.kind in STEADY


def _sent(edits: Edits | None, upstream: Upstream, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
    sent = upstream.request(lease, ask, headers, body)
    return sent if edits is None else edits.sent(sent, upstream, lease.provider, ask.model)


def _folded(upstream: StreamsOnly, name: str | None, body: bytes) -> bytes | Failure:
    out = upstream.whole(body)
    return out if name is None or isinstance(out, Failure) else renamed(out, name)


def _counted(dialect: Dialect, client: Dialect, body: bytes) -> bytes | Failure:
    tokens = UPSTREAMS[dialect].decode_count(body)
    if tokens is None:
        return Failure(
            502, FailureKind.SERVER, "the upstream's answer tells no number of tokens", code="bad_upstream_answer"
        )
    return _COUNTS[client](tokens)


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


def _decoded(codec: UpstreamCodec, reading: Reading, body: bytes) -> list[Event]:
    return codec.decode_answer(body, reading)


def _streamed(codec: UpstreamCodec, reading: Reading, body: bytes) -> list[Event]:
    decoder = codec.stream_decoder(reading)
    return [*decoder.feed(body), *decoder.close()]


def _translated(read: Callable[[bytes], list[Event]], client: Dialect, reply: Reply, body: bytes) -> bytes | Failure:
    answer = fold(read(body))
    if answer.failure is not None:
        return answer.failure
    return CLIENTS[client].encode_answer(answer, reply)


def project_for(upstream: Upstream, lease: Lease, *, counting: bool) -> str | None:
    """Return the project a request is made in: Code Assist must have one, Antigravity takes one."""
    if counting or upstream.dialect not in ENVELOPES:
        return None
    return project_of(lease) if upstream.dialect is Dialect.CODE_ASSIST else lease.facts.get("project_id") or None


def target_for(model: str, context: Context, project: str | None) -> Target:
    """Return where a translated request goes."""
    limits = context.served.catalog.limits(model)
    return Target(model, context.signatures, project, context.request_id, context.safety_off, limits)


def _uncoded(headers: Headers) -> Headers:
    return [header for header in headers if header[0] != b"content-encoding"]
