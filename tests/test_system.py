import asyncio
import contextlib
import ctypes
import os
import resource
import struct
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from broker import system
from broker.observe.tasks import spawn
from broker.system import SystemChance, SystemClock


def test_clocks_go_forward() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert second.boot >= first.boot
    assert first.wall > 1_700_000_000


async def test_sleep_lets_others_run() -> None:
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    await SystemClock().sleep(0)
    await asyncio.wait_for(ran.wait(), 5)


def test_chance_stays_in_its_range_and_does_not_repeat() -> None:
    chance = SystemChance()
    assert all(0 <= chance.unit() < 1 for _ in range(1000))
    tokens = {chance.token(32) for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 43 and "=" not in token for token in tokens)


# -- waits that outlast a suspend

BOOT, WALL = 7, 0  # clock ids of CLOCK_BOOTTIME and CLOCK_REALTIME in fdinfo

linux = pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")


def timers() -> list[dict[str, str]]:
    """What the kernel tells of this process's timer descriptors."""
    found = []
    for info in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
            if "clockid" in lines:
                found.append({name.strip(): value.strip() for name, value in lines.items()})
    return found


async def under_way(wait: Coroutine[object, object, None]) -> "asyncio.Task[None]":
    task = spawn(wait, name="wait")
    await asyncio.sleep(0.01)
    return task


async def cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


def set_clock(seconds: int, microseconds: int) -> None:
    """Shift the wall clock (adjtimex(2), ADJ_SETOFFSET); the fields stand at these offsets on every 64-bit Linux."""
    library = ctypes.CDLL(None, use_errno=True)
    change = ctypes.create_string_buffer(512)
    struct.pack_into("I", change, 0, 0x0100)
    struct.pack_into("qq", change, 72, seconds, microseconds)
    if library.adjtimex(change) < 0:
        pytest.skip(f"adjtimex: {os.strerror(ctypes.get_errno())}: setting the clock takes CAP_SYS_TIME")


async def napping(seconds: float) -> None:
    clock = SystemClock()
    await clock.nap_until(clock.now().boot + seconds)


@linux
async def test_a_sleep_stands_on_the_clock_that_counts_suspended_time() -> None:
    task = await under_way(SystemClock().sleep(20))
    (timer,) = timers()
    assert int(timer["clockid"]) == BOOT
    assert 18 < int(timer["it_value"].strip("()").split(",")[0]) <= 20
    await cancelled(task)
    assert timers() == []


@linux
async def test_a_nap_also_stands_on_a_timer_that_is_cancelled_when_the_clock_is_set() -> None:
    task = await under_way(napping(20))
    flags = {int(timer["clockid"]): int(timer["settime flags"], 8) for timer in timers()}
    assert flags == {BOOT: 0, WALL: 0o3}
    await cancelled(task)
    assert timers() == []


@linux
async def test_setting_the_clock_by_a_microsecond_ends_a_nap_and_no_sleep() -> None:
    clock = SystemClock()
    nap, sleep = await under_way(napping(20)), await under_way(clock.sleep(20))
    try:
        set_clock(0, 1)
        set_clock(-1, 999_999)
        await asyncio.wait_for(asyncio.shield(nap), 2)
        assert not sleep.done()
    finally:
        await cancelled(nap)
        await cancelled(sleep)


@pytest.mark.parametrize("wait", [SystemClock().sleep, napping])
async def test_a_wait_lasts_as_long_as_it_was_told(wait: Callable[[float], Coroutine[object, object, None]]) -> None:
    began = SystemClock().now().boot
    await asyncio.wait_for(wait(1.05), 5)
    assert 1.04 <= SystemClock().now().boot - began < 3
    assert timers() == [] if sys.platform == "linux" else True


async def test_a_nap_until_a_moment_that_is_over_ends_at_once() -> None:
    clock = SystemClock()
    await asyncio.wait_for(clock.nap_until(clock.now().boot - 3600), 0.5)


async def test_what_passes_before_a_nap_begins_does_not_make_it_longer() -> None:
    clock = SystemClock()
    began = clock.now().boot
    nap = clock.nap_until(began + 1.5)
    while clock.now().boot < began + 1.2:  # the process is stopped, or the machine asleep
        await asyncio.sleep(0.01)
    await asyncio.wait_for(nap, 5)
    assert 1.49 <= clock.now().boot - began < 2.5


@linux
async def test_a_nap_whose_timer_would_end_late_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make = system._make
    assert make is not None

    def arming(clock: int, flags: int, seconds: float) -> int:
        time.sleep(0.1)  # the process is stopped, or the machine asleep
        return make(clock, flags, seconds)

    monkeypatch.setattr(system, "_make", arming)
    await asyncio.wait_for(napping(3600), 5)
    assert timers() == []


@linux
async def test_with_no_descriptor_left_the_event_loop_counts() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        task = await under_way(napping(1.1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert timers() == []
    await asyncio.wait_for(task, 5)
