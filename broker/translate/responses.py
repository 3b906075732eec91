"""The OpenAI Responses codec.

Owns: the two halves under one name, as `codecs.ClientCodec`. It must never hold a rule of its own.
"""

from broker.translate import openai_chat_answer, responses_answer, responses_request
from broker.translate.exchange import Reply, Route
from broker.translate.ir import Answer, Failure, Request

_BODY_SAYS_ALL = Route()


class Responses:
    """See `codecs.ClientCodec`. The whole request is in the body; a route is not looked at."""

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
