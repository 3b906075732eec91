"""`ccs-broker token X`, cold: the whole process, from fork to exit."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import bars
from benchmarks.harness import Contest, Measures, Metric, Outcome, quantile
from benchmarks.home import BenchError, Home
from benchmarks.suites import Context

_SPAWNS = 9  # a round


async def run(context: Context) -> list[Outcome]:
    """Measure it against `python -c pass` of the same interpreter, and a client in C where there is one."""
    home = Home()
    try:
        home.configure()
        home.plant(0)
        await home.start("serve")
        program = _program()
        shown = subprocess.run([*program, "token", "gemini"], env=home.env, capture_output=True, text=True, check=False)
        if not shown.stdout.startswith("fake-access-0-first-"):
            raise BenchError(f"`token gemini` did not print the token: {shown.stderr}")

        def subject(*command: str) -> "Spawned":
            return Spawned(command, home.env)

        subjects = {
            bars.PYTHON: subject(sys.executable, "-c", "pass"),
            bars.TOKEN: subject(*program, "token", "gemini"),
        }
        if context.has("curl"):
            url = "http://localhost/v1/lease/gemini"
            subjects["curl --unix-socket"] = subject("curl", "-s", "--unix-socket", str(home.token_socket), url)
        contest = Contest(
            "cold_cli",
            "the command other programs run before each of their requests",
            (Metric("wall", "ms"),),
            subjects,
            bars.PYTHON,
            bars.of("cold_cli"),
        )
        return [await contest.run(context.rounds(2, 9))]
    finally:
        await home.close()


class Spawned:
    """A command, run several times; its median wall time."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self._command = command
        self._env = env

    async def __call__(self) -> Measures:
        """Run it. Blocks: nothing else is to happen meanwhile."""
        took: list[float] = []
        for _ in range(_SPAWNS):
            began = time.perf_counter()
            subprocess.run(self._command, env=self._env, stdout=subprocess.DEVNULL, check=True)
            took.append(time.perf_counter() - began)
        return {"wall": quantile(took, 0.5) * 1e3}


def _program() -> list[str]:
    script = Path(sys.executable).with_name("ccs-broker")
    return [str(script)] if script.exists() else [sys.executable, "-m", "broker"]
