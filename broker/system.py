"""The machine's clocks and randomness: the only module that reads them.

Owns: `SystemClock` and `SystemChance`. tests/architecture/test_purity.py fails on any other module that imports `time`'s clocks,
`random` or `secrets`.
"""

import asyncio
import secrets
import time

from broker.model.clock import Now

# Linux stops CLOCK_MONOTONIC during suspend and has CLOCK_BOOTTIME for what we mean; macOS has no CLOCK_BOOTTIME, and its
# CLOCK_MONOTONIC goes on counting during sleep.
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The real clock (see `broker.model.clock.Clock`)."""

    __slots__ = ()

    def now(self) -> Now:
        """Read both clocks."""
        return Now(wall=time.time(), boot=time.clock_gettime(_BOOT_CLOCK))  # noqa: TID251 - the one place

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop's clock."""
        await asyncio.sleep(seconds)


class SystemChance:
    """Real randomness, from the operating system (see `broker.model.clock.Chance`)."""

    __slots__ = ()

    def unit(self) -> float:
        """Return a number in [0, 1)."""
        return secrets.randbits(53) / (1 << 53)

    def token(self, bytes_: int) -> str:
        """Return `bytes_` random bytes as unpadded base64url text."""
        return secrets.token_urlsafe(bytes_)
