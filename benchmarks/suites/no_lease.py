"""How many leases a proxy asks the daemon for while it serves 10,000 requests, its watch being live. A figure, not a ratio."""

from contextlib import AsyncExitStack

from benchmarks import bars, rig, traffic
from benchmarks.harness import Contest, Metric, Outcome
from benchmarks.home import BenchError, Home, UnixConnection
from benchmarks.loaded import Loaded, Server
from benchmarks.suites import COMPILER, Context

_REQUESTS = 10_000
_CONNECTIONS = 32


async def run(context: Context) -> list[Outcome]:
    """Count by the daemon's own metrics; the account is a login, whose tokens end."""
    program, loader = context.need("upstream", COMPILER), context.loader()
    async with AsyncExitStack() as stack:
        home = Home()
        stack.push_async_callback(home.close)
        upstream = rig.upstream_of(program, home)
        stack.callback(upstream.stop)
        assert isinstance(upstream.target, tuple)
        port = await rig.start(home, upstream.target, providers=("gemini",))
        server = Server(("127.0.0.1", port), home.pid("proxy"), (upstream.pid,))
        load = Loaded(server, traffic.gemini(traffic.WHOLE), _CONNECTIONS, context.seconds(0.5, 1.0), loader)
        wanted = 2000 if context.quick else _REQUESTS

        async def served() -> dict[str, float]:
            before, requests = _leases(home), 0.0
            while requests < wanted:
                requests += (await load())["rate"] * load.seconds
            return {"leases": _leases(home) - before, "requests": requests}

        contest = Contest(
            "no_lease",
            f"leases asked of the daemon while the proxy serves {wanted:,} requests and more",
            (Metric("leases", ""), Metric("requests", "")),
            {bars.OURS: served},
            bars=bars.of("no_lease"),
            notes=["the first request of all is among them"],
        )
        return [await contest.run(1)]


def _leases(home: Home) -> float:
    connection = UnixConnection(home.control_socket)
    status, text = connection.ask("/metrics")
    connection.close()
    if status != 200:
        raise BenchError(f"no metrics: {status}")
    return total(text.decode(), "ccs_broker_leases_total")


def total(metrics: str, name: str) -> float:
    """Add up a counter over its labels, in Prometheus' text."""
    lines = (line.partition(" # ")[0] for line in metrics.splitlines())
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))
