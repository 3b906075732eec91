"""Faults of the machine, other programs and services, planted for real: processes, files of the system in other places, limits, mounts."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.doctor.finding import Finding, Severity
from broker.providers.native.table import FORMATS
from tests.doctor.planting import REFRESH, found, given_away, login, one, plants, put

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# --- other programs ---


@contextmanager
def process(*arguments: str, cwd: Path) -> Iterator[int]:
    """A program that calls itself what `arguments` say and waits; yields its process id."""
    command = [arguments[0], "-c", "import sys; print(flush=True); sys.stdin.read()", *arguments[1:]]
    with subprocess.Popen(
        command, executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd
    ) as made:
        assert made.stdin is not None
        assert made.stdout is not None
        made.stdout.readline()  # by now it is what it says it is
        yield made.pid
        made.stdin.close()


def of(pid: int) -> list[Finding]:
    """The findings about one process: other tests may run theirs at the same time."""
    return [each for each in found("other-refresher") if f"pid {pid})" in each.what]


@linux
@plants("other-refresher")
@pytest.mark.parametrize(
    "name", ["cli-proxy-api", "/opt/x/CLIProxyAPI", "cliproxy", "cli-proxy-api-plus", "CLIProxyAPI_7.2.19_linux"]
)
def test_a_live_refresher_on_the_same_directory(auth: Path, name: str) -> None:
    file = put(auth.parent / "config.yaml", f'port: 8317\nauth-dir: "{auth}" # ours\n')
    with process(name, "-config", str(file), cwd=auth) as pid:
        (finding,) = of(pid)
    assert (finding.severity, finding.where) == (Severity.ERROR, str(file))
    assert f"kill {pid}" in finding.mend


@linux
def test_refreshers_that_do_not_matter_or_may(auth: Path, home: Path) -> None:
    other = put(home / "there" / "config.yaml", f"auth-dir: {home}/elsewhere\n")
    with process("cli-proxy-api", f"--config={other}", cwd=home) as pid:
        assert of(pid) == []
    with process("cli-proxy-api", cwd=other.parent) as pid:  # it reads config.yaml where it runs
        assert of(pid) == []
    with process("cli-proxy-api", cwd=home) as pid:
        (finding,) = of(pid)
        assert finding.severity is Severity.WARNING
    with process("vim", "cli-proxy-api", cwd=home) as pid:
        assert of(pid) == []


@linux
def test_a_refresher_with_its_default_directory(home: Path, config) -> None:
    file = put(home / ".cli-proxy-api" / "config.yaml", "port: 1\n")
    config(f'[store]\ndirectories = ["{home}/.cli-proxy-api"]\n')
    with process("cli-proxy-api", "-config", str(file), cwd=home) as pid:
        (finding,) = of(pid)
        assert finding.severity is Severity.ERROR


@linux
def test_the_port_is_taken_by_a_refresher(auth: Path, config) -> None:
    code = (
        "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], flush=True)\n"
        "while True: s.accept()[0].close()"
    )
    with subprocess.Popen(
        ["cli-proxy-api", "-c", code], executable=sys.executable, stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdout is not None
        config(f"[proxy]\nport = {made.stdout.readline()}\n")
        finding = one("port-taken")
        made.kill()
    assert "CLIProxyAPI" in finding.what


@plants("other-refresher-config")
def test_a_config_that_names_the_same_directory(auth: Path) -> None:
    path = put(auth.parent / "config-8318.yaml", "auth-dir: ~/.ccs/cliproxy/auth\n")
    put(auth.parent / "config-8319.yaml", "auth-dir: 'elsewhere'\n")
    finding = one("other-refresher-config")
    assert (finding.severity, finding.where) == (Severity.INFO, str(path))


@plants("shared-login")
def test_another_programs_file_with_the_same_refresh_token(auth: Path, home: Path, config) -> None:
    put(auth / "own-a.json", login())
    put(auth.parent / "backup" / "own-a.json", login())
    put(home / ".tool" / "settings.json", '{"a": [1, "a text that is long enough"], "b": {"c": "short"}}')
    put(home / ".tool" / "broken.json", REFRESH)
    put(home / ".tool" / "big.json", json.dumps(["x" * 300_000, REFRESH]))
    (home / ".tool" / "pipe.json").mkdir()
    assert found("shared-login") == ()
    path = put(home / ".tool" / ".credentials.json", json.dumps({"oauth": [{"refreshToken": REFRESH}]}))
    (home / ".config" / "tool").mkdir(parents=True)
    (home / ".config" / "tool" / "link.json").symlink_to(path)
    finding = one("shared-login")
    assert finding.where == str(path)
    assert finding.severity is Severity.WARNING
    assert "own/a@example.com" in finding.what


def test_a_known_program_is_named_wherever_its_folder_was_moved(auth: Path, home: Path, config) -> None:
    put(auth / "own-a.json", login())
    moved = [
        (name, variable, spot)
        for name, native in FORMATS.items()
        for spot in native.spots
        for variable in spot.variables
    ]
    assert moved
    for number, (name, (variable, below), spot) in enumerate(moved):
        folder = home / "moved" / str(number)
        put(folder / below / spot.pattern.replace("*", "x"), json.dumps({"t": REFRESH}))
        told = [each.what for each in found("shared-login", {variable: str(folder)})]
        assert f"own/a@example.com and {name} share one login: renewing it in one program logs the other out" in told
        (folder / below / spot.pattern.replace("*", "x")).unlink()


@plants("linked-file")
def test_an_account_whose_other_half_is_gone(auth: Path, home: Path, config) -> None:
    path = put(home / ".tool" / "login.json", json.dumps({"refreshToken": REFRESH}))
    put(auth / "own-a.json", login(ccs_broker={"linked": {"tool": "some-tool", "path": str(path), "spent": []}}))
    assert found("linked-file") == ()
    assert one("shared-login").severity is Severity.INFO
    path.unlink()
    finding = one("linked-file")
    assert (finding.severity, finding.where) == (Severity.WARNING, str(path))


# --- disks ---


def mounts(folder: Path, *lines: str) -> Path:
    """A /proc whose table of mounts has a root and these `point type`."""
    table = ["20 1 8:1 / / rw - ext4 /dev/sda1 rw", "nonsense"]
    table += [
        f"{30 + n} 20 0:{n} / {line.split()[0]} rw,relatime shared:1 - {line.split()[1]} server:/x rw"
        for n, line in enumerate(lines)
    ]
    put(folder / "self" / "mountinfo", "\n".join(table))
    return folder


@plants("network-file-system")
@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_logins_on_another_machine(auth: Path, home: Path, kind: str) -> None:
    proc = mounts(home / "proc", f"{auth.parent} {kind}")
    finding = one("network-file-system", proc=proc)
    assert finding.where == str(auth)
    assert kind in finding.what
    assert (
        found("network-file-system", proc=mounts(home / "proc2", f"{auth.parent} {kind}", f"{auth.parent} xfs")) == ()
    )
    assert found("network-file-system", proc=home / "nowhere") == ()


def test_a_mount_point_with_a_space_in_its_name(home: Path, config) -> None:
    put(home / "my files" / "auth" / "x", "")
    config(f'[store]\ndirectories = ["{home}/my files/auth"]\n')
    assert one("network-file-system", proc=mounts(home / "proc", f"{home}/my\\040files nfs"))


def can_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="mounting a small disk needs root and a mount namespace")
@plants("disk-space")
@pytest.mark.parametrize(
    ("size", "inodes", "told"), [("512k", 48, "0.5 MiB"), ("200m", 12, "inodes"), ("10m", 4000, "10.0 MiB")]
)
def test_a_disk_that_is_nearly_full(auth: Path, size: str, inodes: int, told: str) -> None:
    mount = f'mount -t tmpfs -o size={size},nr_inodes={inodes},mode=700 none "{auth}" && exec "$0" -m broker doctor --check disk-space --json'
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, sys.executable], capture_output=True, text=True, check=False
    )
    mine = [each for each in json.loads(ran.stdout)["findings"] if each["where"] == str(auth)]
    assert [each["severity"] for each in mine] == ["warning" if size == "10m" else "error"]
    assert told in mine[0]["what"]
    assert ran.returncode == 1


# --- limits, environment, people ---


@contextmanager
def open_files(count: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@plants("open-files")
def test_too_few_files_may_be_open(config) -> None:
    config("[proxy]\nmax_connections = 50\n[socket]\nmax_connections = 700\n")
    with open_files(300):
        finding = one("open-files")
        assert finding.severity is Severity.WARNING
        assert "The daemon started from this shell may open 300 files" in finding.what
        assert "ulimit -n 800" in finding.mend
    with open_files(600):
        assert one("open-files").severity is Severity.INFO
    with open_files(1000):
        assert found("open-files") == ()


@plants("proxy-environment")
def test_a_proxy_of_the_environment_that_would_catch_loopback() -> None:
    catching = {"http_proxy": "http://user:canary@proxy.example:3128"}
    assert "http_proxy would catch" in one("proxy-environment", catching).what
    for spared in ("127.0.0.1", "*", "example.com, 127.0.0.0/8"):
        assert found("proxy-environment", {**catching, "no_proxy": spared}) == ()
    assert one("proxy-environment", {"ALL_PROXY": "socks5://x", "NO_PROXY": "localhost,.example.com"})
    assert found("proxy-environment", {"https_proxy": "http://x"}) == ()


@plants("wrong-user")
def test_the_wrong_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("wrong-user") == ()
    given_away(home, monkeypatch)
    assert "belongs to user" in one("wrong-user").what
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "on behalf of ann" in one("wrong-user", {"SUDO_USER": "ann"}).what


# --- services ---


class Units:
    """Installed units, and a systemctl that says what it is told to."""

    def __init__(self, home: Path) -> None:
        self.folder = home / ".config" / "systemd" / "user"
        self.env = {"PATH": f"{home}/bin:/usr/bin:/bin"}
        self.home = home
        self.says("running", "ActiveState=active")

    def says(self, state: str, shown: str) -> None:
        put(
            self.home / "bin" / "systemctl",
            f'#!/bin/sh\ncase "$*" in *is-system-running*) echo {state};; *) echo {shown};; esac\n',
            0o700,
        )

    def enable(self, name: str) -> None:
        wants = self.folder / "default.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / name).symlink_to(self.folder / name)

    def found(self, id_: str, **env: str) -> tuple[Finding, ...]:
        return found(id_, {**self.env, **env}, platform="linux", linger=self.home / "linger")


@pytest.fixture
def units(home: Path, monkeypatch: pytest.MonkeyPatch) -> Units:
    from broker.doctor.look import machine as look
    from broker.service import install

    made = Units(home)
    program = put(home / "bin" / "ccs-broker", "#!/bin/sh\n", 0o700)
    for module in (install, look):
        monkeypatch.setattr(module, "executable", lambda environ=None: str(program))
    monkeypatch.delenv("CCS_BROKER_RUNTIME_DIR")
    folder = home / ".ccs" / "cliproxy" / "auth"
    env = {**os.environ, **made.env}
    install.manager((folder,), env, "linux").install(start=False)
    return made


def names(findings: tuple[Finding, ...]) -> list[str]:
    return [each.where.rpartition("/")[2] for each in findings]


@plants("service-disabled")
def test_services_that_nothing_starts(units: Units) -> None:
    assert len(units.found("service-disabled")) == 4
    units.enable("ccs-broker.socket")  # on demand is a way to run the daemon
    assert names(units.found("service-disabled")) == ["ccs-broker-proxy.service"]
    units.enable("ccs-broker-proxy.service")
    assert units.found("service-disabled") == ()


@plants("service-lingering")
def test_services_that_end_with_the_session(units: Units) -> None:
    (finding,) = units.found("service-lingering")
    assert finding.severity is Severity.WARNING
    assert finding.mend.startswith("Run: loginctl enable-linger ")
    assert units.found("service-lingering", DISPLAY=":0")[0].severity is Severity.INFO
    put(units.home / "linger" / finding.where, "")
    assert units.found("service-lingering") == ()


@plants("service-outdated")
def test_a_unit_that_says_something_else(units: Units) -> None:
    assert units.found("service-outdated") == ()
    path = units.folder / "ccs-broker.service"
    path.write_text(path.read_text() + "\n# mine\n")
    assert names(units.found("service-outdated")) == ["ccs-broker.service"]
    assert units.found("service-program") == ()


def test_a_shell_with_another_path_is_no_reason_to_install_again(units: Units) -> None:
    assert units.found("service-outdated", PATH=f"{units.home}/bin:/bin:/usr/bin:/elsewhere") == ()
    assert len(units.found("service-outdated", CCS_DIR=str(units.home))) > 0


@plants("service-program")
def test_a_unit_that_starts_another_program(units: Units) -> None:
    assert units.found("service-program") == ()
    path, proxy = units.folder / "ccs-broker.service", units.folder / "ccs-broker-proxy.service"
    text = path.read_text()
    path.write_text(text.replace(f"{units.home}/bin/ccs-broker", "/nowhere/ccs-broker"))
    put(units.home / "old" / "ccs broker", "", 0o700)
    proxy.write_text(proxy.read_text().replace(f"{units.home}/bin/ccs-broker", '"%h/old/ccs broker"'))
    told = {each.where.rpartition("/")[2]: each for each in units.found("service-program")}
    assert told["ccs-broker.service"].severity is Severity.ERROR
    assert told["ccs-broker-proxy.service"].severity is Severity.WARNING
    assert f"starts {units.home}/old/ccs broker" in told["ccs-broker-proxy.service"].what
    assert units.found("service-outdated") == ()


@plants("service-failed")
def test_a_service_that_failed(units: Units) -> None:
    assert units.found("service-failed") == ()
    units.says("degraded", "'ActiveState=failed\nSubState=failed'")
    assert "ccs-broker.service" in names(units.found("service-failed"))
    assert "journalctl --user -e -u ccs-broker" in units.found("service-failed")[0].mend


def test_the_runtime_directory_matters_more_with_services(units: Units) -> None:
    assert units.found("runtime-dir")[0].severity is Severity.WARNING


def test_mending_steps_name_the_manager(units: Units) -> None:
    assert units.found("daemon-down")[0].mend == "Run: systemctl --user start ccs-broker"


def test_launchd_has_agents(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agents = home / "Library" / "LaunchAgents"
    from broker.service import units as texts

    for name, text in texts.launchd_plists(texts.LAUNCHD_DEFAULTS).items():
        put(agents / name, text.decode())
    put(agents / "ccs-broker.proxy.plist", "broken")
    (finding,) = found("service-program", platform="darwin")
    assert "/usr/local/bin/ccs-broker" in finding.what
    assert found("service-lingering", platform="darwin") == ()
    assert found("service-disabled", platform="darwin") == ()
