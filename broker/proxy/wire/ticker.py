"""One timer for all deadlines of a worker.

Owns: the sweep. Connections note when something last happened by `Ticker.now`, which moves once per sweep, so that a chunk costs no clock call and a
thousand idle streams cost two wake-ups a second in all. With no members there is no timer.
It decides nothing: a member's `tick` does.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from broker.proxy.wire.turn import Turn


class Ticking(Protocol):
    """Something with deadlines."""

    def tick(self, now: float) -> None:
        """Look at the deadlines; `now` is seconds on the event loop's clock."""
        ...


class Ticker:
    """Calls every member's `tick` each `interval` seconds.

    A deadline noted by `now` fires at most one interval late, and at most one early.
    """

    def __init__(
        self, interval: float = 0.5, moved: Callable[[], None] = lambda: None, turn: Turn | None = None
    ) -> None:
        """Start with no members; must be made inside a running loop.

        `moved` is called whenever `now` moves: also before the first member after a rest. What `turn` holds is framed before deadlines are judged.
        """
        self._loop = asyncio.get_running_loop()
        self.interval = interval
        self._moved = moved
        self._turn = turn
        self._members: dict[Ticking, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.now = self._loop.time()
        self.time = self._loop.time
        """Reads the event loop's clock, for what must be exact."""

    def add(self, member: Ticking) -> None:
        """Watch over `member`."""
        self._members[member] = None
        if self._timer is None:
            self.now = self._loop.time()
            self._moved()
            self._timer = self._loop.call_later(self.interval, self._sweep)

    def discard(self, member: Ticking) -> None:
        """Stop watching over `member`."""
        self._members.pop(member, None)

    def close(self) -> None:
        """Stop for good."""
        self._members.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        if self._turn is not None:
            self._turn.take()
        self.now = now = self._loop.time()
        self._moved()
        for member in list(self._members):
            member.tick(now)
        if self._members:
            self._timer = self._loop.call_later(self.interval, self._sweep)
