"""The Gemini codec: generateContent for clients and for upstreams.

Owns: the four halves under one name, as `codecs.ClientCodec` and `codecs.UpstreamCodec`. It must never hold a rule of its own.
"""

from broker.translate import (
    gemini_answer,
    gemini_client_answer,
    gemini_client_request,
    gemini_errors,
    gemini_request,
)
from broker.translate.blob import written
from broker.translate.counting import read_count
from broker.translate.exchange import Encoded, Reading, Reply, Route, Target
from broker.translate.ir import Answer, Event, Failure, Request
from broker.translate.schema_memory import KNOWN

_BODY_SAYS_ALL = Route()


class Gemini:
    """See `codecs`. The model and whether to stream are said in the URL: a client's codec is told by the route."""

    __slots__ = ()

    def decode_request(self, body: bytes, route: Route = _BODY_SAYS_ALL) -> Request:
        """Understand a request."""
        return gemini_client_request.decode(body, route)

    def encode_answer(self, answer: Answer, reply: Reply) -> bytes:
        """Return the `GenerateContentResponse`."""
        return gemini_client_answer.encode_answer(answer, reply)

    def stream_encoder(self, reply: Reply) -> gemini_client_answer.GeminiChunks:
        """Begin a stream of them."""
        return gemini_client_answer.GeminiChunks(reply)

    def encode_request(self, request: Request, target: Target) -> Encoded:
        """Write the body of generateContent or streamGenerateContent."""
        body, names = gemini_request.build(request, target, KNOWN.cleaned)
        return Encoded(written(body), names)

    def decode_answer(self, body: bytes, reading: Reading) -> list[Event]:
        """Read a whole answer."""
        return gemini_answer.decode_answer(body, reading)

    def stream_decoder(self, reading: Reading) -> gemini_answer.GeminiStream:
        """Begin reading server-sent events."""
        return gemini_answer.GeminiStream(reading)

    def decode_error(self, status: int, body: bytes) -> Failure:
        """Read an error answer."""
        return gemini_errors.decode_error(status, body)

    def encode_count(self, request: Request, target: Target) -> bytes:
        """Write the body of countTokens: what a request for an answer would hold."""
        body, _ = gemini_request.build(request, target, KNOWN.cleaned)
        model = "models/" + target.model.removeprefix("models/")
        return written({"generateContentRequest": {"model": model, **body}})

    def decode_count(self, body: bytes) -> int | None:
        """Read totalTokens."""
        return read_count(body)

    def encode_error(self, failure: Failure) -> bytes:
        """Write an error for a Gemini client."""
        return gemini_errors.encode_error(failure)
