"""Completion as a shell asks for it: the real program, told by its environment what has been typed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broker.ipc.schema import AccountList, Health, ProviderView
from tests.cli.conftest import views
from tests.fakes.socket_desk import SocketDesk

HEALTH = Health(
    status="ok", version="0.1.0", pid=7, uptime=1.0, accounts={},
    providers=tuple(ProviderView(name=name, title=name, flows=()) for name in ("claude", "codex", "gemini")),
)  # fmt: skip


def completed(*words: str, incomplete: str = "") -> list[str]:
    """What the shell offers after `ccs-broker WORDS... INCOMPLETE<tab>`."""
    typed = " ".join(("ccs-broker", *words, incomplete))
    environ = {
        **os.environ,
        "_CCS_BROKER_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) + 1),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "broker"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stderr == ""
    return [line.removeprefix("plain,") for line in ended.stdout.split()]


@pytest.mark.parametrize(
    "command", ["token", "refresh", "pause", "resume", "clear-cooldown", "default", "rename", "logout", "quota"]
)
def test_accounts_are_offered(desk: SocketDesk, command: str) -> None:
    desk.replies["GET /v1/accounts"] = AccountList(views())
    assert completed(command, incomplete="gemini/b") == ["gemini/bob@example.com"]
    assert completed(command) == ["gemini", "gemini/alice@example.com", "gemini/bob@example.com", "own", "own/key"]


def test_providers_are_offered_for_a_login(desk: SocketDesk) -> None:
    desk.replies["GET /v1/health"] = HEALTH
    assert completed("login", incomplete="c") == ["claude", "codex"]


def test_without_a_daemon_nothing_is_offered_and_nothing_said(home: Path) -> None:
    assert completed("pause") == []
    assert completed("login") == []


def test_an_answer_that_makes_no_sense_offers_nothing(desk: SocketDesk) -> None:
    for answer in ({"accounts": 3}, {"accounts": [3, {}, {"account": 4}, {"account": "a/\n"}]}):
        desk.replies["GET /v1/accounts"] = answer
        assert completed("pause") == []


BASH = shutil.which("bash")


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ccs-broker pause gemini/", ["gemini/alice@example.com", "gemini/bob@example.com"]),
        ("ccs-broker pause gemini/al", ["gemini/alice@example.com"]),
        ("ccs-broker pause gemini/alice@", ["@example.com"]),  # bash holds what is before the @ for another word
        ("ccs-broker pause gemini/alice@ex", ["@example.com"]),
        ("ccs-broker pause --json own/", ["own/key"]),
        ("ccs-broker refr", ["refresh"]),
        ("ccs-broker pause nobody", []),
    ],
)
def test_in_a_real_bash(desk: SocketDesk, tmp_path: Path, line: str, offered: list[str]) -> None:
    """The script as it is printed, run as bash runs it when Tab is pressed at the end of `line`."""
    desk.replies["GET /v1/accounts"] = AccountList(views())
    program = tmp_path / "ccs-broker"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m broker "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(ccs-broker completion bash)"\n'
        'COMP_LINE=$1 COMP_POINT=${#1}\n_ccs_broker_completion ccs-broker\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [str(BASH), "--norc", "-c", script, "bash", line],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    assert ended.stdout.split() == offered


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("soon", "'soon' is no number"),
        ("nan", "nan is not between"),
        ("-1", "-1 is not between"),
        ("inf", "inf is not"),
    ],
)
def test_a_duration_that_cannot_be_is_refused(run, given: str, why: str) -> None:  # type: ignore[no-untyped-def]
    for command in (("refresh", "gemini", "--max-wait"), ("login", "gemini", "--timeout")):
        ended = run(*command, given)
        assert ended.code == 2
        assert why in ended.err


def test_help_tells_the_unit_and_the_default_of_a_duration(run) -> None:  # type: ignore[no-untyped-def]
    text = run("login", "--help").out
    assert "--timeout SECONDS" in text
    assert "x<=" not in text
