"""The envelopes a Gemini client's own bytes can be put in.

Owns: the table. It must never hold a rule of some envelope.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import msgspec

from broker.translate import antigravity, codeassist
from broker.translate.codecs import Dialect
from broker.translate.exchange import Target


class Wrap(Protocol):
    """Puts a body into an envelope."""

    def __call__(self, body: bytes, target: Target) -> bytes:
        """Raises BrokerError `bad_request` for what cannot be wrapped."""
        ...


class Envelope(msgspec.Struct, frozen=True):
    """How requests for an answer and for a count of tokens are wrapped; answers are unwrapped alike (`codeassist.unwrap_answer`)."""

    request: Wrap
    count: Wrap


ENVELOPES: Mapping[Dialect, Envelope] = MappingProxyType(
    {
        Dialect.CODE_ASSIST: Envelope(codeassist.wrap_request, codeassist.wrap_count_tokens),
        Dialect.ANTIGRAVITY: Envelope(antigravity.wrap_request, antigravity.wrap_count_tokens),
    }
)
"""Dialects that are Gemini's in an envelope."""
