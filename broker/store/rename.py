"""Two renames Python does not offer: exchange two files, and rename only to a free name.

Owns: the calls into the C library. An exchange keeps what it replaces, so that a foreign write that came in between is seen and not lost;
`os.replace` would destroy it unseen. It must never fall back to something weaker without saying so: callers ask `None`-able results.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable

_AT_FDCWD = -100
# Linux renameat2(2); macOS renamex_np(2).
_NOREPLACE, _EXCHANGE = (4, 2) if sys.platform == "darwin" else (1, 2)
# What file systems and kernels without these flags answer.
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


class UnsupportedRenameError(OSError):
    """This system or file system has no such rename."""


def exchange(one: str, other: str) -> None:
    """Swap two names in one step.

    Raises:
        UnsupportedRenameError: not here; nothing happened.
        OSError: it failed; nothing happened.
    """
    _call(one, other, _EXCHANGE)


def rename_new(source: str, target: str) -> None:
    """Rename `source`; `target` must not exist.

    Raises:
        FileExistsError: it does.
        OSError: it failed; nothing happened.
    """
    try:
        _call(source, target, _NOREPLACE)
    except UnsupportedRenameError:
        # A link fails on an existing name too. Between the two calls the file has both names, which loses nothing.
        os.link(source, target)
        os.unlink(source)  # noqa: PTH108 - strings, as the calls above


def _find() -> Callable[[bytes, bytes, int], int] | None:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            swap = library.renamex_np
            return lambda one, other, flags: int(swap(one, other, flags))
        renameat2 = library.renameat2
    except (AttributeError, OSError):
        return None
    return lambda one, other, flags: int(renameat2(_AT_FDCWD, one, _AT_FDCWD, other, flags))


_rename = _find()


def _call(one: str, other: str, flags: int) -> None:
    if _rename is None:
        raise UnsupportedRenameError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    ctypes.set_errno(0)
    if _rename(os.fsencode(one), os.fsencode(other), flags) == 0:
        return
    number = ctypes.get_errno()
    kind = UnsupportedRenameError if number in _UNSUPPORTED else OSError
    raise kind(number, os.strerror(number), one, None, other)
