"""A daemon that nobody asks anything hardly wakes: counted by the kernel."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from tests.system.conftest import staged

MINUTE = 59.5  # what comes once a minute comes a little later each time, and is seen up to a twentieth of a second late
SECONDS = 3 * MINUTE
ALLOWED = 2


def switches(pid: int) -> int:
    """How often a thread of the process gave up the processor to wait."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        total += int(lines["voluntary_ctxt_switches"])
    return total


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.timeout(300)
async def test_an_idle_daemon_wakes_at_most_twice_a_minute(request: pytest.FixtureRequest) -> None:
    async with staged(proxy=False) as stage:
        pid = stage.processes["daemon"].pid
        await asyncio.sleep(5)
        moments: list[float] = []
        end, before = time.monotonic() + SECONDS, switches(pid)
        while (now := time.monotonic()) < end:
            if (after := switches(pid)) != before:
                # One wake-up may hand work to a thread and back: what happens within a quarter of a second is one.
                if not moments or now - moments[-1] > 0.25:
                    moments.append(now)
                before = after
            await asyncio.sleep(0.05)
        most = max((sum(moment <= each < moment + MINUTE for each in moments) for moment in moments), default=0)
        told = f"idle: a daemon that nobody asks wakes {len(moments)} times in {SECONDS / 60:.1f} minutes, at most {most} times in any minute"
        request.node.user_properties.append(("figure", told))
        assert most <= ALLOWED, [round(each - moments[0], 2) for each in moments]
        # It is not asleep for good: what is due once a minute has come.
        assert len(moments) >= 2
