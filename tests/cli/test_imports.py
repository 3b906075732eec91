"""`import`: what the daemon is asked, and what a person is asked first."""

import io
import json
from pathlib import Path

import pytest

from broker.ipc.schema import Health, ImportAnswer, ImportedLogin
from broker.providers.native.table import variables
from tests.fakes.socket_desk import SocketDesk

LOGIN = ImportedLogin(
    tool="claude-code", title="Claude Code", path="/home/ann/.claude/.credentials.json", provider="claude", action="added",
    account="claude/ann@example.com", linkable=True, rotates=True,
)  # fmt: skip
HEALTH = Health(status="ok", version="0.1.0", pid=7, uptime=61.0, accounts={})


@pytest.fixture
def importing(desk: SocketDesk, monkeypatch: pytest.MonkeyPatch) -> SocketDesk:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    desk.replies |= {
        "GET /v1/health": HEALTH,
        "POST /v1/import": ImportAnswer(adopted=("claude/ann@example.com",), logins=(LOGIN,)),
    }
    return desk


def asked(desk: SocketDesk) -> list[dict[str, object]]:
    bodies = [each.body for each in desk.asked if each.target == "/v1/import"]
    return [dict(body) for body in bodies if isinstance(body, dict)]


class Terminal(io.StringIO):
    """Where a person types."""

    def isatty(self) -> bool:
        return True


def keyboard(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))


def test_a_script_gets_copies_of_everything(importing: SocketDesk, run) -> None:
    ended = run("import")
    assert (ended.code, ended.err) == (0, "")
    assert "claude/ann@example.com" in ended.out
    assert asked(importing) == [{"tool": "all", "mode": None, "path": None, "dry_run": False, "variables": {}}]


def test_everything_that_can_be_said(importing: SocketDesk, run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_HOME", "/elsewhere")
    ended = run("import", "codex", "--linked", "--dry-run", "--file", "auth.json", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["logins"][0]["tool"] == "claude-code"
    assert asked(importing) == [
        {"tool": "codex", "mode": "linked", "path": str(home / "auth.json"), "dry_run": True, "variables": {"CODEX_HOME": "/elsewhere"}}
    ]  # fmt: skip
    run("import", "codex", "--copy")
    assert asked(importing)[1]["mode"] == "copy"


@pytest.mark.parametrize(("typed", "mode"), [("\n", "linked"), ("copy\n", "copy"), ("what\nlinked\n", "linked")])
def test_a_person_chooses(importing: SocketDesk, run, monkeypatch: pytest.MonkeyPatch, typed: str, mode: str) -> None:
    keyboard(monkeypatch, typed)
    ended = run("import", "claude-code")
    assert ended.code == 0
    assert "recommended" in ended.err
    assert "have to log in again" in ended.err
    assert [(each["dry_run"], each["mode"]) for each in asked(importing)] == [(True, None), (False, mode)]


def test_a_person_is_not_asked_where_there_is_no_choice(
    importing: SocketDesk, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyboard(monkeypatch, "")
    importing.replies["POST /v1/import"] = ImportAnswer()
    ended = run("import")
    assert ended.code == 0
    assert "No logins of other programs were found" in ended.out
    assert [(each["dry_run"], each["mode"]) for each in asked(importing)] == [(True, None), (False, None)]


def test_only_one_of_linked_and_copy_counts(importing: SocketDesk, run) -> None:
    run("import", "--linked", "--copy")
    assert asked(importing)[0]["mode"] == "copy"
