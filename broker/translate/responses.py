"""The OpenAI Responses codec, for clients and for upstreams.

Owns: the four halves under one name, as `codecs.ClientCodec` and `codecs.UpstreamCodec`. It must never hold a rule of its own.
"""

from broker.model.errors import BrokerError, ErrorCode
from broker.translate import (
    openai_chat_answer,
    openai_errors,
    responses_answer,
    responses_request,
    responses_upstream_answer,
    responses_upstream_request,
)
from broker.translate.blob import written
from broker.translate.exchange import Encoded, Reading, Reply, Route, Target
from broker.translate.ir import Answer, Event, Failure, Request

_BODY_SAYS_ALL = Route()


class Responses:
    """See `codecs`. The whole request is in the body; a route is not looked at."""

    __slots__ = ()

    def decode_request(self, body: bytes, route: Route = _BODY_SAYS_ALL) -> Request:  # noqa: ARG002 - the protocol's
        """Understand a request."""
        return responses_request.decode(body)

    def encode_answer(self, answer: Answer, reply: Reply) -> bytes:
        """Return the `response` object."""
        return responses_answer.encode_answer(answer, reply)

    def stream_encoder(self, reply: Reply) -> responses_answer.ResponsesStream:
        """Begin a stream of response events."""
        return responses_answer.ResponsesStream(reply)

    def encode_error(self, failure: Failure) -> bytes:
        """Return the error object, which is that of chat completions."""
        return openai_chat_answer.encode_error(failure)

    def encode_request(self, request: Request, target: Target) -> Encoded:
        """Write the body of a request."""
        body, names = responses_upstream_request.build(request, target)
        return Encoded(written(body), names)

    def decode_answer(self, body: bytes, reading: Reading) -> list[Event]:
        """Read a `response` object."""
        return responses_upstream_answer.decode_answer(body, reading)

    def stream_decoder(self, reading: Reading) -> responses_upstream_answer.ResponsesReading:
        """Begin reading response events."""
        return responses_upstream_answer.ResponsesReading(reading)

    def decode_error(self, status: int, body: bytes) -> Failure:
        """Read an error answer."""
        return openai_errors.decode_error(status, body)

    def encode_count(self, request: Request, target: Target) -> bytes:  # noqa: ARG002 - the protocol's
        """Refuse: no server of this dialect here has an endpoint that counts."""
        raise BrokerError(ErrorCode.BAD_REQUEST, "model: its provider has no endpoint that counts tokens")

    def decode_count(self, body: bytes) -> int | None:  # noqa: ARG002 - the protocol's
        """Return None: nothing was counted."""
        return None
