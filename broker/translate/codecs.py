"""The table of codecs: which dialects clients may speak, which upstreams may be spoken to.

Owns: the protocol of each role; the values passed to it are in `exchange`. n formats need n codecs: a client codec and an upstream codec meet only in
`ir`. It must never hold a rule of some format.

How the proxy uses it, for two different dialects:

    client, upstream = CLIENTS[Dialect.OPENAI_CHAT], UPSTREAMS[Dialect.CODE_ASSIST]
    request = client.decode_request(body)                              # BrokerError(bad_request) names the field
    sent = upstream.encode_request(request, Target(model, project=..., signatures=memory))
    reading = Reading(ids, sent.names, memory)
    reply = Reply(ids, request.asked_model, request.include_usage)
    # whole:     out = client.encode_answer(fold.fold(upstream.decode_answer(answer_body, reading)), reply)   (look at .failure first)
    # streamed:  reader, writer = upstream.stream_decoder(reading), client.stream_encoder(reply)
    #            out = writer.encode(reader.feed(chunk)) ...; at the end writer.encode(reader.close()) + writer.close()
    # failed:    failure = upstream.decode_error(status, body); out = ERRORS[dialect].encode_error(failure)
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from broker.translate.antigravity import Antigravity
from broker.translate.claude import Claude
from broker.translate.codeassist import CodeAssist
from broker.translate.exchange import Encoded, Reading, Reply, Route, Target
from broker.translate.gemini import Gemini
from broker.translate.ir import Answer, Event, Failure, Request
from broker.translate.kiro import Kiro
from broker.translate.openai_chat import OpenAIChat
from broker.translate.responses import Responses


class Dialect(StrEnum):
    """The formats by name."""

    OPENAI_CHAT = "openai-chat"
    CLAUDE = "claude"
    RESPONSES = "openai-responses"
    GEMINI = "gemini"
    CODE_ASSIST = "code-assist"
    ANTIGRAVITY = "antigravity"
    KIRO = "kiro"


class StreamDecoder(Protocol):
    """Upstream bytes to events. Never raises on what the bytes hold: a fault of theirs is a `Failed` event, after which nothing follows."""

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes cut anywhere; return the events they complete, in order."""
        ...

    def close(self) -> list[Event]:
        """The upstream ended: return the closing events, `Failed` if the answer was cut short."""
        ...


class StreamEncoder(Protocol):
    """Events to the client's bytes."""

    def encode(self, events: Iterable[Event]) -> bytes:
        """Return the bytes for these events, maybe none. `Failed` becomes the dialect's terminal error event."""
        ...

    def close(self) -> bytes:
        """Return the dialect's end of stream; nothing after a failure."""
        ...


class ErrorCodec(Protocol):
    """A client dialect's way to say that something failed."""

    def encode_error(self, failure: Failure) -> bytes:
        """Return a JSON body; the HTTP status is `failure.status`."""
        ...


class ClientCodec(ErrorCodec, Protocol):
    """A dialect clients speak."""

    def decode_request(self, body: bytes, route: Route = ...) -> Request:
        """Understand a request.

        Raises:
            BrokerError: `bad_request`; the detail begins with the path of the field, like `messages[0].role: ...`.
        """
        ...

    def encode_answer(self, answer: Answer, reply: Reply) -> bytes:
        """Return a whole answer's JSON body. `answer.failure` must be None."""
        ...

    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        """Begin a streamed answer (server-sent events)."""
        ...


class UpstreamCodec(Protocol):
    """A dialect upstreams speak."""

    def encode_request(self, request: Request, target: Target) -> Encoded:
        """Write a request.

        Raises:
            BrokerError: `bad_request` where the request asks for what this upstream cannot be asked.
        """
        ...

    def decode_answer(self, body: bytes, reading: Reading) -> list[Event]:
        """Read a whole answer. Never raises: a body that is no answer gives one `Failed`."""
        ...

    def stream_decoder(self, reading: Reading) -> StreamDecoder:
        """Begin reading a streamed answer."""
        ...

    def decode_error(self, status: int, body: bytes) -> Failure:
        """Read an error answer, JSON or not. Never raises."""
        ...

    def encode_count(self, request: Request, target: Target) -> bytes:
        """Write the request that counts tokens without making an answer; raises as `encode_request`."""
        ...

    def decode_count(self, body: bytes) -> int | None:
        """Read the count; None where there is none in it."""
        ...


CLIENTS: Mapping[Dialect, ClientCodec] = MappingProxyType(
    {
        Dialect.OPENAI_CHAT: OpenAIChat(),
        Dialect.RESPONSES: Responses(),
        Dialect.CLAUDE: Claude(),
        Dialect.GEMINI: Gemini(),
    }
)
"""Dialects that can be translated from."""

UPSTREAMS: Mapping[Dialect, UpstreamCodec] = MappingProxyType(
    {
        Dialect.GEMINI: Gemini(),
        Dialect.CODE_ASSIST: CodeAssist(),
        Dialect.ANTIGRAVITY: Antigravity(),
        Dialect.CLAUDE: Claude(),
        Dialect.OPENAI_CHAT: OpenAIChat(),
        Dialect.RESPONSES: Responses(),
        Dialect.KIRO: Kiro(),
    }
)
"""Dialects that can be translated to."""

ERRORS: Mapping[Dialect, ErrorCodec] = MappingProxyType(
    {
        Dialect.OPENAI_CHAT: OpenAIChat(),
        Dialect.RESPONSES: Responses(),
        Dialect.CLAUDE: Claude(),
        Dialect.GEMINI: Gemini(),
    }
)
"""Dialects an error can be told in."""
