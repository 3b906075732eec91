"""The load generator in C (benchmarks/c/loader.c): starting it, and reading what it says.

Owns: its command line and its words. It must never measure anything itself: when to read a server's processor time it is told by the generator's words.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import LoadError, Target

_GRACE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Processor time, in seconds, at one moment: of the measured server, of what works for it, of the whole machine."""

    at: float
    server: float
    beside: float
    machine: float


@dataclass(frozen=True, slots=True)
class Told:
    """What the generator said at the end, and what was read from /proc between its `begin` and its `end`."""

    values: dict[str, float]
    first: Sample
    last: Sample

    @property
    def server_cpu(self) -> float:
        """Seconds of the measured server."""
        return self.last.server - self.first.server

    def shares(self) -> dict[str, float]:
        """Return how many cores each side took: the server, generator and upstream together, and the rest of the machine."""
        seconds = self.last.at - self.first.at
        beside = self.last.beside - self.first.beside + self.values["cpu"]
        others = self.last.machine - self.first.machine - self.server_cpu - beside
        return {
            "busy": self.server_cpu / seconds,
            "beside": beside / seconds,
            "others": max(0.0, others / seconds),
        }


def parse(line: str) -> dict[str, float]:
    """Return the values of an `end` line.

    Raises:
        ValueError: it is none.
    """
    word, *pairs = line.split()
    if word != "end":
        raise ValueError(f"not the end of a load: {line!r}")
    return {name: float(value) for name, _, value in (pair.partition("=") for pair in pairs)}


def arguments(
    program: str, mode: str, target: Target, request: Path, connections: int, warm: float, seconds: float
) -> list[str]:
    """Return the generator's command line."""
    where = ["--unix", str(target)] if isinstance(target, Path) else ["--port", str(target[1])]
    return [program, mode, *where, str(request), str(connections), f"{warm:g}", f"{seconds:g}"]


async def run(
    program: str,
    mode: str,
    target: Target,
    request: bytes,
    *,
    connections: int,
    warm: float,
    seconds: float,
    sample: Callable[[], Sample],
    probe: tuple[bytes, int] | None = None,
) -> Told:
    """Make load; `probe` is a second request and the microseconds between two of it.

    Raises:
        LoadError: an answer was not what it should be, or the generator did not end.
    """
    with tempfile.TemporaryDirectory(prefix="ccsbb-") as folder:
        command = arguments(program, mode, target, _file(folder, "request", request), connections, warm, seconds)
        if probe is not None:
            command += [str(_file(folder, "probe", probe[0])), str(probe[1])]
        async with _started(command) as process:
            try:
                async with asyncio.timeout(warm + seconds + _GRACE_SECONDS):
                    await _word(process, "begin")
                    first = sample()
                    line = await _word(process, "end")
                    last = sample()
            except TimeoutError:
                raise LoadError("the load generator did not come to its end") from None
    return Told(parse(line), first, last)


@contextlib.asynccontextmanager
async def held(
    program: str, target: Target, request: bytes, *, connections: int, seconds: float
) -> AsyncIterator[None]:
    """Hold so many streams open, each of which has begun.

    Raises:
        LoadError: they did not begin within `seconds`.
    """
    with tempfile.TemporaryDirectory(prefix="ccsbb-") as folder:
        command = arguments(program, "idle", target, _file(folder, "request", request), connections, 0, 0)
        async with _started(command) as process:
            try:
                async with asyncio.timeout(seconds):
                    await _word(process, "begin")
            except TimeoutError:
                raise LoadError(f"{connections} streams did not begin within {seconds:g} s") from None
            yield


@contextlib.asynccontextmanager
async def _started(command: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _word(process: asyncio.subprocess.Process, word: str) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    line = (await process.stdout.readline()).decode()
    if not line.startswith(word):
        raise LoadError(f"load generator: {(await process.stderr.read()).decode(errors='replace') or line!r}")
    return line


def _file(folder: str, name: str, text: bytes) -> Path:
    path = Path(folder) / name
    path.write_bytes(text)
    return path
