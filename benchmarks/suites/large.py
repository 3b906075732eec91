"""Requests of 100 KiB through the proxy, the answer 1 KiB."""

from benchmarks import bars, traffic
from benchmarks.harness import Contest, Outcome, Subject
from benchmarks.loaded import LOAD_METRICS
from benchmarks.suites import Context
from benchmarks.suites.proxy_pass import BESIDE_NOTE

_CONNECTIONS = 32


async def run(context: Context) -> list[Outcome]:
    """Measure at 32 connections."""
    rig = await context.rig()
    seconds = context.seconds(0.4, 1.2)
    asked = traffic.gemini(traffic.WHOLE, size=traffic.LARGE)
    subjects: dict[str, Subject] = {bars.DIRECT: rig.loaded(rig.direct(), asked, _CONNECTIONS, seconds)}
    if rig.nginx is not None:
        subjects[bars.NGINX] = rig.loaded(rig.behind_nginx(), asked, _CONNECTIONS, seconds)
    subjects[bars.OURS] = rig.loaded(rig.ours(), asked, _CONNECTIONS, seconds)
    contest = Contest(
        "large_32",
        f"100 KiB requests, {_CONNECTIONS} connections",
        LOAD_METRICS,
        subjects,
        bars.DIRECT if rig.nginx is None else bars.NGINX,
        bars.of("large_32"),
        [
            BESIDE_NOTE,
            "nginx keeps bodies of up to 256 KiB in memory (client_body_buffer_size); by default it writes these to a file",
        ],
    )
    return [await contest.run(context.rounds(2, 4))]
