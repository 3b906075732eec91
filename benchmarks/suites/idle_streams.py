"""1,000 streams that are open and silent: memory of each, and how often the server wakes up."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from benchmarks import bars, cload, machine, peers, rig, traffic
from benchmarks.harness import Contest, Metric, Outcome, Subject
from benchmarks.home import Home
from benchmarks.loaded import Loaded, Server
from benchmarks.suites import COMPILER, Context

Started = Callable[[], AbstractAsyncContextManager[Server]]

_STREAMS = 1000
_BEGIN_SECONDS = 60.0
_SETTLE_SECONDS = 7.0  # what the first requests leave to be written (usage, each 5 s) is written then


async def run(context: Context) -> list[Outcome]:
    """Measure servers that were started for it: memory that was freed before would be used again."""
    program, loader = context.need("upstream", COMPILER), context.loader()
    seconds = context.seconds(2.0, 20.0)
    async with AsyncExitStack() as stack:
        home = Home()
        stack.push_async_callback(home.close)
        upstream = rig.upstream_of(program, home)
        stack.callback(upstream.stop)
        assert isinstance(upstream.target, tuple)
        port = await rig.start(home, upstream.target, proxy=False)

        @asynccontextmanager
        async def nginx() -> AsyncIterator[Server]:
            assert isinstance(upstream.target, tuple)
            started = await peers.nginx_proxy(home.path, upstream.target)
            try:
                yield Server(started.target, started.pid)
            finally:
                started.stop()

        @asynccontextmanager
        async def ours() -> AsyncIterator[Server]:
            await home.start("proxy")
            try:
                yield Server(("127.0.0.1", port), home.pid("proxy"))
            finally:
                await home.stop("proxy")

        def subject(started: Started, asked: bytes) -> Subject:
            async def measure() -> dict[str, float]:
                async with started() as server:
                    return await _held(loader, server, asked, seconds)

            return measure

        untouched = traffic.gemini(traffic.IDLE, stream=True)
        subjects = {bars.NGINX: subject(nginx, untouched)} if context.has("nginx") else {}
        subjects[bars.OURS] = subject(ours, untouched)
        if not context.quick:
            subjects[bars.TO_GEMINI] = subject(ours, traffic.openai(f"gemini-{traffic.IDLE}", stream=True))
        contest = Contest(
            "idle_streams",
            f"{_STREAMS:,} open streams, idle for {seconds:g} s",
            (Metric("memory", "KiB/stream"), Metric("wake-ups", "/s"), Metric("cpu", "ms/s")),
            subjects,
            bars.NGINX if bars.NGINX in subjects else None,
            bars.of("idle_streams"),
            [
                "memory is resident memory beyond that of the server after its first requests; what the kernel keeps for sockets is not in it",
                "over 20 s the proxy sends each client the comment that keeps it from giving up; nginx sends none",
            ],
        )
        return [await contest.run(1)]


async def _held(loader: str, server: Server, asked: bytes, seconds: float) -> dict[str, float]:
    # What is loaded and allocated for the very first requests is no stream's.
    await Loaded(server, traffic.gemini(traffic.ONCE, stream=True), 8, 0.1, loader)()
    before = machine.memory_mib(server.pid)
    async with cload.held(loader, server.target, asked, connections=_STREAMS, seconds=_BEGIN_SECONDS):
        await asyncio.sleep(_SETTLE_SECONDS)
        began, woken, cpu = time.perf_counter(), machine.wake_ups(server.pid), machine.cpu_seconds(server.pid)
        await asyncio.sleep(seconds)
        took = time.perf_counter() - began
        return {
            "memory": (machine.memory_mib(server.pid) - before) * 1024 / _STREAMS,
            "wake-ups": (machine.wake_ups(server.pid) - woken) / took,
            "cpu": (machine.cpu_seconds(server.pid) - cpu) * 1e3 / took,
        }
