"""Streams through the proxy untouched: what is added to the delay of a chunk, and what a chunk costs."""

from benchmarks import bars, traffic
from benchmarks.harness import Contest, Outcome, Subject, over
from benchmarks.loaded import STREAM_METRICS
from benchmarks.rig import Rig
from benchmarks.suites import Context

LEAST_ADDED = 0.1
"""A server that adds less than a tenth of the time that the way takes without it is taken to add that much: less cannot be told."""

NOTES = (
    "a chunk's delay counts from the moment the upstream writes it, or should have where it was held up; `added` is over `direct` in the same round",
    "it ends when the kernel has taken it in for the client (SO_TIMESTAMPNS), who reads four times a millisecond",
    "`direct` has the upstream on the generator's core, where it is when something stands between",
    "`delivered` below 1: the chunks do not get through at the pace they are made",
)
_STREAMS = 64


async def run(context: Context) -> list[Outcome]:
    """Measure 64 streams with a chunk a millisecond each, and as many with a chunk every ten."""
    rig = await context.rig()
    # Others take the core for milliseconds once or twice a second, and who is hit when is chance: a p99 of one round is of little
    # worth whatever its length, and many short rounds, the subjects close behind each other, tell more than few long ones.
    seconds = context.seconds(0.5, 1.2)
    outcomes = [await _contest(rig, "streams_64", traffic.FAST, seconds, context.rounds(2, 24))]
    if not context.quick:
        outcomes.append(await _contest(rig, "streams_64_paced", traffic.PACED, 1.6, 4))
    return outcomes


async def _contest(rig: Rig, name: str, model: str, seconds: float, rounds: int) -> Outcome:
    asked = traffic.gemini(model, stream=True)
    subjects: dict[str, Subject] = {bars.DIRECT: rig.streaming(rig.undisturbed(), asked, model, _STREAMS, seconds)}
    if rig.nginx is not None:
        subjects[bars.NGINX] = rig.streaming(rig.behind_nginx(), asked, model, _STREAMS, seconds)
    subjects[bars.OURS] = rig.streaming(rig.ours(), asked, model, _STREAMS, seconds)
    contest = Contest(
        name,
        f"{_STREAMS} streams, a chunk every {traffic.INTERVALS[model] * 1e3:g} ms each",
        STREAM_METRICS,
        subjects,
        bars.DIRECT if rig.nginx is None else bars.NGINX,
        bars.of(name),
        list(NOTES),
    )
    return with_added(await contest.run(rounds))


def with_added(outcome: Outcome) -> Outcome:
    """Add what each subject adds to a chunk's delay."""
    for metric in ("p50", "p99"):
        outcome = over(outcome, metric, bars.DIRECT, f"added {metric}", LEAST_ADDED)
    return outcome
