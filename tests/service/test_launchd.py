from pathlib import Path

import pytest

from broker.model.errors import BrokerError
from broker.service import units
from broker.service.launchd import LABELS, Launchd
from broker.service.steps import Action
from broker.service.units import Values

VALUES = Values("/x/ccs-broker", "", (), (("PATH", "/usr/bin"),), "/logs")
FILES = {f"{label}.plist" for label in LABELS}

# Remembers what is loaded as files in a folder, and answers `print` as launchd does.
LAUNCHCTL = """\
#!/bin/sh
echo "$*" >> {log}
case "$1" in
  bootstrap) touch "{loaded}/$(basename "$3" .plist)";;
  bootout) rm "{loaded}/${{2##*/}}";;
  print) [ -e "{loaded}/${{2##*/}}" ] || exit 113
    printf 'x = {{\\n\\tstate = running\\n\\n\\tpid = 77\\n}}\\n';;
esac
"""


class Mac:
    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.log = root, root / "LaunchAgents", root / "log"
        (root / "bin").mkdir()
        (root / "loaded").mkdir()
        tool = root / "bin" / "launchctl"
        tool.write_text(LAUNCHCTL.format(log=self.log, loaded=root / "loaded"))
        tool.chmod(0o755)

    def manager(self, values: Values = VALUES) -> Launchd:
        return Launchd(values, self.folder, {"PATH": f"{self.root / 'bin'}:/usr/bin:/bin"}, 501)

    def calls(self) -> list[str]:
        lines = [line for line in self.log.read_text().splitlines() if not line.startswith("print")]
        self.log.write_text("")
        return lines

    def loaded(self) -> set[str]:
        return {each.name for each in (self.root / "loaded").iterdir()}


@pytest.fixture
def mac(tmp_path: Path) -> Mac:
    return Mac(tmp_path)


def test_install_loads_both(mac: Mac) -> None:
    mac.manager().install(start=True)
    assert {each.name for each in mac.folder.iterdir()} == FILES
    assert mac.loaded() == set(LABELS)
    assert mac.calls()[0] == f"bootstrap gui/501 {mac.folder / 'ccs-broker.daemon.plist'}"


def test_install_again_leaves_them_running(mac: Mac) -> None:
    mac.manager().install(start=True)
    mac.calls()
    steps = mac.manager().install(start=True)
    assert {step.action for step in steps} == {Action.UNCHANGED}
    assert mac.calls() == []


def test_a_changed_file_is_loaded_anew(mac: Mac) -> None:
    mac.manager().install(start=True)
    mac.calls()
    mac.manager(Values("/y/ccs-broker", "", ())).install(start=True)
    assert [call.split()[0] for call in mac.calls()] == ["bootout", "bootstrap"] * 2


def test_no_start_writes_only(mac: Mac) -> None:
    mac.manager().install(start=False)
    assert {each.name for each in mac.folder.iterdir()} == FILES
    assert mac.loaded() == set()


def test_uninstall(mac: Mac) -> None:
    mac.manager().install(start=True)
    mac.manager().uninstall()
    assert mac.loaded() == set()
    assert list(mac.folder.iterdir()) == []
    assert mac.manager().uninstall() == ()


def test_status(mac: Mac) -> None:
    assert {(state.installed, state.state, state.pid) for state in mac.manager().status()} == {
        (False, "not loaded", None)
    }
    mac.manager().install(start=True)
    daemon, _ = mac.manager().status()
    assert (daemon.name, daemon.installed, daemon.current, daemon.state, daemon.pid) == (
        units.DAEMON_LABEL, True, True, "running", 77,
    )  # fmt: skip


def test_a_failure_says_where_the_log_is(mac: Mac) -> None:
    (mac.root / "bin" / "launchctl").write_text(
        "#!/bin/sh\n[ $1 = print ] && exit 113\necho 'Input/output error' >&2; exit 5\n"
    )
    with pytest.raises(BrokerError, match="ended with 5: Input/output error") as caught:
        mac.manager().install(start=True)
    assert "/logs" in caught.value.hint
