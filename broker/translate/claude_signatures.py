"""Signatures of other vendors inside Anthropic's thinking blocks.

Owns: marking a signature as not Anthropic's own, and telling it when the client sends it back. A client returns thinking blocks as they came, which
makes them the one place where a signature survives a restart of this program.

A mark is needed because signatures are opaque: one of Anthropic's sent to Google, or the other way round, is refused. A tool call has no field for one:
its signature travels in a thinking block before it, which may be empty.
"""

from typing import Final

_OWN: Final = "ccsb."
_NEXT: Final = "ccsb+"


def of_thinking(signature: str) -> str:
    """Return what stands in a thinking block for its own signature."""
    return _OWN + signature


def of_next_call(signature: str) -> str:
    """Return what stands in a thinking block for the signature of the call after it."""
    return _NEXT + signature


def read(text: str | None) -> tuple[str | None, str | None]:
    """Return the block's own signature and that of the next call; neither where the mark is not ours."""
    if text is not None and text.startswith(_OWN):
        return text[len(_OWN) :], None
    if text is not None and text.startswith(_NEXT):
        return None, text[len(_NEXT) :]
    return None, None
