"""Two workers beside one, sharing the port."""

import asyncio
from contextlib import AsyncExitStack

from benchmarks import bars, machine, rig, traffic
from benchmarks.harness import Contest, Outcome
from benchmarks.home import Home
from benchmarks.loaded import LOAD_METRICS, Cores, Loaded, Server
from benchmarks.suites import COMPILER, Context

_CONNECTIONS = 64


async def run(context: Context) -> list[Outcome]:
    """Measure at 64 connections, no core set apart. Both proxies run all the time; the one that is not asked sleeps."""
    loader = context.loader()
    seconds = context.seconds(0.4, 1.2)
    asked = traffic.gemini(traffic.WHOLE)
    async with AsyncExitStack() as stack:
        homes = {bars.ONE: Home(), bars.TWO: Home()}
        for home in homes.values():
            stack.push_async_callback(home.close)
        upstream = rig.upstream_of(context.need("upstream", COMPILER), homes[bars.ONE])
        stack.callback(upstream.stop)
        assert isinstance(upstream.target, tuple)
        alone = Server(upstream.target, upstream.pid, cores=Cores.ANY)
        subjects = {bars.DIRECT: Loaded(alone, asked, _CONNECTIONS, seconds, loader)}
        started = (rig.start(home, upstream.target, workers=count) for count, home in enumerate(homes.values(), 1))
        for (name, home), port in zip(homes.items(), await asyncio.gather(*started), strict=True):
            server = Server(("127.0.0.1", port), home.pid("proxy"), (upstream.pid,), cores=Cores.ANY)
            subjects[name] = Loaded(server, asked, _CONNECTIONS, seconds, loader)
        contest = Contest(
            "workers_64",
            f"1 KiB through one worker and two, {_CONNECTIONS} connections",
            LOAD_METRICS,
            subjects,
            bars.ONE,
            tuple(bar for bar in bars.of("workers_64") if (bar.metric == "rate") == (machine.core_count() > 2)),
            [
                "the kernel chooses a worker for each connection: they are not shared evenly",
                "`cpu` is that of all workers",
            ],
        )
        return [await contest.run(context.rounds(2, 4))]
