"""Looking at the machine: disks, limits, people, the services and the key of sealed files."""

import contextlib
import os
import plistlib
import pwd
import re
import resource
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from broker import paths
from broker.config import Config
from broker.doctor.facts import Key, Limit, Person, Services, Space, Unit
from broker.model.errors import BrokerError
from broker.service.install import executable, manager
from broker.service.steps import UnitState
from broker.store.files import Disk
from broker.store.keys import KEYRING_SECONDS, PASSPHRASE_FILE, Keys

Env = Mapping[str, str]

PROC = Path("/proc")
PASSWD = Path("/etc/passwd")
LINGER = Path("/var/lib/systemd/linger")
_FIRST_PERSON, _LAST_PERSON = 1000, 59_999  # login.defs(5): UID_MIN, and below what container tools hand out
_NO_SHELL = re.compile(r".*/(nologin|false|sync|git-shell)")
_SPARE_FILES = 100  # sockets, logs, databases and files a daemon has open besides its clients
_OPEN_FILES = re.compile(r"^Max open files\s+(\d+)", re.MULTILINE)
_GIVEN_BY = {"credential": "CREDENTIALS_DIRECTORY", "passphrase": PASSPHRASE_FILE}
_ESCAPE = re.compile(r"\\([0-7]{3})")


# --- disks ---


def spaces(folders: Iterable[tuple[Path, str]], proc: Path = PROC) -> Iterator[Space]:
    """Look at the file system each folder (with its role) lies on, or will."""
    mounts = list(_mounts(proc))
    for path, role in folders:
        nearest = next((each for each in (path, *path.parents) if os.access(each, os.F_OK)), Path("/"))
        with contextlib.suppress(OSError):
            info = os.statvfs(nearest)
            inodes = info.f_favail if info.f_files else None
            kind = _kind_of(nearest.resolve(), mounts)
            yield Space(path, role, kind, info.f_bavail * info.f_frsize, inodes)


def _mounts(proc: Path) -> Iterator[tuple[Path, str]]:
    """Yield mount points and their types (proc_pid_mountinfo(5)); nothing where there is no /proc."""
    try:
        lines = (proc / "self" / "mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) > 4 and right:
            point = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[4])
            yield Path(point), right.split(" ")[0]


def _kind_of(path: Path, mounts: Sequence[tuple[Path, str]]) -> str:
    # Of mounts over one another the last counts.
    over = [(len(point.parts), number) for number, (point, _) in enumerate(mounts) if path.is_relative_to(point)]
    return mounts[max(over)[1]][1] if over else ""


# --- limits ---


def limits(config: Config, running: Mapping[str, int | None], proc: Path = PROC) -> Iterator[Limit]:
    """Look at the limits of processes that run (a role and a process id), and of this one for those that do not."""
    own, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A request through the proxy has two connections: the client's and the upstream's.
    needs = {"the daemon": config.socket.max_connections, "the proxy": 2 * config.proxy.max_connections}
    for who, needed in needs.items():
        pid = running.get(who)
        soft = _limit_of(pid, proc) if pid else None
        name = who if soft is not None else f"{who} started from this shell"
        limit = own if soft is None else soft
        yield Limit(name, sys.maxsize if limit == resource.RLIM_INFINITY else limit, needed + _SPARE_FILES)


def _limit_of(pid: int, proc: Path) -> int | None:
    try:
        found = _OPEN_FILES.search((proc / str(pid) / "limits").read_text())
    except OSError:
        return None
    return int(found[1]) if found else None


# --- people ---


def person(env: Env, passwd: Path = PASSWD) -> Person:
    """Look at who runs us, and who else may log in here."""
    uid, home = os.geteuid(), paths.home(env)
    sudo = env.get("SUDO_USER") if uid == 0 and env.get("SUDO_USER") != "root" else None
    try:
        owner = home.stat().st_uid
    except OSError:
        owner = uid
    return Person(uid, sudo, str(home), owner if owner != uid else None, tuple(_others(uid, passwd)))


def _others(uid: int, passwd: Path) -> Iterator[str]:
    try:
        lines = passwd.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split(":")
        if len(fields) != 7 or not fields[2].isdecimal() or _NO_SHELL.fullmatch(fields[6]):
            continue
        if _FIRST_PERSON <= int(fields[2]) <= _LAST_PERSON and int(fields[2]) != uid:
            yield fields[0]


