"""1 KiB through the proxy untouched, at 1, 32 and 128 connections, beside nginx and the upstream itself."""

from benchmarks import bars, machine, peers, traffic
from benchmarks.harness import Contest, Measures, Outcome, Subject
from benchmarks.loaded import LOAD_METRICS
from benchmarks.rig import Rig
from benchmarks.suites import Context

_CONNECTIONS = (1, 32, 128)
BESIDE_NOTE = "`cpu` and `busy` are those of the server that is asked; `beside` is generator and upstream, which share what is left of the machine"


async def run(context: Context) -> list[Outcome]:
    """Measure at each number of connections; then the generator against wrk."""
    rig = await context.rig()
    outcomes = [await _contest(context, rig, connections) for connections in _CONNECTIONS]
    return [*outcomes, await _generators(context, rig)] if context.has("wrk") else outcomes


async def _contest(context: Context, rig: Rig, connections: int) -> Outcome:
    seconds = context.seconds(0.3, 1.2)
    asked = traffic.gemini(traffic.WHOLE)
    subjects: dict[str, Subject] = {bars.DIRECT: rig.loaded(rig.direct(), asked, connections, seconds)}
    if rig.nginx is not None:
        subjects[bars.NGINX] = rig.loaded(rig.behind_nginx(), asked, connections, seconds)
    subjects[bars.OURS] = rig.loaded(rig.ours(), asked, connections, seconds)
    contest = Contest(
        f"pass_{connections}",
        f"1 KiB JSON through the proxy, {connections} connection{'s' * (connections > 1)}",
        LOAD_METRICS,
        subjects,
        bars.DIRECT if rig.nginx is None else bars.NGINX,
        bars.of(f"pass_{connections}"),
        [BESIDE_NOTE],
    )
    return await contest.run(context.rounds(2, 4))


async def _generators(context: Context, rig: Rig) -> Outcome:
    """Our load generator beside wrk on the same server: how far ours is from being the bottleneck."""
    url = f"http://{rig.target[0]}:{rig.target[1]}{traffic.gemini_path(traffic.WHOLE)}"

    async def wrk() -> Measures:
        machine.apart(rig.upstream.pid)  # wrk takes over this process's core
        try:
            asked = (traffic.HEADERS, traffic.gemini_body())
            return {"rate": await peers.wrk_rate(url, asked, connections=32, seconds=1)}
        finally:
            machine.together(rig.upstream.pid)

    own = rig.loaded(rig.direct(), traffic.gemini(traffic.WHOLE), 32, 1)
    contest = Contest(
        "load_generator",
        "the same server, asked by wrk and by our own generator",
        LOAD_METRICS,
        {"wrk": wrk, "own": own},
        "wrk",
    )
    return await contest.run(context.rounds(1, 3))
