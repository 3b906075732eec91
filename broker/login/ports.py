"""Loopback sockets, and who holds a port.

Owns: binding the callback's port on 127.0.0.1 and ::1 and nowhere else, and naming the program that has it already, where /proc tells.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ANY_PORT_TRIES = 20
_BACKLOG = 16
_LISTENING = "0A"  # TCP_LISTEN in include/net/tcp_states.h
_NO_IPV6 = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EINVAL})
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that listens on a port."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def bind_loopback(port: int) -> tuple[int, list[socket.socket]]:
    """Listen on `port` (0: any free one) of both loopback addresses; return the port and the sockets.

    `localhost` may mean either address to a browser, so both must be ours: a port that is free on one only counts as taken. A system without
    IPv6 has one.

    Raises:
        OSError: with EADDRINUSE where the port is taken.
    """
    tries = 1 if port else _ANY_PORT_TRIES
    for left in reversed(range(tries)):
        first = _listen(socket.AF_INET, "127.0.0.1", port)
        chosen: int = first.getsockname()[1]
        try:
            return chosen, [first, _listen(socket.AF_INET6, "::1", chosen)]
        except OSError as error:
            if error.errno in _NO_IPV6:
                return chosen, [first]
            first.close()
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def holder_of(port: int, proc: Path = _PROC) -> Holder | None:
    """Return the process that listens on a local TCP port; None where the system does not tell, or it is another user's."""
    inodes = set(_listening_inodes(port, proc))
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    with contextlib.suppress(OSError):
        for folder in proc.iterdir():
            if folder.name.isdigit() and wanted & set(_open_files(folder / "fd")):
                return Holder(int(folder.name), _name_of(folder))
    return None


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0))
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind((address, port))
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _listening_inodes(port: int, proc: Path) -> Iterator[str]:
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            # local address, remote address, state, ..., inode: Documentation/networking/proc_net_tcp.rst
            if len(columns) > 9 and columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]


def _open_files(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for link in folder.iterdir():
            with contextlib.suppress(OSError):
                yield os.readlink(link)  # noqa: PTH115 - the target is not a path


def _name_of(folder: Path) -> str:
    try:
        return (folder / "comm").read_text().strip() or "a program"
    except OSError:
        return "a program"
