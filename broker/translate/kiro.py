"""The Kiro codec, for upstreams.

Owns: its halves under one name, as `codecs.UpstreamCodec`. It must never hold a rule of its own.
"""

from broker.model.errors import BrokerError, ErrorCode
from broker.translate import kiro_errors, kiro_upstream_answer, kiro_upstream_request
from broker.translate.blob import written
from broker.translate.exchange import Encoded, Reading, Target
from broker.translate.ir import Event, Failure, Request


class Kiro:
    """See `codecs`."""

    __slots__ = ()

    def encode_request(self, request: Request, target: Target) -> Encoded:
        """Write the body of generateAssistantResponse, without the profile."""
        body, names = kiro_upstream_request.build(request, target)
        return Encoded(written(body), names)

    def decode_answer(self, body: bytes, reading: Reading) -> list[Event]:
        """Read a whole event stream."""
        return kiro_upstream_answer.decode_answer(body, reading)

    def stream_decoder(self, reading: Reading) -> kiro_upstream_answer.KiroReading:
        """Begin reading an event stream."""
        return kiro_upstream_answer.KiroReading(reading)

    def decode_error(self, status: int, body: bytes) -> Failure:
        """Read an error answer."""
        return kiro_errors.decode_error(status, body)

    def encode_count(self, request: Request, target: Target) -> bytes:  # noqa: ARG002 - the protocol's
        """Refuse: no endpoint that counts is known."""
        raise BrokerError(ErrorCode.BAD_REQUEST, "model: its provider has no endpoint that counts tokens")

    def decode_count(self, body: bytes) -> int | None:  # noqa: ARG002 - the protocol's
        """Return None: nothing was counted."""
        return None
