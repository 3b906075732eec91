import os
import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.service import units
from broker.service.units import (
    LAUNCHD_DEFAULTS,
    PLIST_KEYS,
    SYSTEMD_DEFAULTS,
    Values,
    escape_percent,
    launchd_plists,
    quote,
    systemd_units,
)

ROOT = Path(__file__).parents[2]

AWKWARD = Values(
    executable="/opt/a b/100%%/$x;y/ccs-broker",
    runtime_dir="/run/my sockets",
    writable=("/home/a b/auth", "/var/50%%"),
    proxy_writable=("/var/own 50%%",),
    environment=(("CCS_DIR", '/home/a b/50%/"x"'), ("PATH", "/usr/bin:/opt/back\\slash")),
)


def files(folder: str) -> dict[str, bytes]:
    root = ROOT / folder
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_systemd_folder_holds_what_is_rendered() -> None:
    assert files("systemd") == {name: text.encode() for name, text in systemd_units(SYSTEMD_DEFAULTS).items()}


def test_the_launchd_folder_holds_what_is_rendered() -> None:
    assert files("launchd") == launchd_plists(LAUNCHD_DEFAULTS)


@pytest.fixture
def verify(tmp_path: Path):
    """Return a function that runs `systemd-analyze --user` on rendered units and returns what it says on stderr, and its status."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")

    def run(values: Values, *arguments: str, drop_in: bool = True) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "units"
        for name, text in systemd_units(values).items():
            if drop_in or "/" not in name:
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        runtime = tmp_path / "run"
        runtime.mkdir(mode=0o700, exist_ok=True)
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime), "LC_ALL": "C"}
        names = [str(folder / name) for name in systemd_units(values) if "/" not in name]
        chosen = [name for name in names if name.endswith(".service")] if "security" in arguments else names
        return subprocess.run(
            ["systemd-analyze", "--user", *arguments, *chosen], env=environ, capture_output=True, text=True, check=False
        )

    return run


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_systemd_finds_nothing_to_say(verify, tmp_path: Path) -> None:
    program(tmp_path / ".local/bin/ccs-broker")
    result = verify(SYSTEMD_DEFAULTS, "verify")
    assert (result.returncode, result.stderr) == (0, "")


def test_systemd_reads_awkward_paths_as_they_are(verify, tmp_path: Path) -> None:
    awkward = program(tmp_path / "a b 100%/$x;y/ccs-broker")
    values = Values(escape_percent(str(awkward)), "/run/my sockets", AWKWARD.writable, AWKWARD.environment)
    result = verify(values, "verify")
    # It would say that the command is not executable, had it unquoted another path.
    assert (result.returncode, result.stderr) == (0, "")


def test_systemd_would_tell_a_wrong_path(verify, tmp_path: Path) -> None:
    assert "is not executable" in verify(SYSTEMD_DEFAULTS, "verify").stderr


@pytest.mark.parametrize(("drop_in", "threshold"), [(False, 70), (True, 45)])
def test_exposure_stays_low(verify, drop_in: bool, threshold: int) -> None:
    result = verify(SYSTEMD_DEFAULTS, "security", "--offline=true", f"--threshold={threshold}", drop_in=drop_in)
    assert result.returncode == 0, result.stdout[-300:]


def test_sockets_are_private_and_named() -> None:
    for name, descriptor, file in (
        ("ccs-broker.socket", "control", "broker.sock"),
        ("ccs-broker-token.socket", "token", "token.sock"),
    ):
        lines = systemd_units(SYSTEMD_DEFAULTS)[name].splitlines()
        assert {
            "SocketMode=0600",
            "DirectoryMode=0700",
            f"FileDescriptorName={descriptor}",
            f"ListenStream=%t/ccs-broker/{file}",
            "Service=ccs-broker.service",
        } <= set(lines)


def test_the_base_unit_needs_no_user_namespace() -> None:
    base = systemd_units(SYSTEMD_DEFAULTS)[units.DAEMON_UNIT] + systemd_units(SYSTEMD_DEFAULTS)[units.PROXY_UNIT]
    for name in ("PrivateUsers", "Protect", "PrivateTmp", "DynamicUser", "SupplementaryGroups", "LogNamespace"):
        assert f"\n{name}" not in base


def test_a_missing_folder_does_not_stop_the_sandbox() -> None:
    drop_in = systemd_units(AWKWARD)[units.DAEMON_SANDBOX]
    assert 'ReadWritePaths="-/home/a b/auth" -/var/50%% "-/run/my sockets"\n' in drop_in


def test_the_sandboxed_proxy_cannot_see_what_the_daemon_writes() -> None:
    drop_in = systemd_units(AWKWARD)[units.PROXY_SANDBOX]
    assert 'InaccessiblePaths="-/home/a b/auth" -/var/50%%\n' in drop_in
    assert 'ReadWritePaths="-/var/own 50%%"\n' in drop_in
    assert "ReadWritePaths" not in units.systemd_units(Values("/x", "/run", ("/home/a",)))[units.PROXY_SANDBOX]


@pytest.mark.parametrize(
    ("path", "fit"),
    [("/a b/$x;%y", True), ("/a'b", False), ('/a"b', False), ("/a\\b", False), ("/a\nb", False), ("a", False)],
)
def test_paths_systemd_would_refuse_to_execute(path: str, fit: bool) -> None:
    assert units.fit_to_execute(path) is fit


def test_values_are_quoted_for_systemd() -> None:
    text = systemd_units(AWKWARD)[units.DAEMON_UNIT]
    assert 'ExecStart="/opt/a b/100%%/$x;y/ccs-broker" serve\n' in text
    assert 'Environment="CCS_DIR=/home/a b/50%%/\\"x\\""\n' in text
    assert 'Environment="PATH=/usr/bin:/opt/back\\\\slash"\n' in text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1))
def test_a_quoted_word_stays_one_line_and_can_be_read_back(text: str) -> None:
    written = quote(text)
    inside = written[1:-1] if written.startswith('"') else written
    assert "\n" not in written
    assert inside.replace('\\"', '"').replace("\\\\", "\\") == text or "\\" in text


def test_line_breaks_are_escaped() -> None:
    assert quote("a\nb\tc") == '"a\\nb\\tc"'
    assert quote("") == '""'


def test_plists_use_known_keys_only() -> None:
    values = Values("/x/ccs-broker", "", (), (("PATH", "/bin"),), "/Users/a/Library/Logs/ccs-broker")
    seen: set[str] = set()
    for name, data in launchd_plists(values).items():
        job = plistlib.loads(data)
        assert name == f"{job['Label']}.plist"
        assert set(job) <= PLIST_KEYS
        seen |= set(job)
    assert seen == PLIST_KEYS


def test_plists_say_what_to_run_and_how() -> None:
    values = Values("/x y/ccs-broker", "", (), (("CCS_DIR", "/a<b>&c"),), "/logs")
    daemon = plistlib.loads(launchd_plists(values)["ccs-broker.daemon.plist"])
    proxy = plistlib.loads(launchd_plists(values)["ccs-broker.proxy.plist"])
    assert daemon["ProgramArguments"] == ["/x y/ccs-broker", "serve"]
    assert proxy["ProgramArguments"] == ["/x y/ccs-broker", "proxy"]
    assert daemon["Umask"] == 0o077
    assert daemon["KeepAlive"] == {"SuccessfulExit": False}
    assert daemon["EnvironmentVariables"] == {"CCS_DIR": "/a<b>&c"}
    assert proxy["StandardErrorPath"] == "/logs/ccs-broker.proxy.log"


def test_plists_leave_out_what_is_not_given() -> None:
    job = plistlib.loads(launchd_plists(LAUNCHD_DEFAULTS)["ccs-broker.daemon.plist"])
    assert "StandardErrorPath" not in job
    assert "EnvironmentVariables" not in job
