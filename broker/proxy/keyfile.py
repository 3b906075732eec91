"""The file of the local keys.

Owns: reading it, following it, and changing it: one change at a time, whole or not at all, on the disk before it is told done. What stands in it `keys`
says. It must never be given a key, only digests.
"""

import contextlib
import errno
import fcntl
import logging
import os
import stat
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.keys import LocalKey, Ring, decode, encode

_log = logging.getLogger(__name__)

_MAX_BYTES: Final = 4 << 20

Edit = Callable[[tuple[LocalKey, ...]], tuple[LocalKey, ...]]


class KeyFile:
    """The keys in a file, as they are now."""

    def __init__(self, path: Path) -> None:
        """Read it; what cannot be read is told in the log and opens nothing."""
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._told = ""
        self.ring = Ring()
        self.look()

    def look(self) -> None:
        """Take in a changed file. Costs one `stat` where it is the same.

        Keys of a file that is gone open nothing any more. While one cannot be read or makes no sense, those known before go on working.
        """
        try:
            seen = _identity(self._path.stat())
        except FileNotFoundError:
            seen = None
        except OSError as error:
            self._tell(error.strerror or "cannot be read")
            return
        if seen == self._seen and not self._told:
            return
        try:
            keys = read(self._path)
        except BrokerError as error:
            self._tell(error.detail)
            return
        self._seen, self._told = seen, ""
        self.ring = Ring(keys)
        _log.info("local keys read", extra={"keys": len(keys)})

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            text = "the local keys' file cannot be used; those known before go on working"
            _log.error(text, extra={"file": str(self._path), "reason": why})


def read(path: Path) -> tuple[LocalKey, ...]:
    """Read the keys; a missing file holds none.

    Raises:
        BrokerError: `misconfigured`, naming the file: it cannot be read, makes no sense, or is open to others' writing.
    """
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            if info.st_uid not in (0, os.geteuid()):
                raise _fault(path, "belongs to another user, who could make keys in it")
            if info.st_mode & 0o022:
                raise _fault(path, f"can be written by other users (mode {stat.S_IMODE(info.st_mode):04o})")
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _fault(path, error.strerror or "cannot be read") from error
    if len(data) > _MAX_BYTES:
        raise _fault(path, f"is larger than {_MAX_BYTES} bytes")
    try:
        return decode(data)
    except ValueError as error:
        raise _fault(path, str(error)) from None


def change(path: Path, edit: Edit) -> None:
    """Replace the keys by what `edit` makes of them, durably; it may raise. Waits while another process changes them.

    Raises:
        BrokerError: `misconfigured` as `read` does, `storage_unwritable` where the disk refuses: then everything is as before.
    """
    # A link stays a link: what it leads to is replaced.
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            _replace(path, encode(edit(read(path))))
    except OSError as error:
        reason = error.strerror or errno.errorcode.get(error.errno or 0, "unknown")
        raise BrokerError(ErrorCode.STORAGE_UNWRITABLE, f"{path} cannot be written: {reason}") from error


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    # Never unlinked: a lock on a file that is gone excludes nobody.
    fd = os.open(path.with_name(f".{path.stem}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _replace(path: Path, data: bytes) -> None:
    # Under the lock, so one name will do, and what a process that died left behind is out of the way.
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if sys.platform == "darwin":  # fsync there stops at the drive's cache
                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            os.fsync(fd)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _identity(info: os.stat_result) -> tuple[int, ...]:
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_mode


def _fault(path: Path, why: str) -> BrokerError:
    return BrokerError(ErrorCode.MISCONFIGURED, f"{path}: {why}", hint="docs/files.md says what the file is.")
