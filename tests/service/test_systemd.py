from pathlib import Path

import pytest

from broker.model.errors import BrokerError
from broker.service import units
from broker.service.steps import Action, Step
from broker.service.systemd import ALL_UNITS, Systemd
from broker.service.units import Values

VALUES = Values("/x/ccs-broker", "%t/ccs-broker", ("/home/a/.ccs",))
EVERY_FILE = set(units.systemd_units(VALUES))
SANDBOXES = {units.DAEMON_SANDBOX, units.PROXY_SANDBOX}


class Machine:
    """A home with stand-ins for systemctl and systemd-run on PATH, which write down how they were called."""

    def __init__(self, root: Path) -> None:
        self.bin, self.folder, self.log = root / "bin", root / "units", root / "log"
        self.bin.mkdir()
        self.log.touch()

    def tool(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{text}\n')
        (self.bin / name).chmod(0o755)

    def systemctl(self, running: str = "running", other: str = "exit 0") -> None:
        self.tool("systemctl", f'case "$*" in *is-system-running*) echo {running};; *) {other};; esac')

    def calls(self) -> list[str]:
        lines = [line for line in self.log.read_text().splitlines() if "is-system-running" not in line]
        self.log.write_text("")
        return lines

    def manager(self, values: Values = VALUES) -> Systemd:
        return Systemd(values, self.folder, {"PATH": f"{self.bin}:/nonexistent", "XDG_RUNTIME_DIR": "/run/user/7"})

    def files(self) -> set[str]:
        return {str(each.relative_to(self.folder)) for each in self.folder.rglob("*") if each.is_file()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.systemctl()
    made.tool("systemd-run", "exit 0")
    return made


def of(steps: tuple[Step, ...], action: Action) -> list[str]:
    return [step.subject for step in steps if step.action is action]


def test_install_writes_enables_and_starts(machine: Machine) -> None:
    steps = machine.manager().install(start=True)
    assert machine.files() == EVERY_FILE
    assert len(of(steps, Action.WROTE)) == len(EVERY_FILE)
    everything = " ".join(ALL_UNITS)
    assert machine.calls()[2:] == [
        "systemctl --user daemon-reload",
        f"systemctl --user enable {everything}",
        f"systemctl --user stop {' '.join(reversed(ALL_UNITS))}",
        f"systemctl --user start {everything}",
    ]


def test_install_again_stops_nothing(machine: Machine) -> None:
    machine.manager().install(start=True)
    machine.calls()
    steps = machine.manager().install(start=True)
    assert len(of(steps, Action.UNCHANGED)) == len(EVERY_FILE)
    assert not any(" stop " in call for call in machine.calls())


def test_no_start_enables_only(machine: Machine) -> None:
    machine.manager().install(start=False)
    calls = machine.calls()
    assert any(" enable " in call for call in calls)
    assert not any(" start " in call or " stop " in call for call in calls)


def test_the_sandbox_is_left_out_where_it_does_not_work(machine: Machine) -> None:
    machine.manager().install(start=False)
    machine.tool("systemd-run", "exit 1")
    steps = machine.manager().install(start=False)
    assert machine.files() == EVERY_FILE - SANDBOXES
    assert of(steps, Action.SKIPPED) == [f"{units.DAEMON_SANDBOX} and {units.PROXY_SANDBOX}"]
    assert set(of(steps, Action.REMOVED)) == {str(machine.folder / name) for name in SANDBOXES}


def test_the_sandboxes_are_tried_with_all_they_ask_for(machine: Machine) -> None:
    machine.manager().install(start=False)
    daemon, proxy = (call for call in machine.calls() if call.startswith("systemd-run"))
    for tried, name in ((daemon, units.DAEMON_SANDBOX), (proxy, units.PROXY_SANDBOX)):
        settings = units.systemd_units(VALUES)[name].partition("[Service]\n")[2].splitlines()
        assert "PrivateUsers=yes" in settings
        for setting in settings:
            assert f"-p {setting.replace('%t', '/run/user/7')}" in tried
    assert daemon.endswith("/x/ccs-broker /home/a/.ccs")
    assert proxy.endswith("/x/ccs-broker")


def test_one_that_does_not_work_leaves_both_out(machine: Machine) -> None:
    machine.tool("systemd-run", 'case "$*" in *InaccessiblePaths*) exit 1;; esac')
    machine.manager().install(start=False)
    assert machine.files() == EVERY_FILE - SANDBOXES


def test_the_try_uses_paths_as_they_are(machine: Machine) -> None:
    machine.manager(Values("/x 100%%/ccs-broker", "%t/ccs-broker", ("/a b/50%%",))).install(start=False)
    tried = next(call for call in machine.calls() if call.startswith("systemd-run"))
    assert 'ReadWritePaths="-/a b/50%" -/run/user/7/ccs-broker ' in tried
    assert tried.endswith("/x 100%/ccs-broker /a b/50%")


@pytest.mark.parametrize("present", [True, False])
def test_without_a_manager_the_files_are_put_and_the_rest_is_told(machine: Machine, present: bool) -> None:
    if present:
        machine.systemctl(running="offline")
    else:
        (machine.bin / "systemctl").unlink()
    steps = machine.manager().install(start=True)
    assert machine.files() == EVERY_FILE - SANDBOXES
    assert steps[-1].action is Action.SKIPPED
    assert "systemctl --user enable --now ccs-broker.socket" in steps[-1].detail
    assert machine.calls() == []


def test_a_start_that_fails_is_told_with_where_to_look(machine: Machine) -> None:
    machine.systemctl(other='case "$2" in start) echo "Job failed" >&2; exit 1;; esac')
    with pytest.raises(BrokerError, match="Job failed") as caught:
        machine.manager().install(start=True)
    assert "journalctl --user" in caught.value.hint


def test_uninstall_takes_everything_but_the_users_own(machine: Machine) -> None:
    machine.manager().install(start=True)
    own = machine.folder / "ccs-broker.service.d" / "mine.conf"
    own.write_text("[Service]\n")
    machine.calls()
    steps = machine.manager().uninstall()
    assert machine.files() == {"ccs-broker.service.d/mine.conf"}
    assert len(of(steps, Action.REMOVED)) == len(EVERY_FILE)
    assert machine.calls() == [
        f"systemctl --user disable --now {' '.join(reversed(ALL_UNITS))}",
        "systemctl --user daemon-reload",
    ]


def test_uninstall_without_a_manager_leaves_no_dangling_links(machine: Machine) -> None:
    machine.manager().install(start=True)
    wants = machine.folder / "default.target.wants"
    wants.mkdir()
    (wants / units.DAEMON_UNIT).symlink_to(machine.folder / units.DAEMON_UNIT)
    machine.systemctl(running="offline")
    machine.manager().uninstall()
    assert machine.files() == set()
    assert list(wants.iterdir()) == []


def test_uninstall_of_nothing_does_nothing(machine: Machine) -> None:
    assert machine.manager().uninstall() == ()
    assert machine.calls() == []


def test_status_of_each_unit(machine: Machine) -> None:
    machine.manager().install(start=False)
    (machine.folder / units.PROXY_UNIT).write_text("edited")
    (machine.folder / units.SOCKET_UNITS[0]).unlink()
    machine.systemctl(other="echo ActiveState=active; echo SubState=running; echo MainPID=42")
    by_name = {state.name: state for state in machine.manager().status()}
    daemon = by_name[units.DAEMON_UNIT]
    assert (daemon.installed, daemon.current, daemon.state, daemon.pid) == (True, True, "active (running)", 42)
    assert (by_name[units.PROXY_UNIT].installed, by_name[units.PROXY_UNIT].current) == (True, False)
    assert not by_name[units.SOCKET_UNITS[0]].installed


def test_status_without_a_manager(machine: Machine) -> None:
    machine.systemctl(running="offline")
    assert {state.state for state in machine.manager().status()} == {"manager not reachable"}
