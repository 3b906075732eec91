"""What is kept of a body while it passes.

Owns: the bound. The beginning and the end are kept, what lies between is counted. Pure. It must never hold more than one and a half times what it was allowed.
"""

from typing import Final, final

import msgspec

EMPTY: Final = b""


class Captured(msgspec.Struct, frozen=True):
    """A body, or its two ends: `left` bytes between `head` and `tail` were not kept."""

    head: bytes
    tail: bytes = EMPTY
    left: int = 0

    @property
    def size(self) -> int:
        """Bytes that were kept."""
        return len(self.head) + len(self.tail)

    @property
    def total(self) -> int:
        """Bytes that passed."""
        return self.size + self.left


def ends_of(data: bytes, limit: int) -> Captured:
    """Keep a body that is here as a whole; one within the limit is not copied."""
    if len(data) <= limit:
        return Captured(data)
    half = limit // 2
    return Captured(data[: limit - half], data[len(data) - half :], len(data) - limit)


@final
class Capture:
    """Keeps a body that comes in parts."""

    __slots__ = ("_half", "_head", "_left", "_limit", "_tail")

    def __init__(self, limit: int) -> None:
        """Keep `limit` bytes at most."""
        self._limit = limit
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Take the next part."""
        room = self._limit - self._half - len(self._head)
        if room >= len(data):
            self._head += data
            return
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        spare = len(data) - self._half
        if spare > 0:
            self._left += spare
            data = data[spare:]
        self._tail += data
        if len(self._tail) > 2 * self._half:
            self._shorten()

    def captured(self) -> Captured:
        """Return what was kept so far."""
        self._shorten()
        return Captured(bytes(self._head), bytes(self._tail), self._left)

    def _shorten(self) -> None:
        spare = len(self._tail) - self._half
        if spare > 0:
            self._left += spare
            del self._tail[:spare]
