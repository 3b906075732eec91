"""A request in a dialect that its upstream does not speak, there and back.

Owns: `Translation`, one request that was understood; whose words are whose `translate` knows. Pure; the answer's bytes are `relays`'.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from broker.ipc.schema import Lease
from broker.proxy.context import Context
from broker.proxy.outgoing import again, written
from broker.proxy.policies import Edits
from broker.proxy.relays import Relay, Translated, TranslatedList, Whole
from broker.proxy.upstreams.base import STEADY, Ask, Sent, StreamsOnly, Upstream
from broker.proxy.upstreams.codeassist import project_of
from broker.translate import claude_answer, gemini_client_answer
from broker.translate.codecs import CLIENTS, UPSTREAMS, Dialect, UpstreamCodec
from broker.translate.envelopes import ENVELOPES
from broker.translate.exchange import Ids, Reading, Reply, Target
from broker.translate.fold import fold
from broker.translate.ir import Event, Failure, FailureKind, Request
from broker.translate.names import ToolNames

_COUNTS: Final = {Dialect.CLAUDE: claude_answer.encode_count, Dialect.GEMINI: gemini_client_answer.encode_count}


class Translation:
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
        """Take what a client of `client` asked; `made` is its head's own, `count` asks for a count of tokens only."""
        self.request = request
        self._made = made
        self._edits = edits
        self._client = client
        self._context = context
        self._count = count
        self._names = ToolNames()

    def sent(self, upstream: Upstream, lease: Lease, model: str) -> Sent:
        """Write the request in the upstream's dialect; raises as `Work.sent`."""
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
            return again(self._made, key, lease, body, lambda: self._asked(upstream, lease, model, streams, body))
        return self._asked(upstream, lease, model, streams, body)

    def _asked(self, upstream: Upstream, lease: Lease, model: str, streams: bool, body: bytes) -> Sent:
        ask = Ask(model, streams, self._count, request_id=self._context.request_id)
        return written(self._edits, upstream, lease, ask, [], body)

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


def project_for(upstream: Upstream, lease: Lease, *, counting: bool) -> str | None:
    """Return the project a request is made in: Code Assist must have one, Antigravity takes one."""
    if counting or upstream.dialect not in ENVELOPES:
        return None
    return project_of(lease) if upstream.dialect is Dialect.CODE_ASSIST else lease.facts.get("project_id") or None


def target_for(model: str, context: Context, project: str | None) -> Target:
    """Return where a translated request goes."""
    limits = context.served.catalog.limits(model)
    return Target(model, context.signatures, project, context.request_id, context.safety_off, limits)


def _counted(dialect: Dialect, client: Dialect, body: bytes) -> bytes | Failure:
    tokens = UPSTREAMS[dialect].decode_count(body)
    if tokens is None:
        return Failure(
            502, FailureKind.SERVER, "the upstream's answer tells no number of tokens", code="bad_upstream_answer"
        )
    return _COUNTS[client](tokens)


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
