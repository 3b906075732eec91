"""Time to first byte while 32 streams go on."""

from benchmarks import bars, traffic
from benchmarks.harness import Contest, Outcome, Subject
from benchmarks.loaded import PROBE_METRICS, Server
from benchmarks.suites import Context

_STREAMS = 32


async def run(context: Context) -> list[Outcome]:
    """Measure requests that are due every 10 ms, whether or not earlier ones are answered."""
    rig = await context.rig()
    seconds = context.seconds(0.5, 1.6)
    asked, probe = traffic.gemini(traffic.FAST, stream=True), traffic.gemini(traffic.ONCE, stream=True)

    def subject(server: Server) -> Subject:
        return rig.streaming(server, asked, traffic.FAST, _STREAMS, seconds, probe)

    subjects = {bars.DIRECT: subject(rig.undisturbed())}
    if rig.nginx is not None:
        subjects[bars.NGINX] = subject(rig.behind_nginx())
    subjects[bars.OURS] = subject(rig.ours())
    contest = Contest(
        "first_byte_32",
        f"a stream's first byte while {_STREAMS} others send a chunk a millisecond each",
        PROBE_METRICS,
        subjects,
        bars.DIRECT if rig.nginx is None else bars.NGINX,
        bars.of("first_byte_32"),
        ["asked every 10 ms on kept connections, an open loop: time counts from when a request was due"],
    )
    return [await contest.run(context.rounds(2, 16))]
