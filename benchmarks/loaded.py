"""Subjects that are a server under load: in a closed loop, or sending streams.

Owns: who gets which core, and what a measurement is made of. With the generator in C where a compiler was there; a closed loop else by `benchmarks.load`.
"""

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self, assert_never

from benchmarks import cload, load, machine
from benchmarks.harness import Better, Metric
from benchmarks.home import BenchError
from benchmarks.load import Target

LOAD_METRICS = (
    Metric("rate", "1/s", Better.HIGHER),
    Metric("p50", "µs"),
    Metric("p99", "µs"),
    Metric("cpu", "µs/request"),
    Metric("busy", "cores", compared=False),
    Metric("beside", "cores", compared=False),
    Metric("others", "cores", compared=False),
)

STREAM_METRICS = (
    Metric("added p50", "µs"),
    Metric("added p99", "µs"),
    Metric("p50", "µs", compared=False),
    Metric("p99", "µs", compared=False),
    Metric("cpu", "µs/chunk"),
    Metric("delivered", "share", Better.HIGHER, compared=False),
    Metric("busy", "cores", compared=False),
    Metric("beside", "cores", compared=False),
    Metric("others", "cores", compared=False),
)

PROBE_METRICS = (
    Metric("first p50", "µs"),
    Metric("first p99", "µs"),
    *(metric for metric in STREAM_METRICS if metric.name in {"delivered", "busy", "beside", "others"}),
)


class Cores(StrEnum):
    """Where the measured process runs while it is."""

    APART = "apart"  # on a core of its own
    SHARED = "shared"  # with the generator: the upstream, as it is placed when something stands between
    ANY = "any"  # wherever the kernel puts it: it needs more than one core


@dataclass(frozen=True, slots=True)
class Server:
    """What is measured. `pid` is the process (with its children), `beside` are others that work for it."""

    target: Target
    pid: int
    beside: tuple[int, ...] = ()
    cores: Cores = Cores.APART

    def sample(self) -> cload.Sample:
        """Read /proc."""
        beside = sum(machine.cpu_seconds(pid) for pid in self.beside) + time.process_time()
        return cload.Sample(time.perf_counter(), machine.cpu_seconds(self.pid), beside, machine.busy_seconds())

    def __enter__(self) -> Self:
        match self.cores:
            case Cores.APART:
                machine.apart(self.pid, *self.beside)
            case Cores.SHARED:
                machine.beside(self.pid, *self.beside)
            case Cores.ANY:
                pass
            case _:
                assert_never(self.cores)
        return self

    def __exit__(self, *_: object) -> None:
        machine.together(self.pid, *self.beside)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A server asked again and again. `generator` is the one in C; None where there is none. `warm` seconds go before, 0 for the usual."""

    server: Server
    request: bytes
    connections: int
    seconds: float
    generator: str | None
    warm: float = 0.0

    async def __call__(self) -> dict[str, float]:
        """Load it once."""
        with self.server as server:
            if self.generator is None:
                return await self._in_python()
            told = await cload.run(
                self.generator, "closed", server.target, self.request, connections=self.connections,
                warm=self.warm or _warm(self.seconds), seconds=self.seconds, sample=server.sample,
            )  # fmt: skip
        count = told.values["count"]
        if not count:
            raise BenchError("not one answer")
        return {
            "rate": count / told.values["seconds"],
            "p50": told.values["p50"] * 1e6,
            "p99": told.values["p99"] * 1e6,
            "cpu": told.server_cpu / count * 1e6,
            **told.shares(),
        }

    async def _in_python(self) -> dict[str, float]:
        first = self.server.sample()
        done = await load.load(
            self.server.target,
            self.request,
            connections=self.connections,
            seconds=self.seconds,
            server_cpu=lambda: machine.cpu_seconds(self.server.pid),
        )
        told = cload.Told({"cpu": 0.0}, first, self.server.sample())
        return {**done.measures(), "beside": told.shares()["beside"], "others": told.shares()["others"]}


@dataclass(frozen=True, slots=True)
class Streaming:
    """A server that sends streams: the age of each chunk when it arrives. `interval` is the seconds between two chunks of one stream."""

    server: Server
    request: bytes
    streams: int
    seconds: float
    interval: float
    generator: str
    probe: bytes | None = None
    every: float = field(default=0.01)

    async def __call__(self) -> dict[str, float]:
        """Stream once."""
        probe = (self.probe, round(self.every * 1e6)) if self.probe is not None else None
        with self.server as server:
            told = await cload.run(
                self.generator, "streams", server.target, self.request, connections=self.streams,
                warm=_warm(self.seconds), seconds=self.seconds, sample=server.sample, probe=probe,
            )  # fmt: skip
        values = told.values
        planned = self.streams * values["seconds"] / self.interval
        if not values["count"] or (probe and not values["probes"]):
            raise BenchError("no chunk arrived, or no answer to a probe")
        measured = {
            "p50": values["p50"] * 1e6,
            "p99": values["p99"] * 1e6,
            "cpu": told.server_cpu / values["count"] * 1e6,
            "delivered": values["count"] / planned,
            **told.shares(),
        }
        if probe:
            measured |= {"first p50": values["probe_p50"] * 1e6, "first p99": values["probe_p99"] * 1e6}
        return measured


def _warm(seconds: float) -> float:
    return min(0.5, max(load.WARM_SECONDS, seconds / 4))
