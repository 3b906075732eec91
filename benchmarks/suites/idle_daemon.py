"""What a daemon with 1,000 accounts costs while nothing happens. A figure, not a ratio."""

import asyncio
import time
from urllib.parse import quote

from benchmarks import bars, machine
from benchmarks.harness import Contest, Metric, Outcome
from benchmarks.home import Home, UnixConnection
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
            began, switches, cpu = time.perf_counter(), machine.wake_ups(pid), machine.cpu_seconds(pid)
            woken = await machine.awakenings(pid, seconds)
            minutes = (time.perf_counter() - began) / 60
            told = {
                "memory": machine.memory_mib(pid),
                "wake-ups": woken / minutes,
                "switches": (machine.wake_ups(pid) - switches) / minutes,
                "cpu": (machine.cpu_seconds(pid) - cpu) * 1e3 / minutes,
            }
            await asyncio.to_thread(_renew, home)
            await asyncio.sleep(_SETTLE_SECONDS)
            return {**told, "after a request": machine.memory_mib(pid)}

        contest = Contest(
            "idle_daemon",
            f"an idle daemon with {_ACCOUNTS:,} accounts, over {seconds:g} s",
            (
                Metric("memory", "MiB"),
                Metric("after a request", "MiB"),
                Metric("wake-ups", "/min"),
                Metric("switches", "/min"),
                Metric("cpu", "ms/min"),
            ),
            {bars.DAEMON: idle},
            bars=bars.of("idle_daemon"),
            notes=[
                "after a request: memory once all accounts were listed and a provider was asked for a token, whoever answered: what that needs is loaded then",
                f"counted from {_SETTLE_SECONDS:g} s after it said it was ready; a wake-up is a moment at which it slept, all its threads, and one was woken",
                "switches: voluntary context switches of all its threads, the hand-overs between them within a wake-up among them",
                *(["too short to tell two wake-ups a minute from none"] if context.quick else []),
            ],
        )
        return [await contest.run(1)]
    finally:
        await home.close()


def _renew(home: Home) -> None:
    connection = UnixConnection(home.control_socket)
    connection.ask("/v1/accounts")
    connection.request("POST", f"/v1/accounts/gemini/{quote('user0@example.com')}/refresh?max_wait=5")
    connection.getresponse().read()  # nobody listens where the config points: it is the asking that counts
    connection.close()
