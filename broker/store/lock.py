"""Locks between processes.

Owns: taking an flock on a file that is never unlinked, and who holds it. The kernel drops it when its holder dies, however it dies.
It must never wait: the caller asks again. It must never decide anything by the text in a lock file, which is for messages only.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from broker.store.files import naming

_HOLDER_BYTES = 120


def try_lock(path: Path, role: str) -> int | None:
    """Take the lock and return its file descriptor; None while somebody else has it. `os.close` gives it back.

    Raises StorageError: the lock file cannot be opened or made.
    """
    while True:
        with naming("open the lock", path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with naming("lock", path), contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _still_there(fd, path):
                    _sign(fd, role)
                    taken, fd = fd, -1
                    return taken
                continue  # somebody deleted the file under us: a lock on it excludes nobody
            return None
        finally:
            if fd >= 0:
                os.close(fd)


def holder(path: Path) -> str | None:
    """Return what the holder wrote about itself (`pid 123, daemon`); None where it wrote nothing."""
    try:
        with path.open("rb") as file:
            text = file.read(_HOLDER_BYTES).decode(errors="replace").partition("\n")[0]
    except OSError:
        return None
    return text if text and text.isprintable() else None


def _still_there(fd: int, path: Path) -> bool:
    mine = os.fstat(fd)
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)


def _sign(fd: int, role: str) -> None:
    # On a full disk the lock still locks.
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"pid {os.getpid()}, {role}\n".encode()[:_HOLDER_BYTES], 0)
