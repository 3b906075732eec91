"""What was read in one turn of the event loop, framed and served one kind after the other.

Owns: `Turn`. Under load a turn reads from many connections, and answers and requests come in any order. Taken as they come, each finds the processor's caches
full of the other's code; sorted, a request costs an eighth less. Nothing waits longer than for the reads that are due anyway; while there are streams, each of
whose parts somebody waits for, nothing waits at all. It must never change the order of what one connection read, and it knows nothing of what it holds.
"""

import asyncio
import logging
from typing import Final, Protocol

_log: Final = logging.getLogger(__name__)


class Reader(Protocol):
    """A connection that has read something."""

    def data_received(self, data: bytes) -> None:
        """Take what was read."""
        ...

    def frame(self, data: bytes) -> None:
        """Frame what was read, and serve it."""
        ...

    def abort(self) -> None:
        """Cut the connection."""
        ...


class Turn:
    """What connections have read since the last turn: those to upstreams, whose answers come first, and those of clients."""

    __slots__ = ("_answers", "_loop", "_requests", "held", "streams")

    def __init__(self) -> None:
        """Nothing was read yet; must be made inside a running loop."""
        self._loop = asyncio.get_running_loop()
        self._answers: dict[Reader, bytes] = {}
        self._requests: dict[Reader, bytes] = {}
        self.streams = 0
        """How many answers are streams; their connections count them. While there are any, everything is framed at once."""
        self.held = False
        """Whether anything waits for the end of the turn. A reader that finds nothing held, and streams, may frame by itself what it would bring here."""

    def answer(self, reader: Reader, data: bytes) -> None:
        """Have `reader` frame what it read of an answer before the event loop waits again."""
        self._keep(self._answers, reader, data)

    def request(self, reader: Reader, data: bytes) -> None:
        """The same for what it read of a request."""
        self._keep(self._requests, reader, data)

    def take(self) -> None:
        """Have everything framed that was read, now: for who is about to judge by what has come."""
        self.held = False
        if self._answers:
            answers, self._answers = self._answers, {}
            for reader, data in answers.items():
                _frame(reader, data)
        if self._requests:
            requests, self._requests = self._requests, {}
            for reader, data in requests.items():
                _frame(reader, data)

    def _keep(self, kind: dict[Reader, bytes], reader: Reader, data: bytes) -> None:
        if reader in kind:
            _again(reader, kind.pop(reader), data)
        elif self.streams:
            _frame(reader, data)
        else:
            if not self._answers and not self._requests:
                self._loop.call_soon(self.take)
            self.held = True
            kind[reader] = data


def _again(reader: Reader, earlier: bytes, data: bytes) -> None:
    """Have what came first framed at once: whether the rest is wanted it tells, and there is never more than one read of a connection to be kept."""
    _frame(reader, earlier)
    reader.data_received(data)


def _frame(reader: Reader, data: bytes) -> None:
    try:
        reader.frame(data)
    except Exception:  # noqa: BLE001 - one connection's, as an event loop has it
        _log.exception("what was read could not be taken")
        reader.abort()
