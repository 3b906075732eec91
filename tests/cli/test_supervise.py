import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.cli.supervise import exit_after

SECONDS = 30


class Up:
    """`ccs-broker up` as a process of its own, with what it says on stderr."""

    def __init__(self, home: Path, config: str) -> None:
        (home / "config.toml").write_text(config)
        environ = {"PATH": os.environ["PATH"], "HOME": str(home), "CCS_BROKER_CONFIG": str(home / "config.toml")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "broker", "up"],
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        assert self.process.stderr is not None
        watchdog = threading.Timer(SECONDS, self.process.kill)
        watchdog.start()
        try:
            for line in self.process.stderr:
                self.lines.append(line)
                if found := re.search(pattern, line):
                    return found
        finally:
            watchdog.cancel()
        raise AssertionError(f"{pattern!r} was never said, but {''.join(self.lines)}")

    def children(self) -> dict[str, int]:
        """The process ids of the two, by command."""
        found = {}
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in map(int, listed):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found[words[4].decode()] = pid
        return found

    def ended(self) -> int:
        return self.process.wait(SECONDS)


@contextmanager
def up(home: Path, config: str = "[proxy]\nport = 0\n") -> Iterator[Up]:
    made = Up(home, config)
    try:
        yield made
    finally:
        made.process.kill()
        assert made.process.stderr is not None
        made.process.wait()
        made.process.stderr.close()


def gone(pid: int) -> bool:
    """Wait for a process that is not our child to be gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], SECONDS)[0])
    finally:
        os.close(pidfd)


def test_both_serve_and_ctrl_c_stops_both(home: Path) -> None:
    with up(home) as running:
        url = running.until(r"Ready: serving (http://127\.0\.0\.1:[1-9]\d*)\. Ctrl-C stops\.")[1]
        with urllib.request.urlopen(f"{url}/health", timeout=SECONDS) as answer:
            assert answer.status == 200
        pids = running.children()
        assert set(pids) == {"serve", "proxy"}
        running.process.send_signal(signal.SIGHUP)
        for _ in pids:
            running.until("settings reloaded changed=nothing")
        (home / "config.toml").write_text('[proxy]\nport = 0\nallowed_hosts = ["box.test"]\n')
        for _ in pids:
            running.until(r"settings reloaded changed=proxy\.allowed_hosts")
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/health", headers={"Host": "box.test"}), timeout=SECONDS
        ) as answer:
            assert answer.status == 200
        running.process.send_signal(signal.SIGINT)
        assert running.ended() == 0
        assert not [pid for pid in pids.values() if Path(f"/proc/{pid}").exists()]


def test_one_that_dies_is_told_and_stops_the_other(home: Path) -> None:
    with up(home) as running:
        running.until("Ready:")
        pids = running.children()
        os.kill(pids["serve"], signal.SIGKILL)
        running.until(r"The daemon was ended by SIGKILL; stopping\.")
        assert running.ended() == 1
        assert not Path(f"/proc/{pids['proxy']}").exists()


def test_nothing_outlives_a_killed_up(home: Path) -> None:
    with up(home) as running:
        running.until("Ready:")
        pids = running.children()
        running.process.kill()
        for pid in pids.values():
            assert gone(pid)


def test_a_proxy_that_cannot_start_stops_the_daemon(home: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        up(home, f"[proxy]\nport = {taken.getsockname()[1]}\n") as running,
    ):
        running.until(r"The proxy ended with code \d; stopping\.")
        assert running.ended() != 0
        assert not list((home / ".local/state/ccs-broker/run").glob("*.sock"))


def test_codes_of_ours_are_passed_on() -> None:
    assert [exit_after(status) for status in (0, 2, 4, 77, -9)] == [1, 2, 4, 1, 1]
