"""What SIGHUP means.

Owns: telling a request to read the settings again from the end of the terminal the program was started on, which sends the same signal.
"""

import os
from collections.abc import Callable

_TERMINAL = "/dev/tty"


def handler(reload: Callable[[], None], end: Callable[[], None]) -> Callable[[], None]:
    """Return what to do on SIGHUP: `end` where the terminal there is now has gone by then, else `reload`."""
    had = _has_terminal()

    def hangup() -> None:
        if had and not _has_terminal():
            end()
        else:
            reload()

    return hangup


def _has_terminal() -> bool:
    """Tell whether this process has a controlling terminal (tty(4): opening it fails without one, and after a hang-up)."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
