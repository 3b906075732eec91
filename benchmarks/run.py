"""`python -m benchmarks.run [--quick] [SUITE ...]`: run the suites, print their tables, write benchmarks/results/latest.json.

It measures the working tree with the interpreter it runs in. A suite whose peer is not there is named as absent; one that cannot be measured says why, and
the run ends with code 1. Nothing is installed here: `benchmarks.prepare` does that.
"""

import argparse
import asyncio
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import uvloop

from benchmarks import chart, machine, prepare, report
from benchmarks.harness import Outcome
from benchmarks.home import BenchError
from benchmarks.load import LoadError
from benchmarks.suites import (
    Absent,
    Context,
    cold_cli,
    day,
    file_to_lease,
    first_byte,
    idle_daemon,
    idle_streams,
    image,
    large,
    lease_socket,
    litellm,
    no_lease,
    one_post,
    proxy_pass,
    start,
    streams,
    tls,
    translated,
    translated_streams,
    usage,
    workers,
)

Result = TypeVar("Result")

SUITES: dict[str, Callable[[Context], Awaitable[list[Outcome]]]] = {
    "proxy_pass": proxy_pass.run,
    "tls": tls.run,
    "large": large.run,
    "workers": workers.run,
    "streams": streams.run,
    "first_byte": first_byte.run,
    "translated": translated.run,
    "translated_streams": translated_streams.run,
    "litellm": litellm.run,
    "image": image.run,
    "idle_streams": idle_streams.run,
    "usage": usage.run,
    "no_lease": no_lease.run,
    "lease_socket": lease_socket.run,
    "cold_cli": cold_cli.run,
    "file_to_lease": file_to_lease.run,
    "one_post": one_post.run,
    "start": start.run,
    "idle_daemon": idle_daemon.run,
    "day": day.run,
}

_LISTEN_SECONDS = 0.5
_QUIET_CORES = 0.1
_LATEST = Path(__file__).parent / "results" / "latest.json"
ON = "on while measured, as by default: key check, host check, account choice, usage counting with its database, request ids, metrics, the log"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    given = _parse(arguments)
    if given.render:
        render(given.output)
        return 0
    context = Context(given.quick, prepare.found())
    machine.raise_file_limit()
    before = machine.busy_cores(_LISTEN_SECONDS)
    facts = {**machine.facts(), **prepare.versions(), "busy_cores_before": round(before, 2)}
    about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "quick": given.quick, "machine": facts}
    _say("  ".join(f"{key}: {value}" for key, value in facts.items()))
    there = [name for name, path in context.peers.items() if path is not None]
    absent = [name for name in context.peers if name not in there]
    _say(f"peers: {', '.join(there) or 'none'}; absent: {', '.join(absent) or 'none'}\n{ON}\n")
    began = time.perf_counter()
    outcomes, absences, failures = _suites(given.suites or list(SUITES), context)
    after = machine.busy_cores(_LISTEN_SECONDS)
    facts["busy_cores_after"] = round(after, 2)
    if max(before, after) > _QUIET_CORES:
        _say(
            f"OTHER WORK ran meanwhile ({before:.2f} cores busy before, {after:.2f} after): mistrust rates, p99 and wall times\n"
        )
    made = report.document(outcomes, failures, {**about, "peers_absent": absent, "suites_absent": absences})
    _write(given.output, made)
    _say(report.summary(outcomes))
    _say(f"{time.perf_counter() - began:.0f} s; every measurement is in {given.output}, tables and a chart beside it")
    return 1 if failures else 0


def _suites(names: Sequence[str], context: Context) -> tuple[list[Outcome], dict[str, str], dict[str, str]]:
    """Run suites; return what they measured, which were absent, and which failed."""
    outcomes: list[Outcome] = []
    absences: dict[str, str] = {}
    failures: dict[str, str] = {}
    for name in names:
        began = time.perf_counter()
        try:
            found = _run(SUITES[name](context))
        except Absent as reason:
            absences[name] = str(reason)
            _say(f"{name}: absent: {reason}\n")
        except (BenchError, LoadError) as error:
            failures[name] = str(error)
        except Exception:  # noqa: BLE001 - the other suites are still worth running
            failures[name] = traceback.format_exc()
        else:
            outcomes += found
            _say("\n\n".join(report.table(outcome) for outcome in found))
            _say(f"  {name}: {time.perf_counter() - began:.1f} s\n")
        if name in failures:
            _say(f"{name}: FAILED: {failures[name]}\n")
    _run(context.close())
    return outcomes, absences, failures


def _run(work: Awaitable[Result]) -> Result:
    async def awaited() -> Result:
        return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(awaited())


def _write(output: Path, made: Mapping[str, object]) -> None:
    """Write the run as JSON, its tables as Markdown and its chart as SVG beside each other."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(made, indent=1) + "\n")
    render(output)


def render(results: Path) -> None:
    """Write the tables and the chart of a run that was written as JSON."""
    made = report.read(json.loads(results.read_text()))
    results.with_suffix(".md").write_text(report.markdown(made))
    results.with_suffix(".svg").write_text(chart.svg(chart.panels(made)))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Ratios to references of the same run."
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"any of {', '.join(SUITES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="about a minute instead of ten")
    parser.add_argument("--output", type=Path, default=_LATEST, help="where the JSON goes")
    parser.add_argument(
        "--render", action="store_true", help="measure nothing: write tables and chart of what --output holds"
    )
    given = parser.parse_args(arguments)
    unknown = [name for name in given.suites if name not in SUITES]
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}")
    return given


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
