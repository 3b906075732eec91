"""What the program may ask of time and chance.

Owns: the two protocols that `broker.system` implements for real and `tests.fakes.clock` for tests, and `Now`, the pair of
readings a decision is made with. It must never read a clock itself.
"""

from typing import Protocol

import msgspec

__all__ = ["Chance", "Clock", "Now"]


class Now(msgspec.Struct, frozen=True):
    """One reading of both clocks, taken once and passed down.

    `wall` is seconds since the Unix epoch: only for stored expiries and for display, as it can step.
    `boot` is seconds on a clock that counts suspended time and never steps: for intervals and deadlines.
    """

    wall: float
    boot: float


class Clock(Protocol):
    """A source of time."""

    def now(self) -> Now:
        """Read both clocks."""
        ...

    def wall_seconds(self) -> float:
        """Read the wall clock alone, in seconds since the Unix epoch."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; may return late after a suspend, so callers decide anew when it does."""
        ...

    async def nap_until(self, boot: float) -> None:
        """Wait until the boot clock says `boot`, or less: returns early when the wall clock was set. For loops that then decide anew.

        A moment and not a length, so that a suspend between the reading it was computed from and the beginning of the wait makes nothing late.
        """
        ...


class Chance(Protocol):
    """A source of randomness fit for secrets."""

    def unit(self) -> float:
        """Return a number in [0, 1): for jitter."""
        ...

    def token(self, bytes_: int) -> str:
        """Return `bytes_` random bytes as unpadded base64url text: for state, verifiers, ids and nonces."""
        ...
