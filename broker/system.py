"""The machine's clocks and randomness: the only module that reads them.

Owns: `SystemClock` and `SystemChance`, and the kernel timers that end a wait when the machine wakes or its clock is set.
tests/architecture/test_purity.py fails on any other module that imports `time`'s clocks, `random` or `secrets`.

An event loop's own timers stop while a Linux machine sleeps: what was due in 20 s when the lid closed is due 20 s after it
opens. Longer waits therefore stand on timerfd_create(2): CLOCK_BOOTTIME counts suspended time, and a CLOCK_REALTIME timer armed
with TFD_TIMER_CANCEL_ON_SET becomes readable when the wall clock is set. Elsewhere (macOS) waits are the event loop's, and
callers wake often enough to notice.
"""

import asyncio
import ctypes
import os
import random
import secrets
import sys
import time
from collections.abc import Callable

from broker.model.clock import Now

# Linux stops CLOCK_MONOTONIC during suspend and has CLOCK_BOOTTIME for what we mean; macOS has no CLOCK_BOOTTIME, and its
# CLOCK_MONOTONIC goes on counting during sleep.
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_ABSOLUTE, _CANCEL_ON_SET = 1, 2  # timerfd_settime(2): TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET
_FAR_WALL_SECONDS = 4_000_000_000.0  # the year 2096: this timer is there to be cancelled, not to end
# A suspend can make a shorter wait late by its own length at most, and a kernel timer costs six system calls.
_SHORT_SECONDS = 1.0
_ARMING_SECONDS = 0.05  # more than it takes to arm a timer


class SystemClock:
    """The real clock (see `broker.model.clock.Clock`)."""

    __slots__ = ()

    def now(self) -> Now:
        """Read both clocks."""
        return Now(wall=time.time(), boot=time.clock_gettime(_BOOT_CLOCK))  # noqa: TID251 - the one place

    def wall_seconds(self) -> float:
        """Read the wall clock alone."""
        return time.time()  # noqa: TID251 - the one place

    async def sleep(self, seconds: float) -> None:
        """Wait on a timer that counts suspended time, where there is one."""
        timers = [] if seconds < _SHORT_SECONDS else _timers((_BOOT_CLOCK, 0, seconds))
        await (_first(timers) if timers else asyncio.sleep(seconds))

    async def nap_until(self, boot: float) -> None:
        """Wait the same way for a moment of the boot clock, but end early when the wall clock is set."""
        seconds = boot - self.now().boot
        rest = (_BOOT_CLOCK, 0, seconds)
        step = (time.CLOCK_REALTIME, _ABSOLUTE | _CANCEL_ON_SET, _FAR_WALL_SECONDS)
        timers = [] if seconds < _SHORT_SECONDS else _timers(rest, step)
        if timers and self.now().boot + seconds > boot + _ARMING_SECONDS:
            _close(timers)  # a suspend came between the reading and the timer, which would end late by its length
            return
        await (_first(timers) if timers else asyncio.sleep(seconds))


class SystemChance:
    """Real randomness; tokens from the operating system (see `broker.model.clock.Chance`)."""

    __slots__ = ()

    def unit(self) -> float:
        """Return a number in [0, 1). Nobody has to be unable to guess it: one is drawn for each account, and asking the system takes 30 times as long."""
        return random.random()  # noqa: S311 - seeded by the system, anew in each process

    def token(self, bytes_: int) -> str:
        """Return `bytes_` random bytes as unpadded base64url text."""
        return secrets.token_urlsafe(bytes_)


class _TimerSpec(ctypes.Structure):
    """`struct itimerspec` of a 64-bit Linux."""

    _fields_ = (("interval", ctypes.c_long * 2), ("value", ctypes.c_long * 2))


_Maker = Callable[[int, int, float], int]


def _find() -> _Maker | None:
    """Return what makes an armed timer descriptor; None where the system has none."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32:  # 32-bit systems disagree on the size of time_t
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        create, arm = library.timerfd_create, library.timerfd_settime
    except (AttributeError, OSError):
        return None

    def make(clock: int, flags: int, seconds: float) -> int:
        fd = int(create(clock, os.O_NONBLOCK | os.O_CLOEXEC))  # the values of TFD_NONBLOCK and TFD_CLOEXEC
        if fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        whole = int(seconds)
        spec = _TimerSpec((0, 0), (whole, int((seconds - whole) * 1e9)))
        if arm(fd, flags, ctypes.byref(spec), None) != 0:
            error = OSError(ctypes.get_errno(), "timerfd_settime")
            os.close(fd)
            raise error
        return fd

    return make


_make = _find()


def _timers(*wanted: tuple[int, int, float]) -> list[int]:
    """Return the descriptors of all `wanted` timers (clock, flags, seconds); none of them where one cannot be had."""
    made: list[int] = []
    if _make is None:
        return made
    try:
        for clock, flags, seconds in wanted:
            made.append(_make(clock, flags, seconds))
    except OSError:  # no descriptor is left, or a sandbox forbids the call: the event loop's timer still works
        _close(made)
        return []
    return made


async def _first(timers: list[int]) -> None:
    """Wait until one of the descriptors is readable, and close them all."""
    loop = asyncio.get_running_loop()
    fired: asyncio.Future[None] = loop.create_future()

    def fire() -> None:
        if not fired.done():
            fired.set_result(None)

    try:
        for fd in timers:
            loop.add_reader(fd, fire)
        await fired
    finally:
        for fd in timers:
            loop.remove_reader(fd)
        _close(timers)


def _close(timers: list[int]) -> None:
    for fd in timers:
        os.close(fd)
