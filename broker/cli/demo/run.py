"""Running the demo: the steps in order, each with its time, and the closing table.

Owns: what the demo prints. It must always stop what it started, also on Ctrl-C, unless it was told to keep it.
"""

import asyncio
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.cli.demo.stage import DemoFailedError, Stage
from broker.cli.demo.steps import STEPS, Step
from broker.cli.exits import Exit
from broker.config import INTERNAL_KEY
from broker.model.errors import BrokerError
from broker.system import SystemClock


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended. `seconds` is how long it took."""

    title: str
    ok: bool
    said: str
    seconds: float


def run(*, keep: bool) -> int:
    """Run the demo; return the exit code. `keep` leaves everything running and says how to use it."""
    console = Console(highlight=False)
    try:
        return asyncio.run(_run(console, keep=keep))
    except KeyboardInterrupt:
        console.print("stopped; everything the demo started is stopped too")
        return Exit.FAILURE


async def _run(console: Console, *, keep: bool) -> int:
    stage = Stage.build(SystemClock())
    outcomes: list[Outcome] = []
    left_running = False
    try:
        console.print(f"ccs-broker demo, in {stage.home}\n")
        for step in STEPS:
            outcome = await _take(stage, step, console)
            outcomes.append(outcome)
            if not outcome.ok:
                console.print(Text(stage.tail(), style="dim"))
                break
        console.print(_table(outcomes))
        good = len(outcomes) == len(STEPS) and all(outcome.ok for outcome in outcomes)
        left_running = keep and good
        if left_running:
            console.print(Text(_usage(stage)), soft_wrap=True)
        return Exit.OK if good else Exit.FAILURE
    finally:
        if not left_running:
            await stage.close()


async def _take(stage: Stage, step: Step, console: Console) -> Outcome:
    began = stage.clock.now().boot
    with console.status(step.title) as status:
        try:
            said = await step.act(stage, lambda text: status.update(f"{step.title}: {text}"))
            ok = True
        except (DemoFailedError, BrokerError, OSError, TimeoutError) as error:
            said, ok = str(error) or type(error).__name__, False
    outcome = Outcome(step.title, ok, said, stage.clock.now().boot - began)
    mark = Text("ok", style="green") if ok else Text("failed", style="bold red")
    line = Table.grid(padding=(0, 2, 0, 0))
    for width in (6, 8, 22):
        line.add_column(width=width)
    line.add_column(ratio=1, overflow="fold")
    line.add_row(mark, Text(f"{outcome.seconds:.2f} s", justify="right"), Text(step.title, style="bold"), Text(said))
    console.print(line)
    return outcome


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="\nWhat was shown", title_justify="left", show_edge=False)
    table.add_column("step")
    table.add_column("result")
    table.add_column("seconds", justify="right")
    for outcome in outcomes:
        result = Text("ok", style="green") if outcome.ok else Text("failed", style="bold red")
        table.add_row(Text(outcome.title), result, f"{outcome.seconds:.2f}")
    table.add_section()
    passed = sum(outcome.ok for outcome in outcomes)
    table.add_row(Text(f"{passed} of {len(STEPS)} steps"), "", f"{sum(outcome.seconds for outcome in outcomes):.2f}")
    return table


def _usage(stage: Stage) -> str:
    env = " ".join(f"{name}={value}" for name, value in stage.places.items())
    pids = " ".join(str(process.pid) for process in stage.processes.values())
    question = '{"model":"gemini-2.5-flash","messages":[{"role":"user","content":"hello"}]}'
    return (
        "\nStill running. Try:\n"
        f"  curl {stage.proxy_url}/v1/chat/completions -H 'Authorization: Bearer {INTERNAL_KEY}' -d '{question}'\n"
        f"  curl --unix-socket {stage.token_socket} http://ccs-broker/v1/accounts\n"
        f"  env {env} {_program()} status\n"
        f"  xdg-open {stage.proxy_url}/docs\n"
        f"Stop it with:\n  kill {pids}; sleep 2; rm -r {stage.home}"
    )


def _program() -> str:
    # Started by `make demo` it is in .venv, where no shell looks.
    started = Path(sys.argv[0]).absolute()
    if started.name == "__main__.py":
        return f"{sys.executable} -m broker"
    found = shutil.which(started.name)
    return started.name if found and Path(found).samefile(started) else str(started)
