"""Whose program is at the other end of a TCP connection on this machine.

Owns: asking Linux, by one netlink question (sock_diag(7), a few microseconds), or where that is not allowed by reading /proc/net/tcp, which walks all
sockets (proc_net(5)). It must never decide who gets in: `access` does.
"""

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

Address = tuple[str, int]

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_ALL_STATES: Final = 0xFFFFFFFF
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST: Final = struct.Struct("=BBBxI")  # struct inet_diag_req_v2 up to its socket id
_UID_OFFSET: Final = (
    _HEADER.size + 4 + 48 + 12
)  # in struct inet_diag_msg: after four bytes, the socket id, expires, rqueue and wqueue
_TIMEOUT_SECONDS: Final = 0.5
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def same_user(peer: Address, local: Address) -> bool | None:
    """Tell whether the socket at `peer` that is connected to our `local` is our own user's; None where the system cannot say.

    False also where there is no such socket on this machine (any more).
    """
    if sys.platform != "linux":
        return None
    try:
        uid = _ask_netlink(peer, local)
    except OSError:
        try:
            uid = find_uid(peer, local, (line for table in _TABLES for line in _lines(table)))
        except OSError:
            return None
    return uid == os.getuid()


def find_uid(peer: Address, local: Address, table: Iterable[str]) -> int | None:
    """Find the owner of the socket at `peer` in the lines of /proc/net/tcp and tcp6."""
    wanted = {(_hex(peer, mapped=mapped), _hex(local, mapped=mapped)) for mapped in (False, True)}
    for line in table:
        fields = line.split()
        if len(fields) > 7 and (fields[1], fields[2]) in wanted:
            return int(fields[7])
    return None


def holder_of(port: int) -> str | None:
    """Return `name (pid N)` of a program of ours that listens on a TCP port, where /proc tells; other users' are not visible."""
    try:
        inodes = _listeners(port)
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and _has_socket(process, inodes):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    except OSError:
        return None
    return None


def _ask_netlink(peer: Address, local: Address) -> int | None:
    source, target = _ip(peer[0]), _ip(local[0])
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    identity = struct.pack(">HH16s16s", peer[1], local[1], source.packed, target.packed) + struct.pack(
        "=III", 0, _ALL_STATES, _ALL_STATES
    )
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ALL_STATES) + identity
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as asking:
        asking.settimeout(_TIMEOUT_SECONDS)
        asking.send(header + request)
        answer = asking.recv(4096)
    if len(answer) < _UID_OFFSET + 4 or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    return int(struct.unpack_from("=I", answer, _UID_OFFSET)[0])


def _lines(table: Path) -> list[str]:
    return table.read_text().splitlines()[1:] if table.exists() else []


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def _hex(address: Address, *, mapped: bool) -> str:
    """Write an address as the tables do: 32-bit words in the machine's byte order, then the port."""
    ip = _ip(address[0])
    packed = b"\0" * 10 + b"\xff\xff" + ip.packed if mapped and ip.version == 4 else ip.packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"


def _listeners(port: int) -> set[str]:
    found = set()
    for table in _TABLES:
        for line in _lines(table):
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _has_socket(process: Path, names: set[str]) -> bool:
    try:
        return any(str(link.readlink()) in names for link in (process / "fd").iterdir())
    except OSError:
        return False  # another user's, or gone meanwhile
