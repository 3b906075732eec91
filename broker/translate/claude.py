"""The Anthropic messages codec, for clients and for upstreams.

Owns: the four halves under one name, as `codecs.ClientCodec` and `codecs.UpstreamCodec`. It must never hold a rule of its own.
"""

from broker.translate import (
    claude_answer,
    claude_errors,
    claude_request,
    claude_upstream_answer,
    claude_upstream_request,
)
from broker.translate.blob import written
from broker.translate.counting import read_count
from broker.translate.exchange import Encoded, Reading, Reply, Route, Target
from broker.translate.ir import Answer, Event, Failure, Request

_BODY_SAYS_ALL = Route()


class Claude:
    """See `codecs`. Of a route only whether tokens are counted is looked at."""

    __slots__ = ()

    def decode_request(self, body: bytes, route: Route = _BODY_SAYS_ALL) -> Request:
        """Understand a request."""
        return claude_request.decode(body, counting=route.counting)

    def encode_answer(self, answer: Answer, reply: Reply) -> bytes:
        """Return the `message` object."""
        return claude_answer.encode_answer(answer, reply)

    def stream_encoder(self, reply: Reply) -> claude_answer.ClaudeStream:
        """Begin a stream of message events."""
        return claude_answer.ClaudeStream(reply)

    def encode_error(self, failure: Failure) -> bytes:
        """Return the error object."""
        return claude_answer.encode_error(failure)

    def encode_request(self, request: Request, target: Target) -> Encoded:
        """Write the body of messages."""
        body, names = claude_upstream_request.build(request, target)
        return Encoded(written(body), names)

    def decode_answer(self, body: bytes, reading: Reading) -> list[Event]:
        """Read a whole answer."""
        return claude_upstream_answer.decode_answer(body, reading)

    def stream_decoder(self, reading: Reading) -> claude_upstream_answer.ClaudeReading:
        """Begin reading server-sent events."""
        return claude_upstream_answer.ClaudeReading(reading)

    def decode_error(self, status: int, body: bytes) -> Failure:
        """Read an error answer."""
        return claude_errors.decode_error(status, body)

    def encode_count(self, request: Request, target: Target) -> bytes:
        """Write the body of count_tokens."""
        return written(claude_upstream_request.counted(request, target))

    def decode_count(self, body: bytes) -> int | None:
        """Read input_tokens."""
        return read_count(body)
