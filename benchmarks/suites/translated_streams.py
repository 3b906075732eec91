"""Streams translated to OpenAI's chunks, from Gemini and from Claude, beside the proxy's own pass-through: what a chunk costs."""

from benchmarks import bars, traffic
from benchmarks.harness import Contest, Outcome, Subject
from benchmarks.loaded import STREAM_METRICS, Server
from benchmarks.suites import Context
from benchmarks.suites.streams import NOTES, with_added

_STREAMS = 16  # few enough that a translated chunk goes out before the next one is there: chunks that are taken together cost less


async def run(context: Context) -> list[Outcome]:
    """Measure 16 streams with a chunk a millisecond each."""
    rig = await context.rig()
    seconds = context.seconds(0.4, 1.6)

    def subject(server: Server, asked: bytes) -> Subject:
        return rig.streaming(server, asked, traffic.FAST, _STREAMS, seconds)

    asked = traffic.gemini(traffic.FAST, stream=True)
    subjects = {bars.DIRECT: subject(rig.undisturbed(), asked)}
    if rig.nginx is not None:
        subjects[bars.NGINX] = subject(rig.behind_nginx(), asked)
    subjects |= {
        bars.OURS: subject(rig.ours(), asked),
        bars.TO_GEMINI: subject(rig.ours(), traffic.openai(f"gemini-{traffic.FAST}", stream=True)),
        bars.TO_CLAUDE: subject(rig.ours(), traffic.openai(f"claude-{traffic.FAST}", stream=True)),
    }
    contest = Contest(
        "translated_streams_16",
        f"{_STREAMS} streams translated, a chunk a millisecond each; {bars.OURS} is the pass-through",
        STREAM_METRICS,
        subjects,
        bars.OURS,
        bars.of("translated_streams_16"),
        list(NOTES),
    )
    return [with_added(await contest.run(context.rounds(2, 4)))]
