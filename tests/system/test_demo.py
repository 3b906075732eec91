"""`ccs-broker demo` itself: every step it shows is a promise."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from broker.cli.demo.steps import STEPS


async def test_the_demo_shows_every_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "200"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "broker", "demo", env=env, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    written, _ = await asyncio.wait_for(process.communicate(), 100)
    text = written.decode()
    assert process.returncode == 0, text
    assert len(re.findall(r"^ok ", text, re.MULTILINE)) == len(STEPS), text
    assert "200 concurrent leases, 1 refresh POST" in text
    assert not list(tmp_path.iterdir())


KEEPING = """
import gc, sys
from broker.cli.demo import run, steps
run.STEPS = steps.STEPS[:3]
sys.argv = [sys.argv[1], "demo", "--keep"]
code = run.run(keep=True)
gc.collect()  # what the interpreter does sooner or later must end nobody
sys.exit(code)
"""


def shell(line: str) -> str:
    ran = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


async def test_what_is_kept_goes_on_running_and_is_used_and_stopped_as_the_demo_says(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("ccs-broker")
    env = {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "200", "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, "-c", KEEPING, str(program)], env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    said = [line.strip() for line in run.stdout.splitlines()]
    stop = next(line for line in said if line.startswith("kill "))
    pids = [int(pid) for pid in re.findall(r"\d+", stop.partition(";")[0])]
    try:
        status = next(line for line in said if line.startswith("env "))
        assert f" {program} status" in status
        assert json.loads(shell(f"{status} --json"))["health"]["status"] == "ok"
        assert json.loads(shell(next(line for line in said if "--unix-socket" in line))) == {"accounts": []}
        assert len(pids) == 3
    finally:
        shell(stop.replace("sleep 2; rm -r", "ls -d"))  # a busy machine may need longer
    async with asyncio.timeout(60):
        while any(running(pid) for pid in pids):
            await asyncio.sleep(0.05)


def running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")