# --- services ---


def services(directories: Sequence[Path], env: Env, linger: Path = LINGER, platform: str = sys.platform) -> Services:
    """Look at the installed service files; an empty value where there are none, or this machine has no manager we know."""
    try:
        found = manager(directories, env, platform)
        ours = executable(env)
        installed = [unit for unit in found.status() if unit.installed]
        installed = _whatever_path(installed, directories, env, platform)
    except BrokerError:
        return Services()
    if not installed:
        return Services()
    systemd = found.name == "systemd"
    user = _user()
    units = tuple(_unit(each, env, systemd=systemd) for each in installed)
    desktop = bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))
    return Services(found.name, units, ours, os.access(linger / user, os.F_OK) if systemd else None, desktop, user)


def _whatever_path(
    installed: Sequence[UnitState], directories: Sequence[Path], env: Env, platform: str
) -> list[UnitState]:
    """Return the states with files that differ only in the PATH of the shell they were installed from taken for current."""
    given = {path for unit in installed if not unit.current and (path := _path_in(Path(unit.file)))}
    same: set[str] = set()
    for path in given - {env.get("PATH", "")}:
        again = manager(directories, {**env, "PATH": path}, platform)
        same |= {unit.name for unit in again.status() if unit.current}
    return [replace(unit, current=unit.current or unit.name in same) for unit in installed]


def _path_in(file: Path) -> str:
    """Return the PATH a service file gives its program; empty where it gives none."""
    with contextlib.suppress(OSError, ValueError, plistlib.InvalidFileException, AttributeError):
        if file.suffix == ".plist":
            given = plistlib.loads(file.read_bytes()).get("EnvironmentVariables", {}).get("PATH")
            return given if isinstance(given, str) else ""
        for line in file.read_text(errors="replace").splitlines():
            name, _, value = line.partition("=")
            words = shlex.split(value) if name == "Environment" else []
            if words and words[0].startswith("PATH="):
                return words[0].removeprefix("PATH=").replace("%%", "%")
    return ""


def _unit(state: UnitState, env: Env, *, systemd: bool) -> Unit:
    file = Path(state.file)
    program = (_exec_start if systemd else _program_arguments)(file)
    if program is not None:
        program = program.replace("%h", str(paths.home(env))).replace("%%", "%") if systemd else program
    runs = program is None or os.access(program, os.X_OK)
    enabled = _enabled(file) if systemd else None
    return Unit(state.name, file, state.current, state.state, program, runs, enabled)


def _exec_start(file: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("ExecStart="):
                return next(iter(shlex.split(line.removeprefix("ExecStart="))), None)
    return None


def _program_arguments(file: Path) -> str | None:
    with contextlib.suppress(OSError, plistlib.InvalidFileException, ValueError, LookupError, TypeError):
        first = plistlib.loads(file.read_bytes())["ProgramArguments"][0]
        return first if isinstance(first, str) else None
    return None


def _enabled(file: Path) -> bool:
    """Tell whether anything wants a unit, as `systemctl enable` arranges it."""
    folders = (*file.parent.glob("*.wants"), *file.parent.glob("*.requires"))
    return any(os.path.lexists(folder / file.name) for folder in folders)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


# --- the key of sealed files ---


def key(config: Config, state_dir: Path, env: Env, keyring_seconds: float = KEYRING_SECONDS) -> Key:
    """Ask for the key of sealed files, making none; `keyring_seconds` bounds the keyring's answer."""
    if config.store.mode != "sealed":
        return Key()
    keys = Keys(state_dir, env, _no_random, Disk(lambda: "never"), keyring_seconds)
    try:
        keys.prove(config.store.key_source)
    except BrokerError as error:
        source = keys.source(config.store.key_source)
        # What the service manager or its unit gives the daemon is not in this shell.
        ours = source in ("credential", "passphrase") and not env.get(_GIVEN_BY.get(source, ""))
        return Key(error.detail, error.hint, keyring=source == "keyring", elsewhere=ours)
    return Key()


def _no_random(count: int) -> bytes:
    raise AssertionError(f"the doctor makes no key of {count} bytes")
