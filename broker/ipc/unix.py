"""Unix sockets: made closed, never closed afterwards.

Owns: the private folder, binding under a strict umask, telling a live socket from a stale one, taking over what systemd opened, and who is on the other
end. It must never accept a connection or speak HTTP.

Paths come from `broker.paths.socket_path`, which checks their length.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from broker.model.errors import BrokerError, ErrorCode

__all__ = ["adopt", "bind_socket", "peer_pid", "peer_uid", "private_folder", "remove_socket", "remove_stale"]

_LISTEN_FDS_START = 3  # sd_listen_fds(3)
_BACKLOG = 512
_PROBE_SECONDS = 2.0
_LOCK_FILE = ".bind.lock"


def private_folder(folder: Path) -> None:
    """Make `folder` and its missing parents with mode 0700, or check that it is ours; loose modes of our own are repaired.

    Raises:
        BrokerError: `forbidden_peer` where it is a link, no folder or another user's; `bad_request` where it cannot be made.
    """
    try:
        _make(folder)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            f"{folder}: {error.strerror}",
            hint="Set CCS_BROKER_RUNTIME_DIR to a folder of your own.",
        ) from None
    try:
        found = os.fstat(handle)
        if found.st_uid != os.geteuid():
            raise BrokerError(
                ErrorCode.FORBIDDEN_PEER,
                f"{folder} belongs to user {found.st_uid}, not to {os.geteuid()}",
                hint="Set CCS_BROKER_RUNTIME_DIR to a folder of your own.",
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)


def bind_socket(path: Path) -> socket.socket:
    """Bind and listen at `path`, mode 0600 from the first moment; its folder must exist. A stale socket is replaced, nothing else is.

    The umask belongs to the whole process: call this before any thread is started. Two processes that start at once are kept apart by a lock
    file in the folder.

    Raises:
        BrokerError: `bad_request` where a daemon listens there (its process id is named), or something else is in the way.
    """
    with _locked(path.parent):
        _clear_way(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o177)
            try:
                listener.bind(os.fspath(path))
            finally:
                os.umask(before)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise BrokerError(ErrorCode.BAD_REQUEST, f"cannot listen at {path}: {error.strerror}") from None
    return listener


def remove_socket(path: Path, listener: socket.socket) -> None:
    """Close `listener` and remove its socket file, unless another process has put its own there meanwhile."""
    with contextlib.suppress(OSError, BrokerError), _locked(path.parent):
        # A probe finds us while we still listen, so close first; whoever answers then is someone else.
        listener.close()
        if _live_pid(path) is None and stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listener.close()


def remove_stale(path: Path) -> bool:
    """Remove a socket file nobody listens on; return whether there is none now.

    Raises:
        BrokerError: `bad_request` where its folder cannot be used.
    """
    with _locked(path.parent):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return True
        if not stat.S_ISSOCK(mode) or _live_pid(path) is not None:
            return False
        path.unlink(missing_ok=True)
        return True


def adopt(env: Mapping[str, str], pid: int) -> dict[str, socket.socket]:
    """Take over the listening sockets a service manager opened for process `pid` (sd_listen_fds(3)), by their names.

    Returns an empty table when there are none. The caller removes LISTEN_* from its environment, so that no child believes them.

    Raises:
        BrokerError: `bad_request` where the variables make no sense or a descriptor is not a listening Unix socket.
    """
    if env.get("LISTEN_PID") != str(pid) or not env.get("LISTEN_FDS"):
        return {}
    try:
        count = int(env["LISTEN_FDS"])
    except ValueError:
        raise BrokerError(ErrorCode.BAD_REQUEST, "LISTEN_FDS is not a number") from None
    names = env.get("LISTEN_FDNAMES", "").split(":")
    if len(names) != count or len(set(names)) != count:
        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            f"LISTEN_FDNAMES must name {count} different sockets",
            hint="Each socket unit needs its own FileDescriptorName=.",
        )
    return {name: _adopted(_LISTEN_FDS_START + index, name) for index, name in enumerate(names)}


def peer_uid(connection: socket.socket) -> int:
    """Return the user id of the process on the other end, as the kernel recorded it. Raises OSError."""
    if sys.platform == "darwin":
        return _darwin_uid(connection)
    return _linux_peer(connection)[1]


def peer_pid(connection: socket.socket) -> int | None:
    """Return the process id on the other end, for display only: ids are reused. None where the system does not say."""
    try:
        if sys.platform == "darwin":
            local_peerpid = 2  # <sys/un.h>
            return connection.getsockopt(0, local_peerpid) or None
        return _linux_peer(connection)[0] or None
    except OSError:
        return None


def _make(folder: Path) -> None:
    # Path.mkdir gives parents the default mode; ours are private too.
    for each in [*reversed(folder.parents), folder]:
        with contextlib.suppress(FileExistsError):
            each.mkdir(mode=0o700)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        handle = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"{folder}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _clear_way(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise BrokerError(ErrorCode.BAD_REQUEST, f"{path} is in the way and is not a socket", hint="Move it away.")
    if (pid := _live_pid(path)) is not None:
        who = f"process {pid}" if pid else "another process"
        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            f"{who} already listens at {path}",
            hint="A daemon is running: use it, or stop it first.",
        )
    path.unlink(missing_ok=True)


def _live_pid(path: Path) -> int | None:
    """Return the process id behind a socket file, 0 where it is not known, None where nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except OSError as error:
            if error.errno in (errno.ENOTSOCK, errno.EPROTOTYPE):
                return None
            return 0  # a full backlog, a frozen process, another user's: not ours to take
        return peer_pid(probe) or 0


def _adopted(descriptor: int, name: str) -> socket.socket:
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"the passed socket {name!r}: {error.strerror}") from None
    listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if listener.family != socket.AF_UNIX or listener.type != socket.SOCK_STREAM or not listening:
        listener.detach()
        raise BrokerError(ErrorCode.BAD_REQUEST, f"the passed socket {name!r} is not a listening Unix stream socket")
    listener.set_inheritable(False)
    listener.setblocking(False)
    return listener


def _linux_peer(connection: socket.socket) -> tuple[int, int]:
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


def _darwin_uid(connection: socket.socket) -> int:
    # struct xucred of <sys/ucred.h>: version, uid, group count, 16 groups; LOCAL_PEERCRED is 1 at level SOL_LOCAL (0).
    size = struct.calcsize("IIh16I")
    version, uid = struct.unpack_from("II", connection.getsockopt(0, 1, size))
    if version != 0:
        raise OSError(errno.EPROTO, "unknown version of the peer's credentials")
    return int(uid)
