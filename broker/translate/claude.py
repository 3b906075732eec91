"""The Anthropic messages codec.

Owns: the two halves under one name, as `codecs.ClientCodec`. It must never hold a rule of its own.
"""

from broker.translate import claude_answer, claude_request
from broker.translate.exchange import Reply, Route
from broker.translate.ir import Answer, Failure, Request

_BODY_SAYS_ALL = Route()


class Claude:
    """See `codecs.ClientCodec`. The whole request is in the body; a route is not looked at."""

    __slots__ = ()

    def decode_request(self, body: bytes, route: Route = _BODY_SAYS_ALL) -> Request:  # noqa: ARG002 - the protocol's
        """Understand a request."""
        return claude_request.decode(body)

    def encode_answer(self, answer: Answer, reply: Reply) -> bytes:
        """Return the `message` object."""
        return claude_answer.encode_answer(answer, reply)

    def stream_encoder(self, reply: Reply) -> claude_answer.ClaudeStream:
        """Begin a stream of message events."""
        return claude_answer.ClaudeStream(reply)

    def encode_error(self, failure: Failure) -> bytes:
        """Return the error object."""
        return claude_answer.encode_error(failure)
