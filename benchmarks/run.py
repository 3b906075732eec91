"""`python -m benchmarks.run [--quick] [SUITE ...]`: run the suites, print their tables, write benchmarks/results/latest.json.

It measures the working tree with the interpreter it runs in; a suite that cannot be measured says why, and the run ends with code 1.
"""

import argparse
import asyncio
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from benchmarks import machine, peers, report
from benchmarks.harness import Outcome
from benchmarks.home import BenchError
from benchmarks.load import LoadError
from benchmarks.suites import Context, cold_cli, file_to_lease, lease_socket, one_post, proxy_pass, start

SUITES: dict[str, Callable[[Context], Awaitable[list[Outcome]]]] = {
    "cold_cli": cold_cli.run,
    "lease_socket": lease_socket.run,
    "proxy_pass": proxy_pass.run,
    "file_to_lease": file_to_lease.run,
    "one_post": one_post.run,
    "start": start.run,
}

_LISTEN_SECONDS = 0.5
_QUIET_CORES = 0.1
_LATEST = Path(__file__).parent / "results" / "latest.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    given = _parse(arguments)
    context = Context(given.quick, peers.found())
    before = machine.busy_cores(_LISTEN_SECONDS)
    facts = {**machine.facts(), "busy_cores_before": round(before, 2)}
    about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "quick": given.quick, "machine": facts}
    _say("  ".join(f"{key}: {value}" for key, value in facts.items()))
    absent = [name for name, path in context.peers.items() if path is None]
    _say(
        f"peers: {', '.join(n for n, p in context.peers.items() if p) or 'none'}; absent: {', '.join(absent) or 'none'}\n"
    )
    outcomes: list[Outcome] = []
    failures: dict[str, str] = {}
    began = time.perf_counter()
    for name in given.suites or SUITES:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(_awaited(SUITES[name](context)))
        except (BenchError, LoadError) as error:
            failures[name] = str(error)
        except Exception:  # noqa: BLE001 - the other suites are still worth running
            failures[name] = traceback.format_exc()
        else:
            outcomes += found
            _say("\n\n".join(report.table(outcome) for outcome in found) + "\n")
        if name in failures:
            _say(f"{name}: FAILED: {failures[name]}\n")
    after = machine.busy_cores(_LISTEN_SECONDS)
    facts["busy_cores_after"] = round(after, 2)
    if max(before, after) > _QUIET_CORES:
        _say(
            f"OTHER WORK ran meanwhile ({before:.2f} cores busy before, {after:.2f} after): mistrust rates, p99 and wall times\n"
        )
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(
        json.dumps(report.document(outcomes, failures, {**about, "peers_absent": absent}), indent=1)
    )
    _say(f"{time.perf_counter() - began:.0f} s; every measurement is in {given.output}")
    return 1 if failures else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Ratios to references of the same run."
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"any of {', '.join(SUITES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="about a minute instead of three")
    parser.add_argument("--output", type=Path, default=_LATEST, help="where the JSON goes")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.suites if name not in SUITES]
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}")
    return given


async def _awaited(work: Awaitable[list[Outcome]]) -> list[Outcome]:
    return await work


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
