import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli import hangup


def told(monkeypatch: pytest.MonkeyPatch, terminal: Path, *, gone: bool) -> list[str]:
    monkeypatch.setattr(hangup, "_TERMINAL", str(terminal))
    said: list[str] = []
    handle = hangup.handler(lambda: said.append("reload"), lambda: said.append("end"))
    if gone:
        terminal.unlink()
    handle()
    return said


def test_without_a_terminal_it_is_a_request_to_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, tmp_path / "none", gone=False) == ["reload"]


@pytest.mark.parametrize(("gone", "does"), [(False, "reload"), (True, "end")])
def test_with_a_terminal_its_end_is_the_program_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool, does: str
) -> None:
    (tmp_path / "tty").touch()
    assert told(monkeypatch, tmp_path / "tty", gone=gone) == [does]


# A session leader's first terminal becomes its controlling one.
PROGRAM = """
import os, signal, sys
terminal = os.open(sys.argv[1], os.O_RDWR)
from broker.cli import hangup
act = hangup.handler(lambda: sys.exit(3), lambda: sys.exit(4))
signal.signal(signal.SIGHUP, lambda *_: act())
print("on", flush=True)
signal.pause()
"""


@pytest.mark.parametrize(("closed", "code"), [(False, 3), (True, 4)])
def test_a_real_terminal_that_closes_ends_the_program_and_a_signal_reloads(closed: bool, code: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, os.ttyname(theirs)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        os.close(theirs)
        if closed:
            os.close(ours)
        else:
            process.send_signal(signal.SIGHUP)
        assert process.wait(20) == code
    if not closed:
        os.close(ours)
