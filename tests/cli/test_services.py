import json
from pathlib import Path

import pytest


@pytest.fixture
def machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a ccs-broker and a systemctl that writes down how it was called."""
    programs = home / "bin"
    programs.mkdir()
    for name, text in {
        "ccs-broker": "exit 0",
        "systemd-run": "exit 0",
        "systemctl": f'echo "$*" >> {home}/log; case "$*" in *is-system-running) echo running;; *show*) echo ActiveState=active; echo SubState=running; esac',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("sys.argv", [str(programs / "ccs-broker")])
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("USER", "alice")
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(home / "run"))
    return home


def log(machine: Path) -> str:
    return (machine / "log").read_text()


def test_install_puts_in_place_and_starts(run, machine: Path) -> None:
    ended = run("service", "install")
    assert ended.code == 0, ended.err
    unit = (machine / ".config/systemd/user/ccs-broker.service").read_text()
    assert f"ExecStart={machine}/bin/ccs-broker serve\n" in unit
    assert f"Environment=CCS_BROKER_RUNTIME_DIR={machine}/run\n" in unit
    assert f"wrote  {machine}/.config/systemd/user/ccs-broker.service\n" in ended.out
    assert "loginctl enable-linger alice" in ended.out
    assert "--user start" in log(machine)
    assert (machine / ".ccs/cliproxy/auth").is_dir()


def test_install_without_start(run, machine: Path) -> None:
    assert run("service", "install", "--no-start").code == 0
    assert "--user enable" in log(machine)
    assert "--user start" not in log(machine)


def test_install_as_json(run, machine: Path) -> None:
    made = json.loads(run("service", "install", "--json").out)
    assert (made["version"], made["manager"]) == (1, "systemd")
    assert {"action", "subject", "detail"} == set(made["steps"][0])


def test_status_before_and_after(run, machine: Path) -> None:
    assert run("service", "status").code == 1
    run("service", "install")
    ended = run("service", "status", "--json")
    assert ended.code == 0
    units = {unit["name"]: unit for unit in json.loads(ended.out)["units"]}
    assert units["ccs-broker.service"]["state"] == "active (running)"


def test_uninstall(run, machine: Path) -> None:
    run("service", "install")
    (machine / ".ccs/cliproxy/auth/mine.json").write_text("{}")
    assert run("service", "uninstall").code == 0
    assert not list((machine / ".config/systemd/user").glob("ccs-broker*"))
    assert (machine / ".ccs/cliproxy/auth/mine.json").exists()
    assert run("service", "uninstall").out == "Nothing is installed.\n"


def test_a_mac_gets_launchd(run, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    ended = run("service", "install", "--no-start")
    assert ended.code == 0, ended.err
    assert (machine / "Library/LaunchAgents/ccs-broker.daemon.plist").exists()
    assert (machine / "Library/Logs/ccs-broker").is_dir()
    assert "linger" not in ended.out
