"""The daemon from its start until it is ready, beside a plain loop that reads and parses the same files."""

import json
import subprocess
import sys

from benchmarks import bars
from benchmarks.harness import Contest, Metric, Outcome
from benchmarks.home import BenchError, Home, UnixConnection
from benchmarks.machine import memory_mib
from benchmarks.suites import Context

_SIZES = (10, 1000, 10_000)

# Timed inside a fresh interpreter, so that neither side has a warm allocator; the interpreter's own start is not in it.
_LOOP = """
import json, pathlib, sys, time
began = time.perf_counter()
read = [json.loads(path.read_bytes()) for path in pathlib.Path(sys.argv[1]).iterdir() if path.suffix == ".json"]
print(time.perf_counter() - began, len(read))
"""


async def run(context: Context) -> list[Outcome]:
    """Measure with 10, 1,000 and (not quick) 10,000 accounts."""
    return [await _contest(context, size) for size in (_SIZES[:2] if context.quick else _SIZES)]


async def _contest(context: Context, size: int) -> Outcome:
    home = Home()
    try:
        home.configure()
        for number in range(size):
            home.plant(number)
        first = await _start(home, size)

        async def daemon() -> dict[str, float]:
            return await _start(home, size)

        async def loop() -> dict[str, float]:
            return {"ready": _loop(home, size) * 1e3}

        contest = Contest(
            f"start_{size}",
            f"daemon start until ready, {size} accounts",
            (Metric("ready", "ms"), Metric("memory", "MiB", compared=False)),
            {bars.PLAIN_LOOP: loop, bars.DAEMON: daemon},
            bars.PLAIN_LOOP,
            bars.of(f"start_{size}"),
            [f"the very first start, with no state yet: {first['ready']:.0f} ms"],
        )
        return await contest.run(context.rounds(1, 7))
    finally:
        await home.close()


async def _start(home: Home, size: int) -> dict[str, float]:
    took = await home.start("serve")
    connection = UnixConnection(home.control_socket)
    status, body = connection.ask("/v1/accounts")
    connection.close()
    if status != 200 or len(json.loads(body)["accounts"]) != size:
        raise BenchError(f"ready, but not with {size} accounts: {status} {body[:200]!r}")
    memory = memory_mib(home.pid("serve"))
    await home.stop("serve")
    return {"ready": took * 1e3, "memory": memory}


def _loop(home: Home, size: int) -> float:
    told = subprocess.run([sys.executable, "-c", _LOOP, str(home.auth_dir)], capture_output=True, text=True, check=True)
    seconds, count = told.stdout.split()
    if int(count) != size:
        raise BenchError(f"the plain loop read {count} files of {size}")
    return float(seconds)
