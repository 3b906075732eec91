"""One process of the demo.

Owns: starting it so that it can outlive us. asyncio's own subprocesses cannot (from Python 3.12 on they are killed when their transports are collected), and
`ccs-broker demo --keep` must leave them running.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Child:
    """A running `ccs-broker COMMAND`. Its methods are those of asyncio's processes."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls, arguments: Sequence[str], env: Mapping[str, str], folder: Path, log: BinaryIO, *, piped: bool
    ) -> "Child":
        """Start it in `folder`, writing to `log`; `piped` keeps its stdout for `first_line`."""
        # A session of its own: Ctrl-C on the terminal reaches the demo, which then stops the others in order.
        return cls(
            subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "broker", *arguments], env=env, cwd=folder, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if piped else log, stderr=log,
            )
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()

    def terminate(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.process.kill()

    async def wait(self) -> int:
        """Wait for its end; return its exit code."""
        return await asyncio.to_thread(self.process.wait)

    async def first_line(self) -> bytes:
        """Return the first line of its stdout; empty where it ended without one."""
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            return await asyncio.to_thread(stdout.readline)
