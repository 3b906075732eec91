"""Whether another program has a file open for writing.

Owns: the question to the kernel. Linux answers it by the way of leases (fcntl(2), F_SETLEASE): a read lease is granted only where nobody has the file open for
writing. It must never keep a lease: whoever opened the file meanwhile would have to wait for it.
"""

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

_STEP_SECONDS = 0.002
_SET_LEASE: int | None = getattr(fcntl, "F_SETLEASE", None)
_SET_SIGNAL: int | None = getattr(fcntl, "F_SETSIG", None)


def await_none(path: Path, seconds: float = 1.0) -> bool:
    """Wait until nobody has this file open for writing, for `seconds` at most; tell whether that is known. Blocks its thread."""
    for _ in range(round(seconds / _STEP_SECONDS)):
        if not (found := open_for_writing(path)):
            return found is False
        time.sleep(_STEP_SECONDS)
    return False


def open_for_writing(path: Path) -> bool | None:
    """Tell whether somebody has this file open for writing; None where the system or the file system cannot tell."""
    if _SET_LEASE is None or _SET_SIGNAL is None:
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _asked(fd, _SET_LEASE, _SET_SIGNAL)
    finally:
        os.close(fd)


def _asked(fd: int, set_lease: int, set_signal: int) -> bool | None:
    try:
        # Whoever opens the file between the two calls has us told by a signal; SIGIO, the usual one, would end the process.
        fcntl.fcntl(fd, set_signal, signal.SIGURG)
        fcntl.fcntl(fd, set_lease, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, set_lease, fcntl.F_UNLCK)
    return False
