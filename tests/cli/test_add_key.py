import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.ipc.schema import AccountView, Health
from tests.fakes.socket_desk import SocketDesk

HEALTH = Health(status="ok", version="0.1.0", pid=7, uptime=61.0, accounts={})
VIEW = AccountView(account="openai-api/key", provider="openai-api", label="key", state="active", generation=1)


@pytest.fixture
def keys(desk: SocketDesk) -> SocketDesk:
    desk.replies |= {"GET /v1/health": HEALTH, "POST /v1/keys": VIEW}
    return desk


def given(text: str | bytes) -> int:
    """A descriptor with this in it."""
    read, write = os.pipe()
    os.write(write, text.encode() if isinstance(text, str) else text)
    os.close(write)
    return read


def sent(desk: SocketDesk) -> dict[str, object]:
    [asked] = [each for each in desk.asked if each.target == "/v1/keys"]
    assert isinstance(asked.body, dict)
    return asked.body


def test_a_key_from_a_descriptor(run, keys: SocketDesk) -> None:  # type: ignore[no-untyped-def]
    ended = run(
        "add-key", "openai-compatible", "--label", "team", "--base-url", "https://x.example", "--header", "x-api-key",
        "--model", "a", "--model", "b", "--fd", str(given("fake-key\r\n")),
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.out == "openai-api/key saved: active, token never expires\n"
    assert sent(keys) == {
        "provider": "openai-compatible", "key": "fake-key", "label": "team", "base_url": "https://x.example", "header": "x-api-key",
        "models": ["a", "b"],
    }  # fmt: skip
    assert "fake-key" not in ended.out + ended.err


@pytest.mark.parametrize("text", ["", "\n", "  \n", "two words\n", "one\ntwo\n", "bell\x07", b"\xff\xfe", "x" * 70_000])
def test_what_is_no_key_is_refused_before_anybody_is_asked(run, keys: SocketDesk, tmp_path: Path, text: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "key"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    fd = os.open(path, os.O_RDONLY)
    try:
        ended = run("add-key", "openai-api", "--fd", str(fd))
    finally:
        os.close(fd)
    assert ended.code == 2
    assert "key" in ended.err
    assert "two words" not in ended.err
    assert keys.asked == []


def test_a_descriptor_that_is_not_open_is_told(run, keys: SocketDesk) -> None:  # type: ignore[no-untyped-def]
    ended = run("add-key", "openai-api", "--fd", "999")
    assert ended.code == 2
    assert "999" in ended.err


def test_a_key_that_is_typed_is_not_shown(run, keys: SocketDesk, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    asked: list[bool] = []

    def prompt(_text: str, **more: bool) -> str:
        asked.append(more["hide_input"])
        return "fake-key"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", prompt)
    assert run("add-key", "openai-api").code == 0
    assert asked == [True]
    assert sent(keys)["key"] == "fake-key"


def test_it_works_without_a_daemon_and_from_a_pipe(home: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "broker", "add-key", "anthropic-api", "--json"],
        input=b"fake-key-from-a-pipe\n", capture_output=True, check=False, env={**os.environ}, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["account"]["account"] == "anthropic-api/key"
    [path] = home.rglob("anthropic-api-key.json")
    assert json.loads(path.read_text()) == {
        "type": "api-key", "provider": "anthropic-api", "label": "key", "base_url": "https://api.anthropic.com", "header": "x-api-key",
        "api_key": "fake-key-from-a-pipe",
    }  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600
