import io
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

from broker.cli import output, results
from broker.model.errors import BrokerError, ErrorCode
from tests.cli.conftest import NOW, views

ERROR = BrokerError(
    ErrorCode.UNKNOWN_ACCOUNT, "no such\x1b[2J account", hint="Run: ccs-broker list", account="gemini/a"
)


def test_a_line_goes_to_stdout_and_a_notice_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.line("a")
    output.notice("b")
    assert capsys.readouterr() == ("a\n", "b\n")


def test_a_failure_is_a_sentence_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    output.failure(ERROR, as_json=False)
    assert capsys.readouterr() == ("", "ccs-broker: no such?[2J account (gemini/a)\n  Run: ccs-broker list\n")


def test_a_failure_without_more_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    output.failure(BrokerError(ErrorCode.INTERNAL, "gemini/a fell over", hint="", account="gemini/a"), as_json=False)
    assert capsys.readouterr().err == "ccs-broker: gemini/a fell over\n"


def test_a_failure_for_a_script_is_a_problem_document(capsys: pytest.CaptureFixture[str]) -> None:
    output.failure(ERROR, as_json=True)
    captured = capsys.readouterr()
    problem = json.loads(captured.out)
    assert captured.err == ""
    assert problem["version"] == 1
    assert (problem["type"], problem["status"], problem["code"], problem["retryable"], problem["account"]) == (
        "urn:ccs-broker:unknown_account", 404, "unknown_account", False, "gemini/a",
    )  # fmt: skip


def test_a_table_in_a_pipe_is_wide_and_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    output.show(results.Accounts(views(), NOW), as_json=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "the provider no longer accepts this login. Run: ccs-broker login gemini\n" in out
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.show(results.Accounts(views(), NOW), as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["version"] == 1


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.show(results.Text("a" * 500 + " [b]x[/b]"), as_json=False)
    assert capsys.readouterr().out == "a" * 500 + " [b]x[/b]\n"


def test_an_image_that_failed_is_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.show(results.ImageFailed("blocked", "m"), as_json=False)
    assert capsys.readouterr() == ("", "ccs-broker: blocked\n")


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Put a real terminal in the place of stdout and stderr; yield a function that reads what it was sent."""
    ours, theirs = pty.openpty()
    with monkeypatch.context() as patch, os.fdopen(theirs, "w", encoding="utf-8", buffering=1, newline="") as stream:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        patch.setenv("TERM", "xterm")
        patch.delenv("NO_COLOR", raising=False)
        yield lambda: _sent(ours, stream)
    os.close(ours)


def _sent(ours: int, stream: TextIO) -> str:
    """Return all that the stream was sent: the kernel hands writes over one by one and later, so a mark tells the last."""
    stream.write("\0")
    stream.flush()
    sent = b""
    while not sent.endswith(b"\0"):
        assert select.select([ours], [], [], 30)[0], sent
        sent += os.read(ours, 65536)
    return sent[:-1].decode()


def test_progress_changes_in_place_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown:
        progress = output.Progress()
        progress.show("waiting 10")
        progress.show("short")
        progress.clear()
        progress.clear()
        assert shown() == "\rwaiting 10\rshort     \r     \r"


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown:
        output.show(results.Accounts(views(), NOW), as_json=False)
        assert "\x1b[32mactive" in shown()


def test_progress_is_one_line_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    progress = output.Progress()
    progress.show("waiting 10")
    progress.show("waiting 9")
    progress.clear()
    assert capsys.readouterr().err == "waiting 10\n"


def test_giving_up_on_stdout_leaves_nothing_to_complain_about() -> None:
    code = """
import os, sys
from broker.cli import output
reading, writing = os.pipe()
os.dup2(writing, 1); os.close(writing); os.close(reading)
try:
    sys.stdout.write("nobody reads this")
except BrokenPipeError:  # at once, where output is not buffered
    pass
output.give_up()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_giving_up_on_a_stdout_that_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    output.give_up()
