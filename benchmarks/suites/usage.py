"""What counting usage costs a request: the proxy as by default, beside one that does not count."""

from contextlib import AsyncExitStack

from benchmarks import bars, traffic
from benchmarks import rig as rigs
from benchmarks.harness import Contest, Outcome
from benchmarks.home import API_KEY_PROVIDER, Home
from benchmarks.loaded import LOAD_METRICS, Server
from benchmarks.suites import Absent, Context
from benchmarks.suites.proxy_pass import BESIDE_NOTE

_CONNECTIONS = 32


async def run(context: Context) -> list[Outcome]:
    """Measure at 32 connections."""
    if context.quick:
        raise Absent("not measured by a quick run")
    rig = await context.rig()
    async with AsyncExitStack() as stack:
        home = Home()
        stack.push_async_callback(home.close)
        off = "[usage]\nenabled = false\n"
        port = await rigs.start(home, rig.target, providers=(API_KEY_PROVIDER,), more=off)
        without = Server(("127.0.0.1", port), home.pid("proxy"), (rig.upstream.pid,))
        asked = traffic.gemini(traffic.WHOLE)
        contest = Contest(
            "usage_32",
            f"counting usage, 1 KiB untouched, {_CONNECTIONS} connections",
            LOAD_METRICS,
            {
                "usage off": rig.loaded(without, asked, _CONNECTIONS, 1.0),
                bars.OURS: rig.loaded(rig.ours(), asked, _CONNECTIONS, 1.0),
            },
            "usage off",
            notes=[BESIDE_NOTE],
        )
        return [await contest.run(5)]
