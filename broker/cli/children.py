"""What every child process of ours needs: its command line, its environment, and a pipe that tells it when we are gone.

Owns: those three. It must never start anything: `broker.cli.supervise` and `broker.cli.temporary` do, each in its own way.
"""

import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def command(name: str, pipe: int) -> list[str]:
    """Return the command line of `ccs-broker NAME` with this interpreter, which ends when `pipe` does."""
    # -P: a folder called "broker" where the user happens to stand must not be imported.
    return [sys.executable, "-P", "-m", "broker", name, "--until-eof", str(pipe)]


def environment(notify: Path, **more: str) -> dict[str, str]:
    """Return our environment for a child that reports to `notify`; sockets a manager passed to us are not the child's."""
    passed = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
    return {**passed, "NOTIFY_SOCKET": str(notify), **more}


@contextmanager
def lifeline() -> Generator[int]:
    """Open a pipe; its reading end, for children to inherit, ends when this process does, however it does."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def ready_socket(address: Path) -> Generator[socket.socket]:
    """Listen for a child's sd_notify messages, without blocking."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(os.fspath(address))
        listener.setblocking(False)
        yield listener


def readiness(listener: socket.socket) -> str | None:
    """Return the status line of the next message if that says `READY=1`; None where there is no message or it says something else."""
    try:
        lines = listener.recv(4096).decode(errors="replace").splitlines()
    except BlockingIOError:
        return None
    fields = dict(line.partition("=")[::2] for line in lines)
    return fields.get("STATUS", "") if fields.get("READY") == "1" else None
