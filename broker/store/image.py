"""A file as it was read.

Owns: which files are fit to be read at all, reading one whole while others write it, and what tells one version from the next. It must never
wait for another process, read a file of another owner, or change anything but a mode that lets others read.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from broker.store.codec import MAX_BYTES, Fault, FaultKind

_READ_TRIES = 3
_PRIVATE_MODE = 0o600


class Image(msgspec.Struct, frozen=True):
    """A file as it was read: bytes, their SHA-256, and what tells one version from the next without reading."""

    data: bytes
    content: str
    mark: tuple[int, ...]
    repaired: bool = False

    def emptied(self) -> "Image":
        """Return all of it but the bytes."""
        return Image(b"", self.content, self.mark, self.repaired)

    def __repr__(self) -> str:
        # The bytes hold tokens.
        return f"Image(content={self.content!r}, mark={self.mark!r}, repaired={self.repaired!r})"


def read(
    path: Path | str,
    open_file: Callable[..., int] = os.open,
    chmod: Callable[[int, int], None] = os.fchmod,
    *,
    plain: bool = False,
) -> Image | Fault | None:
    """Read a file that should be ours alone; None where there is none. Never raises.

    Follows a symbolic link to a regular file of ours; opens nothing that could block or has another owner. Repairs a mode that
    lets others read. `open_file` and `chmod` are the system calls. `plain` says that the path was seen to be a regular file just now, which can be opened and
    then looked at; another owner's is closed unread.
    """
    try:
        fault = None if plain else _unfit(os.stat(path))  # noqa: PTH116 - `path` is text where there are many
        if fault is not None:
            return fault
        # O_NONBLOCK: the file may have become a pipe since it was looked at.
        fd = open_file(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            return _read(fd, chmod)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return Fault(FaultKind.UNREADABLE, "is a link to nothing") if Path(path).is_symlink() else None
    except OSError as error:
        if plain:
            return read(path, open_file, chmod)  # whose it is says more than that it cannot be opened
        return Fault(FaultKind.UNREADABLE, f"cannot be read: {errno.errorcode.get(error.errno or 0, 'EIO')}")


def mark_of(info: os.stat_result) -> tuple[int, ...]:
    """Return what changes whenever a file is written or replaced."""
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def content_of(data: bytes) -> str:
    """Return the SHA-256 by which our own writes are recognised."""
    return hashlib.sha256(data).hexdigest()


def _read(fd: int, chmod: Callable[[int, int], None]) -> Image | Fault:
    info = os.fstat(fd)
    fault = _unfit(info)
    if fault is not None:
        return fault
    repaired = bool(info.st_mode & 0o077) and _repair(fd, chmod)
    # Bytes read while somebody writes may be half of one version and half of the next.
    for _ in range(_READ_TRIES - 1):
        before = mark_of(os.fstat(fd) if repaired else info)
        # Room for what there is, and for a byte that would tell of more: for a megabyte the kernel would have to find memory each time.
        size = before[2]
        data = os.pread(fd, min(size, MAX_BYTES) + 1, 0)
        info = os.fstat(fd)
        if len(data) <= size and mark_of(info) == before:
            break
    else:
        before = mark_of(info)
        data = os.pread(fd, MAX_BYTES + 1, 0)
    return Image(data, content_of(data), before, repaired)


def _repair(fd: int, chmod: Callable[[int, int], None]) -> bool:
    with contextlib.suppress(OSError):
        chmod(fd, _PRIVATE_MODE)
        return True
    return False


def _unfit(info: os.stat_result) -> Fault | None:
    if not stat.S_ISREG(info.st_mode):
        return Fault(FaultKind.NOT_REGULAR, "is not a regular file")
    if info.st_uid != os.geteuid():
        return Fault(FaultKind.FOREIGN_OWNER, f"belongs to user {info.st_uid}, not to {os.geteuid()}")
    if info.st_size > MAX_BYTES:
        return Fault(FaultKind.TOO_BIG, f"is larger than {MAX_BYTES} bytes")
    return None
