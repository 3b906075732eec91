"""The answers of endpoints that count tokens.

Owns: finding the number. It must never know which endpoint of which vendor it was.
"""

from typing import Final

import msgspec


class _Count(msgspec.Struct):
    total: int | None = msgspec.field(name="totalTokens", default=None)
    prompt: int | None = msgspec.field(name="input_tokens", default=None)


_COUNT: Final = msgspec.json.Decoder(_Count)


def read_count(body: bytes) -> int | None:
    """Return the number of tokens an answer tells, Google's way or Anthropic's; None where it tells none."""
    try:
        told = _COUNT.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return told.prompt if told.total is None else told.total
