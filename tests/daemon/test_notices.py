"""Real programs as hook and as desktop: shell scripts in a folder that stands for PATH."""

import asyncio
import json
import logging
import os
import time
from pathlib import Path

import pytest

from broker.config import NotifyConfig
from broker.daemon.notices import Notices, document
from broker.model.account import AccountId, StateName
from broker.refresh.incidents import Incident, Told

ACCOUNT = AccountId("gemini", "alice@example.com")
HINT = "Run: ccs-broker login gemini"


def incident(kind: StateName = StateName.NEEDS_LOGIN, reason: str = "Token has been revoked") -> Incident:
    return Incident(ACCOUNT, Told(kind, "0" * 32), reason, HINT, 1_750_000_000.1234)


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def notices(
    command: tuple[str, ...] = (), *, desktop: bool = False, limit: float = 10.0, env: dict[str, str] | None = None
) -> Notices:
    return Notices(NotifyConfig(command, desktop), {"PATH": os.environ["PATH"], **(env or {})}, limit_seconds=limit)


async def test_the_hook_reads_the_incident_and_gets_its_arguments_as_they_are(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    hook = script(tmp_path, "hook", f'cat > "{seen}"; printf "%s|" "$@" >> "{seen}"')
    await notices((hook, "a b", "$HOME;`id`", "")).tell(incident())
    told, arguments = seen.read_text().split("\n")
    assert json.loads(told) == {
        "account": "gemini/alice@example.com", "provider": "gemini", "state": "needs_login", "reason": "Token has been revoked",
        "hint": HINT, "since": 1_750_000_000.123,
    }  # fmt: skip
    assert arguments == "a b|$HOME;`id`||"


async def test_the_hook_gets_nothing_of_the_daemons_environment_but_what_finds_things(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    hook = script(tmp_path, "hook", f'env > "{seen}"; tr "\\0" "\\n" < /proc/$$/cmdline >> "{seen}"')
    secrets = {"MY_CLIENT_SECRET": "canary-1", "CREDENTIALS_DIRECTORY": "/canary-2", "NOTIFY_SOCKET": "/canary-3"}
    await notices((hook,), env={"HOME": "/home/of/a", "LANG": "C.UTF-8", **secrets}).tell(incident())
    text = seen.read_text()
    assert "HOME=/home/of/a" in text
    assert "canary" not in text
    assert "alice" not in text
    assert "revoked" not in text


def test_what_looks_like_a_token_in_a_reason_is_hidden() -> None:
    said = document(incident(reason="bad refresh_token=fake-refresh-1 \ud800"))
    assert b"fake-refresh-1" not in said
    assert json.loads(said)["hint"] == HINT


@pytest.mark.parametrize(
    ("text", "reason"),
    [("exit 3", "it ended with code 3"), ("kill -9 $$", "it ended with code -9")],
)
async def test_a_hook_that_fails_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, reason: str
) -> None:
    await notices((script(tmp_path, "hook", text),)).tell(incident())
    assert [record.__dict__.get("reason") for record in caplog.records] == [reason]


@pytest.mark.parametrize("command", [("/nowhere/hook",), ("/",)])
async def test_a_hook_that_cannot_be_started_is_logged(
    command: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    await notices(command).tell(incident())
    (record,) = caplog.records
    assert "cannot be started" in str(record.__dict__["reason"])


async def test_a_hook_that_hangs_is_ended_with_all_it_started(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pid = tmp_path / "pid"
    hook = script(tmp_path, "hook", f'sleep 60 & echo $! > "{pid}"; wait')
    began = time.monotonic()
    await notices((hook,), limit=0.5).tell(incident())
    assert time.monotonic() - began < 5
    assert "did not end within 0.5 s" in str(caplog.records[0].__dict__["reason"])
    end = time.monotonic() + 5
    while _alive(int(pid.read_text())):
        assert time.monotonic() < end


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_hook_that_reads_and_writes_as_it_likes_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    hook = script(tmp_path, "hook", "exec < /dev/null; yes canary | head -c 1000000; echo canary >&2")
    await notices((hook,)).tell(incident())
    assert caplog.records == []
    assert "canary" not in "".join(capfd.readouterr())


async def test_the_desktop_notice_names_the_provider_and_never_the_account(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script(tmp_path, "notify-send", f'printf "%s|" "$@" > "{seen}"')
    for kind in (StateName.NEEDS_LOGIN, StateName.UNSAVED, StateName.AMBIGUOUS):
        await notices(desktop=True, env={"PATH": str(tmp_path)}).tell(incident(kind))
        app, dashes, title, text, _ = seen.read_text().split("|")
        assert (app, dashes) == ("--app-name=ccs-broker", "--")
        assert title.startswith("gemini: ")
        assert HINT in text
        assert "alice" not in title + text


async def test_on_a_mac_the_text_is_an_argument_of_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    script(tmp_path, "osascript", f'printf "%s|" "$@" > "{seen}"')
    monkeypatch.setattr("sys.platform", "darwin")
    await notices(desktop=True, env={"PATH": str(tmp_path)}).tell(incident(reason='" & (do shell script "id") & "'))
    arguments = seen.read_text().split("|")
    assert arguments[-4] == "--"
    assert not any("id" in each for each in arguments[:-4])


async def test_without_a_desktop_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await notices(desktop=True, env={"PATH": str(tmp_path)}).tell(incident())
        script(tmp_path, "notify-send", "exit 1")
        await notices(desktop=True, env={"PATH": str(tmp_path)}).tell(incident())
    assert caplog.records == []


async def test_with_both_off_nothing_runs(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script(tmp_path, "notify-send", f'touch "{seen}"')
    await notices(env={"PATH": str(tmp_path)}).tell(incident())
    assert not seen.exists()


def test_a_hook_that_ends_without_reading_keeps_no_notice_back(tmp_path: Path) -> None:
    """On the daemon's own loop: where the pipe is closed before it was written, uvloop says so in its own way."""
    uvloop = pytest.importorskip("uvloop")
    seen = tmp_path / "seen"
    script(tmp_path, "notify-send", f'echo shown >> "{seen}"')
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    times = 15
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(times):
            runner.run(notices(("true",), desktop=True, env=path).tell(incident()))
    assert seen.read_text().count("shown") == times
