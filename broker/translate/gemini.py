"""The Gemini codec: generateContent as an upstream, and errors for Gemini clients.

Owns: the halves under one name, as `codecs.UpstreamCodec` and `codecs.ErrorCodec`. It must never hold a rule of its own.
"""

import msgspec

from broker.translate import gemini_answer, gemini_errors, gemini_request
from broker.translate.counting import read_count
from broker.translate.exchange import Encoded, Reading, Target
from broker.translate.ir import Event, Failure, Request


class Gemini:
    """See `codecs.UpstreamCodec`. The model and whether to stream are said in the URL, which is not a codec's."""

    __slots__ = ()

    def encode_request(self, request: Request, target: Target) -> Encoded:
        """Write the body of generateContent or streamGenerateContent."""
        body, names = gemini_request.build(request, target)
        return Encoded(msgspec.json.encode(body), names)

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
        body, _ = gemini_request.build(request, target)
        model = "models/" + target.model.removeprefix("models/")
        return msgspec.json.encode({"generateContentRequest": {"model": model, **body}})

    def decode_count(self, body: bytes) -> int | None:
        """Read totalTokens."""
        return read_count(body)

    def encode_error(self, failure: Failure) -> bytes:
        """Write an error for a Gemini client."""
        return gemini_errors.encode_error(failure)
