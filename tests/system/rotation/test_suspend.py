"""Time that goes by while nothing runs: a suspend, a reboot, a process that was stopped.

A machine cannot be suspended by a test, so each of its traits is shown by itself: a process that does not run while all clocks go on (SIGSTOP); an
event loop whose own clock stands still while the boot clock goes on, with the kernel's timers and the real engine; and processes that start with
another boot clock than the last one (a time namespace), where an hour of the wall clock has gone by as well (libfaketime).
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from broker.model.account import Active
from broker.providers.base import RefreshPolicy
from broker.system import SystemClock
from tests.refresh.harness import ALICE, World
from tests.system.rotation.figures import Figure
from tests.system.rotation.homes import Home, Truth, until
from tests.system.rotation.test_clock_steps import HOUR, Steps, library

RESUME_BAR = 2.0
TRIES = 4  # a process that starts on a busy machine may wait longer than that for the processor and the disk

pytestmark = pytest.mark.figures


def time_namespaces() -> str | None:
    """Say why there can be no time namespace; None where there can."""
    if shutil.which("unshare") is None:
        return "util-linux's unshare is not installed"
    tried = subprocess.run([*unshared(HOUR), "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"no time namespace: {tried.stderr.decode(errors='replace').strip()}"


def unshared(boot: int, monotonic: int = 0) -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--time", "--fork", "--kill-child", f"--boottime={boot}", f"--monotonic={monotonic}"]


async def stopped_over_the_end() -> tuple[float, int]:
    """Stop a daemon until its token has ended; return the seconds from its going on to the new token's request, and the POSTs."""
    life = 5.0
    async with Truth.started(access_lifetime=life) as truth, Home.made(truth) as home:
        home.plant(life)
        process = await home.start()
        async with home.client() as client:
            await client.refresh(home.account)  # a token of its own, due at half its life
            process.send_signal(signal.SIGSTOP)
            truth.sandbox.change(access_lifetime=HOUR)
            posts = truth.posts
            await asyncio.sleep(life + 0.2)
            assert truth.posts == posts
            resumed = time.monotonic()
            process.send_signal(signal.SIGCONT)
            await until(lambda: truth.posts > posts, within=30, step=0.001)  # nobody asks
            took = time.monotonic() - resumed
            assert truth.accepts((await client.lease(home.account, min_validity=60, max_wait=30)).access_token)
        return took, truth.posts - posts


async def test_a_process_that_was_stopped_renews_within_two_seconds_of_going_on(figure: Figure) -> None:
    took, posts = await stopped_over_the_end()
    figure(
        f"resume: a daemon stopped (SIGSTOP) over the end of its token asks for a new one {took * 1000:.0f} ms after it goes on, {posts} POST"
    )
    assert posts == 1
    assert took < RESUME_BAR


# --- the event loop's clock stands still ---


class Asleep(asyncio.SelectorEventLoop):
    """An event loop whose own clock can be stopped, as CLOCK_MONOTONIC is while a machine sleeps: none of its timers ends."""

    stopped_at: float | None = None

    def time(self) -> float:
        return super().time() if self.stopped_at is None else self.stopped_at


class Clock(SystemClock):
    """The real clock, for a harness that asks for the wall."""

    @property
    def wall(self) -> float:
        return self.now().wall


async def due_while_asleep() -> float:
    """Let a refresh fall due while the event loop's clock stands still; return by how many seconds it was late."""
    loop, clock, lead, left = asyncio.get_running_loop(), Clock(), 1.0, 3.5
    assert isinstance(loop, Asleep)
    world = World(clock=clock, policy=RefreshPolicy(lead_seconds=lead))  # type: ignore[arg-type]
    world.server.lifetime = HOUR
    moments: list[float] = []
    world.server.on_post = lambda: moments.append(clock.now().boot)
    due = clock.now().boot + left - lead
    world.write(left)
    _, engine = await world.boot()
    loop.stopped_at = loop.time()
    while not moments:
        assert clock.now().boot < due + 30, "the engine slept through it"
        await clock.sleep(1.0)  # the kernel's timer: the event loop has none that works
    loop.stopped_at = None
    assert isinstance(engine.state(ALICE), Active)
    await engine.stop()
    return moments[0] - due


@pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")
def test_a_refresh_falls_due_while_the_event_loops_clock_stands_still(figure: Figure) -> None:
    with asyncio.Runner(loop_factory=Asleep) as runner:
        late = runner.run(due_while_asleep())
    figure(
        f"resume: a refresh that falls due while CLOCK_MONOTONIC stands still for the event loop is {late * 1000:.0f} ms late"
    )
    assert -0.1 < late < RESUME_BAR


# --- another boot clock ---


async def started_anew(boot: int, wall: int) -> tuple[float, int]:
    """Start a daemon whose clocks are so far ahead of those its predecessor had; return the seconds to its first lease, and the POSTs."""
    async with Truth.started(access_lifetime=HOUR) as truth, Home.made(truth) as home:
        home.plant(HOUR)
        await home.start()
        async with home.client() as client:
            first = await client.refresh(home.account)
        await home.kill()
        steps = Steps(home.folder)
        steps.set(wall)
        posts = truth.posts
        await home.start(unshared(boot), env=steps.env() if wall else None)
        began = time.monotonic()
        async with home.client() as client:
            lease = await client.lease(home.account, min_validity=60, max_wait=30)
            took = time.monotonic() - began
            assert truth.accepts(lease.access_token)
            assert lease.generation >= first.generation
            assert (await client.account(home.account)).state == "active"
        return took, truth.posts - posts


async def test_a_start_with_another_boot_clock(figure: Figure) -> None:
    reason = time_namespaces()
    if reason is not None:
        pytest.skip(reason)
    hours = 8
    back = 60 - int(SystemClock().now().boot)
    runs = {
        f"{hours} h further on the boot clock alone": (hours * HOUR, 0, 0),
        "after a reboot (the boot clock at a minute)": (back, 0, 0),
    }
    if library() is not None:
        runs[f"after a suspend of {hours} h (both clocks)"] = (hours * HOUR, hours * HOUR, 1)
    told = []
    for name, (boot, wall, expected) in runs.items():
        for _ in range(TRIES):
            took, posts = await started_anew(boot, wall)
            assert posts == expected, name
            if took < RESUME_BAR:
                break
        assert took < RESUME_BAR, name
        told.append(f"{name}: {posts} POSTs, a good lease {took * 1000:.0f} ms after the daemon is up")
    figure("start in a time namespace: " + "; ".join(told))
