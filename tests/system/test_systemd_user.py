"""`ccs-broker service` under a real `systemd --user`."""

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.systemd_user import HOME, RUNTIME, UserSystemd, missing, user_systemd

PROGRAM = str(Path(sys.executable).with_name("ccs-broker"))
SOCKETS = RUNTIME / "ccs-broker"
UNITS = HOME / ".config" / "systemd" / "user"


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[UserSystemd]:
    if (why := missing()) is not None:
        pytest.skip(f"a real systemd --user: {why}")
    with user_systemd(tmp_path / "systemd.log") as manager:
        yield manager


def health(systemd: UserSystemd) -> dict[str, object]:
    answer = systemd.run(
        "curl", "-sS", "--max-time", "20", "--unix-socket", str(SOCKETS / "broker.sock"), "http://ccs-broker/v1/health"
    )
    read = json.loads(answer)
    assert isinstance(read, dict)
    return read


def test_installed_activated_killed_and_taken_away(systemd: UserSystemd) -> None:
    said = systemd.run(PROGRAM, "service", "install", "--no-start")
    assert "enable-linger" in said
    drop_in = systemd.inside(UNITS / "ccs-broker.service.d" / "sandbox.conf")
    if "skipped" not in said:
        assert "PrivateUsers=yes" in drop_in.read_text()

    # Socket activation: the sockets are there, private, and nothing runs behind them.
    systemd.run("systemctl", "--user", "start", "ccs-broker.socket", "ccs-broker-token.socket")
    folder = systemd.inside(SOCKETS)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {
        "broker.sock": 0o600,
        "token.sock": 0o600,
    }
    assert systemd.show("ccs-broker.service", "ActiveState") == "inactive"

    # The first client starts the daemon, and is served by it.
    first = health(systemd)
    assert first["status"] == "ok"
    assert systemd.show("ccs-broker.service", "ActiveState") == "active"
    assert systemd.show("ccs-broker.service", "StatusText") == "lending tokens on the Unix sockets"
    main = systemd.show("ccs-broker.service", "MainPID")
    assert int(main) > 1
    protections = first["protections"]
    assert isinstance(protections, dict)
    assert protections["private-sockets"]

    # Killed, it is started again; a client meanwhile waits instead of failing.
    systemd.run("kill", "-KILL", main)
    assert health(systemd)["status"] == "ok"
    assert systemd.show("ccs-broker.service", "MainPID") not in ("0", main)
    assert systemd.show("ccs-broker.service", "ActiveState") == "active"

    # The proxy beside it.
    systemd.run("systemctl", "--user", "start", "ccs-broker-proxy.service")
    assert systemd.show("ccs-broker-proxy.service", "StatusText") == "serving http://127.0.0.1:8317"
    assert systemd.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8317/health") in (
        "200",
        "503",
    )
    table = systemd.run(PROGRAM, "service", "status")
    assert table.count("active (running)") == 4  # two services, and two sockets with a service behind them

    # Stopped when asked, without a kill.
    systemd.run("systemctl", "--user", "stop", "ccs-broker-proxy.service", "ccs-broker.service")
    for unit in ("ccs-broker-proxy.service", "ccs-broker.service"):
        assert systemd.show(unit, "Result") == "success"
    assert systemd.show("ccs-broker.socket", "ActiveState") == "active"

    systemd.run(PROGRAM, "service", "uninstall")
    assert not [each for each in systemd.inside(UNITS).rglob("*") if "ccs-broker" in each.name]
    assert systemd.show("ccs-broker.socket", "LoadState") == "not-found"
    assert systemd.inside(HOME / ".ccs" / "cliproxy" / "auth").is_dir()


def test_install_starts_everything_at_once(systemd: UserSystemd) -> None:
    said = systemd.run(PROGRAM, "service", "install")
    states = {
        unit: systemd.show(unit, "ActiveState")
        for unit in ("ccs-broker.socket", "ccs-broker-token.socket", "ccs-broker.service", "ccs-broker-proxy.service")
    }
    assert set(states.values()) == {"active"}, said
    main = systemd.show("ccs-broker.service", "MainPID")
    # A second time nothing differs, so nothing is interrupted.
    assert "wrote" not in systemd.run(PROGRAM, "service", "install")
    assert systemd.show("ccs-broker.service", "MainPID") == main


def test_the_sandbox_hides_the_safe_from_the_proxy(systemd: UserSystemd) -> None:
    if "skipped" in systemd.run(PROGRAM, "service", "install"):
        pytest.skip("user namespaces, or a checkout below /tmp, do not allow the sandbox here")
    auth = HOME / ".ccs" / "cliproxy" / "auth"
    systemd.inside(auth / "own.json").write_text('{"type": "gemini-api-key", "api_key": "fake-key"}')
    seen = {}
    for unit in ("ccs-broker.service", "ccs-broker-proxy.service"):
        pid = systemd.show(unit, "MainPID")
        outside = systemd.run("sh", "-c", f"ls /proc/{pid}/root{auth} 2>&1 || true")
        seen[unit] = "own.json" in outside
    assert seen == {"ccs-broker.service": True, "ccs-broker-proxy.service": False}
    inside = f"/proc/{systemd.show('ccs-broker-proxy.service', 'MainPID')}/root"
    own = HOME / ".local" / "state" / "ccs-broker-proxy"
    tried = systemd.run(
        "sh", "-c", f"touch {inside}{own}/probe && echo own; touch {inside}{HOME}/probe 2>/dev/null || echo no more"
    )
    assert tried.split("\n")[:2] == ["own", "no more"], (
        "it writes to its own state directory, where usage is kept, and nowhere else"
    )
