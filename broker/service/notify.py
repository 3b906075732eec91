"""Telling the service manager how we are: the sd_notify protocol (sd_notify(3)).

Owns: one datagram a message to `$NOTIFY_SOCKET`. It must never fail or block its caller: a manager that does not listen is no reason to
stop serving tokens. Without `$NOTIFY_SOCKET` every call does nothing.
"""

import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class Notifier:
    """Speaks to the manager that started this process, if one did."""

    __slots__ = ("_address",)

    def __init__(self, address: str | None) -> None:
        """Send to `address`: a path, or an abstract name written with a leading `@`; None or anything else mutes."""
        self._address = address if address and address[0] in "/@" else None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Notifier":
        """Make one from `$NOTIFY_SOCKET`."""
        return cls(environ.get("NOTIFY_SOCKET"))

    @property
    def active(self) -> bool:
        """Whether a manager listens."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """Say that clients are served from now on; `status` is one line for `systemctl status`."""
        self._send(f"READY=1\nSTATUS={_line(status)}\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Say that settings are being read again; `ready` says that it is over."""
        self._send("RELOADING=1")

    def status(self, status: str) -> None:
        """Say what we are doing."""
        self._send(f"STATUS={_line(status)}")

    def stopping(self, status: str, *, within_seconds: float) -> None:
        """Say that the end has begun, and that it may take `within_seconds` (the manager's own limit may be shorter)."""
        self._send(f"STOPPING=1\nSTATUS={_line(status)}\nEXTEND_TIMEOUT_USEC={int(within_seconds * 1_000_000)}")

    def extend(self, seconds: float) -> None:
        """Ask for `seconds` more for the start or stop under way."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        # An abstract name is written with "@" and begins with a zero byte.
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), address)
        except OSError as error:
            _log.debug("service manager not told", extra={"error": type(error).__name__})


def _line(text: str) -> str:
    return " ".join(text.split())
