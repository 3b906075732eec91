"""Files that hold secrets.

Owns: reading one, and refusing it where others could have read or written it.
"""

import os
import stat
from pathlib import Path


def read_private(path: Path, limit: int) -> bytes:
    """Read a file that is the user's alone.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more than `limit` bytes, is no regular file, another user's, or open to other users.
    """
    # Without O_NONBLOCK a named pipe in its place would hold the thread for good.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as source:
        info = os.fstat(source.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise ValueError("is not a regular file")
        if info.st_uid not in {0, os.geteuid()}:
            raise ValueError("belongs to another user")
        if info.st_mode & 0o077:
            raise ValueError(f"is open to other users (mode {stat.S_IMODE(info.st_mode):04o}); run: chmod 600 {path}")
        data = source.read(limit + 1)
    if len(data) > limit:
        raise ValueError("is too large")
    return data
