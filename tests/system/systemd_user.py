"""A real `systemd --user` for a test, in mount, process, network and cgroup namespaces of its own.

Nothing outside is changed but for one empty cgroup, which is removed at the end. Needs root.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HOME = Path("/home/tester")
RUNTIME = Path("/run/user/0")
SYSTEMD = Path("/lib/systemd/systemd")
TOOLS = ("unshare", "nsenter", "dbus-daemon", "systemctl", "mount", "umount", "curl")

# Runs as process 1 of the namespaces. /home and /run are empty file systems there, so that the user's folders are where the sandbox settings expect
# them. What InaccessiblePaths puts in a path's place is made by the system's manager, which is missing here. The user's manager gets a cgroup
# without processes above it, as the kernel demands for delegation.
INIT = f"""
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /home
mkdir -p /run/systemd/system {HOME}/.config/systemd/user
mkdir -p -m 700 {RUNTIME}
mkdir -p /run/systemd/inaccessible
mkdir -m 000 /run/systemd/inaccessible/dir
mkfifo -m 000 /run/systemd/inaccessible/fifo
mknod -m 000 /run/systemd/inaccessible/chr c 0 0
mknod -m 000 /run/systemd/inaccessible/blk b 0 0
: > /run/systemd/inaccessible/reg
chmod 000 /run/systemd/inaccessible/reg
"$PYTHON" -c "$LOOPBACK_UP"
dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --nopidfile --nosyslog --fork
mkdir /sys/fs/cgroup/manager
echo $$ > /sys/fs/cgroup/manager/cgroup.procs
{SYSTEMD} --user --unit=basic.target --log-target=console --default-standard-output=inherit --default-standard-error=inherit &
wait
"""

# SIOCGIFFLAGS and SIOCSIFFLAGS of <linux/sockios.h>; IFF_UP is 1. Saves a dependency on iproute2.
LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket() as any:
    asked = struct.pack("16sh", b"lo", 0)
    flags = struct.unpack("16sh", fcntl.ioctl(any, 0x8913, asked))[1]
    fcntl.ioctl(any, 0x8914, struct.pack("16sh", b"lo", flags | 1))
"""


def missing() -> str | None:
    """Return why it cannot be had here; None where it can."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [tool for tool in TOOLS if not shutil.which(tool)] + ([] if SYSTEMD.exists() else ["systemd"])
    if absent:
        return f"not installed: {', '.join(absent)}"
    if _cgroup_root() is None:
        return "no cgroup version 2 file system"
    tried = subprocess.run(["unshare", "-m", "-C", "-p", "-f", "-n", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "namespaces cannot be made here"


class UserSystemd:
    """The manager, and commands beside it."""

    def __init__(self, init: int, log: Path) -> None:
        self.root = Path(f"/proc/{init}/root")
        self._init = init
        self._log = log

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command as the manager's user would; return what it prints."""
        ended = subprocess.run(
            ["nsenter", "-t", str(self._init), "-m", "-p", "-n", "-C", *command],
            env=_environment(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if check and ended.returncode != 0:
            raise AssertionError(
                f"{command} ended with {ended.returncode}: {ended.stdout}{ended.stderr}\n{self._log.read_text()[-3000:]}"
            )
        return ended.stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "--user", "show", "-p", name, "--value", unit)

    def inside(self, path: Path) -> Path:
        """Return where a path of the namespace is seen from outside."""
        return self.root / path.relative_to("/")

    def until(self, seconds: float, *command: str, says: str) -> None:
        """Run a command again and again until it prints `says`."""
        end = time.monotonic() + seconds
        while (said := self.run(*command, check=False)) != says:
            if time.monotonic() > end:
                raise AssertionError(f"{command} never said {says!r} but {said!r}\n{self._log.read_text()[-3000:]}")
            time.sleep(0.1)


@contextlib.contextmanager
def user_systemd(log: Path) -> Iterator[UserSystemd]:
    """Start a manager; end it and everything it started."""
    root = _cgroup_root()
    assert root is not None
    cgroup = root / f"ccs-broker-test-{os.getpid()}"
    cgroup.mkdir()
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["unshare", "-m", "-C", "-p", "-f", "-n", "--kill-child", "sh", "-c", INIT],
                env=_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=lambda: (cgroup / "cgroup.procs").write_text("0"),  # noqa: PLW1509 - nothing else can move it before it unshares
            )  # fmt: skip
        try:
            manager = UserSystemd(_child(process.pid), log)
            manager.until(20, "systemctl", "--user", "is-system-running", says="running")
            yield manager
        finally:
            process.kill()
            process.wait()
    finally:
        _remove(cgroup)


def _environment() -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(HOME),
        "USER": "root",
        "LC_ALL": "C",
        "XDG_RUNTIME_DIR": str(RUNTIME),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={RUNTIME}/bus",
        "PYTHON": sys.executable,
        "LOOPBACK_UP": LOOPBACK_UP,
    }


def _cgroup_root() -> Path | None:
    """Find where cgroup version 2 is mounted: alone, or beside version 1."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    return None


def _child(pid: int) -> int:
    end = time.monotonic() + 10
    while not (found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < end, "unshare started nothing"
        time.sleep(0.01)
    return int(found[0])


def _remove(cgroup: Path) -> None:
    end = time.monotonic() + 10
    while cgroup.exists():
        # Processes killed with their namespace take a moment to leave.
        for folder in sorted((each for each in cgroup.rglob("*") if each.is_dir()), key=lambda each: -len(each.parts)):
            with contextlib.suppress(OSError):
                folder.rmdir()
        try:
            cgroup.rmdir()
        except OSError:
            assert time.monotonic() < end, f"{cgroup} is still in use"
            time.sleep(0.05)
