import os
from pathlib import Path

import pytest

from broker.login import browser
from broker.login.browser import headless, open_browser

DESKTOP = {"DISPLAY": ":0", "USER": "alice"}
SSH = {**DESKTOP, "SSH_CONNECTION": "192.0.2.1 50000 192.0.2.7 22"}


@pytest.fixture(autouse=True)
def no_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(browser, "_CONTAINER_MARKS", (tmp_path / "mark",))


def test_a_desktop_has_a_browser() -> None:
    assert headless(8085, DESKTOP, "linux") is None
    assert headless(8085, {"WAYLAND_DISPLAY": "wayland-0"}, "linux") is None
    assert headless(8085, {"WSL_DISTRO_NAME": "Debian"}, "linux") is None
    assert headless(8085, {}, "darwin") is None


def test_over_ssh_the_tunnel_is_spelled_out() -> None:
    found = headless(8085, SSH, "linux")
    assert found is not None
    assert found.reason == "this is an ssh session"
    assert found.tunnel == "ssh -L 8085:localhost:8085 alice@192.0.2.7"


def test_another_ssh_port_is_named() -> None:
    found = headless(8085, {**SSH, "SSH_CONNECTION": "192.0.2.1 50000 192.0.2.7 2222"}, "darwin")
    assert found is not None
    assert found.tunnel == "ssh -p 2222 -L 8085:localhost:8085 alice@192.0.2.7"


def test_where_nothing_listens_no_tunnel_is_told() -> None:
    found = headless(None, SSH, "linux")
    assert found is not None
    assert found.tunnel is None


def test_a_session_that_tells_no_address_names_this_host() -> None:
    found = headless(1455, {"SSH_TTY": "/dev/pts/0", "USER": "alice"}, "linux")
    assert found is not None
    assert found.tunnel == f"ssh -L 1455:localhost:1455 alice@{os.uname().nodename}"


def test_without_a_graphical_session_there_is_none() -> None:
    found = headless(8085, {"USER": "alice"}, "linux")
    assert found is not None
    assert found.reason == "there is no graphical session"


def test_a_container_is_told_as_one(tmp_path: Path) -> None:
    assert headless(8085, {"container": "podman", **DESKTOP}, "linux") is not None
    (tmp_path / "mark").touch()
    found = headless(8085, DESKTOP, "linux")
    assert found is not None
    assert found.reason == "this is a container"
    assert found.tunnel is None, "a published port does not reach loopback in there"


def program(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return path


async def test_the_opener_is_given_the_url_and_stays_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program(tmp_path, "xdg-open", f'echo noise; echo noise >&2; printf %s "$1" > {tmp_path}/opened')
    assert await open_browser("https://idp.example.com/a?b=c&d=e", {"PATH": f"{tmp_path}:/bin:/usr/bin"}, "linux")
    assert (tmp_path / "opened").read_text() == "https://idp.example.com/a?b=c&d=e"
    assert capfd.readouterr() == ("", "")


async def test_the_user_s_own_browser_comes_first(tmp_path: Path) -> None:
    program(tmp_path, "xdg-open", "exit 1")
    program(tmp_path, "mine", f"touch {tmp_path}/mine-ran")
    assert await open_browser("https://x", {"PATH": f"{tmp_path}:/bin:/usr/bin", "BROWSER": "absent:mine"}, "linux")
    assert (tmp_path / "mine-ran").exists()


async def test_an_opener_that_fails_or_is_missing_is_told(tmp_path: Path) -> None:
    assert not await open_browser("https://x", {"PATH": str(tmp_path)}, "darwin")
    program(tmp_path, "open", "exit 3")
    assert not await open_browser("https://x", {"PATH": f"{tmp_path}:/bin:/usr/bin"}, "darwin")
    (tmp_path / "open").write_text("#!/no/such/interpreter\n")
    assert not await open_browser("https://x", {"PATH": str(tmp_path)}, "darwin")


async def test_an_opener_that_stays_counts_as_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "_OPEN_SECONDS", 0.05)
    program(tmp_path, "xdg-open", "exec sleep 1")
    assert await open_browser("https://x", {"PATH": f"{tmp_path}:/bin:/usr/bin"}, "linux")
