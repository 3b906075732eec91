"""Ctrl-C at a real terminal, in the middle of a login: nothing is left behind."""

import asyncio
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from broker.cli.demo.stage import Stage
from broker.system import SystemClock
from tests.system.conftest import staged

_WAIT_SECONDS = 60.0


@dataclass
class Terminal:
    """A program on a terminal of its own, as wide as most."""

    process: "subprocess.Popen[bytes]"
    master: int
    seen: str = ""

    async def until(self, pattern: str) -> re.Match[str]:
        """Read what the program shows until `pattern` is there."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while not (found := re.search(pattern, self.seen)):
                try:
                    self.seen += os.read(self.master, 1 << 16).decode(errors="replace")
                except BlockingIOError:
                    await asyncio.sleep(0.02)
        return found

    async def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        os.write(self.master, b"\x03")
        return await asyncio.to_thread(self.process.wait, _WAIT_SECONDS)


@contextmanager
def terminal(stage: Stage, *arguments: str, **more: str) -> Iterator[Terminal]:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    os.set_blocking(master, False)
    process = subprocess.Popen(
        [sys.executable, "-m", "broker", *arguments],
        env=stage.env | {"PYTHONIOENCODING": "utf-8"} | more, cwd=stage.home, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        # Ctrl-C is the terminal's, and goes to whoever is in front.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def callback_port(shown: Terminal) -> int:
    found = await shown.until(r"redirect_uri=(http[^&\s]+)")
    await shown.until("Waiting for you")
    port = int(unquote(found[1]).rpartition(":")[2].split("/")[0])
    assert listens(port)
    return port


async def test_a_running_daemon_ends_the_login_and_frees_its_port() -> None:
    async with staged(proxy=False, logged_in=False) as stage:
        with terminal(stage, "login", "gemini", "--no-browser") as shown:
            port = await callback_port(shown)
            assert await shown.interrupt() == 130
        assert not listens(port)
        assert "Traceback" not in shown.seen
        log = (stage.home / "serve.log").read_text()
        assert log.count("login started") == log.count("login ended") == 1
        assert not list(stage.auth_dir.glob("*.json"))
        async with stage.client() as client:
            assert (await client.health()).status == "ok"


async def test_a_device_login_stops_asking_the_provider() -> None:
    async with staged(proxy=False, logged_in=False) as stage:
        with terminal(stage, "login", "sandbox", "--device", "--no-browser") as shown:
            await shown.until("Waiting for you to approve")
            # As a person sees it: large, and for a phone.
            assert "\x1b[38;5;16;48;5;231m" in shown.seen
            assert "█████" in shown.seen
            assert await shown.interrupt() == 130
        log = (stage.home / "serve.log").read_text()
        assert log.count("login started") == log.count("login ended") == 1


@asynccontextmanager
async def without_a_daemon() -> AsyncIterator[Stage]:
    stage = Stage.build(SystemClock())
    try:
        await stage.start_sandbox(3600.0, onboarded=True)
        yield stage
    finally:
        await stage.close()


async def test_the_daemon_of_one_login_ends_with_it() -> None:
    async with without_a_daemon() as stage:
        short = stage.home / "tmp"
        short.mkdir()
        with terminal(stage, "login", "gemini", "--no-browser", TMPDIR=str(short)) as shown:
            port = await callback_port(shown)
            assert list(short.iterdir())
            assert await shown.interrupt() == 130
        assert not listens(port)
        assert not list(short.iterdir())
        assert "Traceback" not in shown.seen


async def test_who_holds_a_taken_port_is_told() -> None:
    """The port is somebody else's: the message names it, and the login goes on with what is pasted, until its time is over."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        async with without_a_daemon() as stage:
            text = stage.config_file.read_text()
            stage.config_file.write_text(text.replace("redirect_port = 0", f"redirect_port = {port}", 1))
            code, said = await stage.run("login", "gemini", "--no-browser", "--timeout", "2")
    assert code == 6
    assert f"port {port} on loopback is taken by " in said
    assert f"(pid {os.getpid()})" in said
