"""What a daemon with 1,000 accounts costs while nothing happens. A figure, not a ratio."""

import asyncio
import time

from benchmarks import bars, machine
from benchmarks.harness import Contest, Metric, Outcome
from benchmarks.home import Home
from benchmarks.suites import Context

_ACCOUNTS = 1000
_SETTLE_SECONDS = 2.0


async def run(context: Context) -> list[Outcome]:
    """Watch it for a minute (quick: five seconds). The tokens end in a day: no refresh is due."""
    home = Home()
    seconds = context.seconds(5.0, 60.0)
    try:
        home.configure()
        for number in range(_ACCOUNTS):
            home.plant(number)
        await home.start("serve")
        await asyncio.sleep(_SETTLE_SECONDS)
        pid = home.pid("serve")

        async def idle() -> dict[str, float]:
            began, woken, cpu = time.perf_counter(), machine.wake_ups(pid), machine.cpu_seconds(pid)
            await asyncio.sleep(seconds)
            minutes = (time.perf_counter() - began) / 60
            return {
                "memory": machine.memory_mib(pid),
                "wake-ups": (machine.wake_ups(pid) - woken) / minutes,
                "cpu": (machine.cpu_seconds(pid) - cpu) * 1e3 / minutes,
            }

        contest = Contest(
            "idle_daemon",
            f"an idle daemon with {_ACCOUNTS:,} accounts, over {seconds:g} s",
            (Metric("memory", "MiB"), Metric("wake-ups", "/min"), Metric("cpu", "ms/min")),
            {bars.DAEMON: idle},
            bars=bars.of("idle_daemon"),
            notes=[
                "a wake-up is a voluntary context switch of any of its threads",
                *(["too short to tell two wake-ups a minute from none"] if context.quick else []),
            ],
        )
        return [await contest.run(1)]
    finally:
        await home.close()
