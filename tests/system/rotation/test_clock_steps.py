"""The wall clock steps by an hour under a live daemon, while monotonic time goes on: no dead token is served and no refresh is wasted."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from broker.model.errors import BrokerError
from tests.system.rotation.figures import Figure
from tests.system.rotation.homes import Home, Truth

HOUR = 3600
BUSY_SECONDS = 30.0  # six daemons under libfaketime may keep a busy machine from serving any of them for some seconds

pytestmark = pytest.mark.figures


def library() -> Path | None:
    """libfaketime as its PyPI package ships it."""
    spec = find_spec("libfaketime") if sys.platform == "linux" else None
    found = Path(str(spec.origin)).parent.rglob("libfaketime.so.1") if spec is not None else iter(())
    return next(found, None)


class Steps:
    """The daemon's wall clock."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.set(0)

    def set(self, seconds: int) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_text(f"{seconds:+d}\n")
        temporary.replace(self._file)

    def env(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


@asynccontextmanager
async def stepping(truth: Truth, left: float, offset: int = 0) -> AsyncIterator[tuple[Home, Steps]]:
    async with Home.made(truth) as home:
        steps = Steps(home.folder)
        steps.set(offset)
        home.plant(left)
        await home.start(env=steps.env())
        yield home, steps


async def watch(home: Home, seconds: float) -> tuple[int, int]:
    """Ask for leases for so long, or until there is one; return how many were served, and how many of those the server does not accept."""
    served = dead = 0
    end = time.monotonic() + seconds
    async with home.client() as client:
        while (now := time.monotonic()) < end or (not served and now < end + BUSY_SECONDS):
            # A busy machine may bring a token of a few seconds too late to be of use: no token is no dead token.
            with suppress(BrokerError):
                lease = await client.lease(home.account, min_validity=0, max_wait=10)
                served += 1
                dead += not home.truth.accepts(lease.access_token)
            await asyncio.sleep(0.02)
    return served, dead


async def live_step(hours: int, *, own: bool) -> tuple[int, int, int]:
    """Step under a token of an hour that the daemon obtained itself, or found in the file."""
    async with Truth.started(access_lifetime=HOUR) as truth, stepping(truth, HOUR) as (home, steps):
        async with home.client() as client:
            if own:
                await client.refresh(home.account)
            before = truth.posts
            shown = (await client.account(home.account)).last_refresh
            steps.set(hours * HOUR)
            served, dead = await watch(home, 3.0)
            if own:
                # The step was seen: the expiry is told in the new clock's terms, and the token is the same.
                lease = await client.lease(home.account, min_validity=0)
                assert lease.expires_at is not None
                assert shown is not None
                assert abs(lease.expires_at - (shown + (hours + 1) * HOUR)) < 60
        return served, dead, truth.posts - before


async def dying(offset: int) -> tuple[int, int, int]:
    """Tokens of four seconds end in the midst of a clock that was set back: real time counts."""
    life, seconds = 4.0, 7.0
    async with Truth.started(access_lifetime=life) as truth, stepping(truth, life) as (home, steps):
        steps.set(offset)
        served, dead = await watch(home, seconds)
        return served, dead, truth.posts


async def wrong_from_the_start(offset: int) -> tuple[int, int, int]:
    """A machine that starts with the wrong date, and gets the right one later."""
    async with Truth.started(access_lifetime=HOUR) as truth, stepping(truth, HOUR, offset) as (home, steps):
        first, bad = await watch(home, 1.5)
        steps.set(0)
        served, dead = await watch(home, 1.5)
        return first + served, bad + dead, truth.posts


@pytest.mark.skipif(library() is None, reason="libfaketime is not installed (the test extra, on Linux)")
@pytest.mark.timeout(180)
async def test_no_step_of_the_wall_clock_serves_a_dead_token_or_wastes_a_refresh(figure: Figure) -> None:
    runs = {
        "+1 h, own token": live_step(1, own=True),
        "-1 h, own token": live_step(-1, own=True),
        "+1 h, token of a file": live_step(1, own=False),
        "-1 h, token of a file": live_step(-1, own=False),
        "starts 1 h ahead": wrong_from_the_start(HOUR),
        "starts 1 h behind": wrong_from_the_start(-HOUR),
    }
    found = dict(zip(runs, await asyncio.gather(*runs.values()), strict=True))
    served, dead, posts = await dying(-HOUR)
    figure(
        f"clock steps: {sum(each[0] for each in found.values()) + served} leases, {sum(each[1] for each in found.values()) + dead} dead tokens served; "
        f"refreshes: {', '.join(f'{name} {each[2]}' for name, each in found.items())}; tokens of 4 s after -1 h: {posts} in 7 s"
    )
    assert all(each[1] == 0 and each[2] <= 1 for each in found.values()), found
    assert all(each[0] > 0 for each in found.values())
    assert (served > 0, dead) == (True, 0)
    assert 1 <= posts <= 8
