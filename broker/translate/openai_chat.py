"""The OpenAI chat completions codec, for clients and for upstreams.

Owns: the four halves under one name, as `codecs.ClientCodec` and `codecs.UpstreamCodec`. It must never hold a rule of its own.
"""

from broker.model.errors import BrokerError, ErrorCode
from broker.translate import (
    openai_chat_answer,
    openai_chat_request,
    openai_errors,
    openai_upstream_answer,
    openai_upstream_request,
)
from broker.translate.blob import written
from broker.translate.exchange import Encoded, Reading, Reply, Route, Target
from broker.translate.ir import Answer, Event, Failure, Request

_BODY_SAYS_ALL = Route()


class OpenAIChat:
    """See `codecs`. The whole request is in the body; a route is not looked at."""

    __slots__ = ()

    def decode_request(self, body: bytes, route: Route = _BODY_SAYS_ALL) -> Request:  # noqa: ARG002 - the protocol's
        """Understand a request."""
        return openai_chat_request.decode(body)

    def encode_answer(self, answer: Answer, reply: Reply) -> bytes:
        """Return the `chat.completion` object."""
        return openai_chat_answer.encode_answer(answer, reply)

    def stream_encoder(self, reply: Reply) -> openai_chat_answer.ChatStream:
        """Begin a stream of `chat.completion.chunk` objects."""
        return openai_chat_answer.ChatStream(reply)

    def encode_error(self, failure: Failure) -> bytes:
        """Return the error object."""
        return openai_chat_answer.encode_error(failure)

    def encode_request(self, request: Request, target: Target) -> Encoded:
        """Write the body of chat completions."""
        body, names = openai_upstream_request.build(request, target)
        return Encoded(written(body), names)

    def decode_answer(self, body: bytes, reading: Reading) -> list[Event]:
        """Read a whole answer."""
        return openai_upstream_answer.decode_answer(body, reading)

    def stream_decoder(self, reading: Reading) -> openai_upstream_answer.ChatReading:
        """Begin reading server-sent events."""
        return openai_upstream_answer.ChatReading(reading)

    def decode_error(self, status: int, body: bytes) -> Failure:
        """Read an error answer."""
        return openai_errors.decode_error(status, body)

    def encode_count(self, request: Request, target: Target) -> bytes:  # noqa: ARG002 - the protocol's
        """Refuse: the dialect has no endpoint that counts."""
        raise BrokerError(ErrorCode.BAD_REQUEST, "model: its provider has no endpoint that counts tokens")

    def decode_count(self, body: bytes) -> int | None:  # noqa: ARG002 - the protocol's
        """Return None: nothing was counted."""
        return None
