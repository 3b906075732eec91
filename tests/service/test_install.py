import plistlib
import stat
from pathlib import Path

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.service.install import executable, manager, prepare
from broker.service.launchd import Launchd
from broker.service.systemd import Systemd


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with a program on PATH and nothing else: no manager to reach."""
    program = tmp_path / "bin" / "ccs-broker"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin"), "XDG_RUNTIME_DIR": "/run/user/1000"}


def units_of(environ: dict[str, str], *directories: Path) -> dict[str, str]:
    service = manager(directories, environ, "linux")
    assert isinstance(service, Systemd)
    service.install(start=False)
    folder = Path(environ.get("XDG_CONFIG_HOME") or f"{environ['HOME']}/.config") / "systemd" / "user"
    return {each.name: each.read_text() for each in folder.iterdir()}


def test_units_go_to_the_config_home_and_name_the_runtime_folder(environ: dict[str, str], tmp_path: Path) -> None:
    found = units_of(environ | {"XDG_CONFIG_HOME": str(tmp_path / "cfg")})
    assert "ListenStream=%t/ccs-broker/token.sock\n" in found["ccs-broker-token.socket"]


def test_the_service_sees_the_folders_this_shell_sees(environ: dict[str, str], tmp_path: Path) -> None:
    own = {"CCS_DIR": "/data/50%/ccs", "XDG_STATE_HOME": "/data/state", "CCS_BROKER_RUNTIME_DIR": str(tmp_path / "r")}
    found = units_of(environ | own | {"SECRET_KEY": "fake-secret"})
    service = found["ccs-broker.service"]
    assert "Environment=CCS_DIR=/data/50%%/ccs\n" in service
    assert "Environment=XDG_STATE_HOME=/data/state\n" in service
    assert f"Environment=PATH={tmp_path / 'bin'}\n" in service
    assert "fake-secret" not in service
    assert f"ListenStream={tmp_path / 'r'}/broker.sock\n" in found["ccs-broker.socket"]


def test_a_relative_folder_becomes_absolute(environ: dict[str, str]) -> None:
    found = units_of(environ | {"CCS_DIR": "mine"})
    assert f"Environment=CCS_DIR={Path.cwd() / 'mine'}\n" in found["ccs-broker.service"]


def test_a_socket_path_too_long_is_told_before_anything_is_written(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="this system allows"):
        manager((), environ | {"CCS_BROKER_RUNTIME_DIR": "/x" * 60}, "linux")
    assert not (tmp_path / ".config").exists()


def test_the_sandbox_may_write_beside_the_auth_directory(environ: dict[str, str], tmp_path: Path) -> None:
    service = manager((tmp_path / "ccs" / "auth",), environ, "linux")
    assert isinstance(service, Systemd)
    text = service._texts["ccs-broker.service.d/sandbox.conf"].decode()
    assert f"-{tmp_path / 'ccs'} -{tmp_path}/.local/state/ccs-broker -%t/ccs-broker\n" in text


def test_our_own_state_directory_is_not_taken_for_the_services(environ: dict[str, str], tmp_path: Path) -> None:
    service = manager((), environ | {"STATE_DIRECTORY": "/elsewhere"}, "linux")
    assert isinstance(service, Systemd)
    assert "/elsewhere" not in service._texts["ccs-broker.service.d/sandbox.conf"].decode()


def test_a_mac_gets_plists_with_a_log(environ: dict[str, str], tmp_path: Path) -> None:
    service = manager((), environ, "darwin")
    assert isinstance(service, Launchd)
    service.install(start=False)
    job = plistlib.loads((tmp_path / "Library/LaunchAgents/ccs-broker.daemon.plist").read_bytes())
    assert job["ProgramArguments"] == [executable(environ), "serve"]
    assert job["StandardErrorPath"] == f"{tmp_path}/Library/Logs/ccs-broker/ccs-broker.daemon.log"
    assert job["EnvironmentVariables"]["PATH"] == str(tmp_path / "bin")


@pytest.mark.parametrize(("platform", "extra"), [("linux", ()), ("darwin", ("Library/Logs/ccs-broker",))])
def test_folders_are_made_private(
    environ: dict[str, str], tmp_path: Path, platform: str, extra: tuple[str, ...]
) -> None:
    prepare((tmp_path / "auth",), environ, platform)
    for name in ("auth", ".local/state/ccs-broker", ".local/state/ccs-broker-proxy", *extra):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
    assert (tmp_path / "Library").exists() == bool(extra)


def test_a_folder_that_cannot_be_made_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="ccs-broker/auth") as caught:
        prepare((tmp_path / "bin" / "ccs-broker" / "auth",), environ, "linux")
    assert caught.value.code is ErrorCode.STORAGE_UNWRITABLE


def test_the_running_program_comes_first(environ: dict[str, str], tmp_path: Path) -> None:
    mine = tmp_path / "venv" / "bin" / "ccs-broker"
    mine.parent.mkdir(parents=True)
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    on_path = str(tmp_path / "bin" / "ccs-broker")
    nowhere = str(tmp_path / "python")
    assert executable(environ, argv0=str(mine), python=nowhere) == str(mine)
    assert executable(environ, argv0="/usr/lib/broker/__main__.py", python=str(mine.with_name("python"))) == str(mine)
    assert executable(environ, argv0="ccs-broker", python=nowhere) == on_path
    mine.chmod(0o644)
    assert executable(environ, argv0=str(mine), python=nowhere) == on_path


def test_a_path_systemd_would_refuse_is_told(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / 'a"b'
    (tmp_path / "bin").rename(odd)
    monkeypatch.setattr("sys.argv", [str(odd / "ccs-broker")])
    with pytest.raises(BrokerError, match="quotes or backslashes"):
        manager((), environ | {"PATH": str(odd)}, "linux")


def test_no_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="not on PATH") as caught:
        executable({"PATH": str(tmp_path)}, argv0="pytest", python=str(tmp_path / "python"))
    assert caught.value.code is ErrorCode.MISCONFIGURED


def test_the_environment_of_this_process_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    prepare(())
    assert (tmp_path / ".local/state/ccs-broker").is_dir()
