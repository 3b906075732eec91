"""`ccs-broker demo` itself: every step it shows is a promise."""

import asyncio
import os
import re
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
