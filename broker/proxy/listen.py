"""The listening socket.

Owns: binding `proxy.host` and `proxy.port`, and saying who is in the way where that fails. It must never accept.
"""

import errno
import os
import socket
from typing import Final

from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.peers import holder_of

BACKLOG: Final = 1024


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Bind, not listen. `shared` lets several workers of this user bind the same port (SO_REUSEPORT), once nobody else has it.

    Raises:
        BrokerError: `bad_request`, naming the setting and who holds the port.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"proxy.host: {host!r} is no address of this machine") from error
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        if not shared:
            made.listen(BACKLOG)  # two sockets with SO_REUSEADDR may bind one port, but only one may listen
    except OSError as error:
        made.close()
        raise _in_the_way(host, port, error) from error
    made.setblocking(False)
    return made


def _in_the_way(host: str, port: int, error: OSError) -> BrokerError:
    if error.errno == errno.EADDRINUSE:
        holder = holder_of(port) or "another program"
        return BrokerError(
            ErrorCode.BAD_REQUEST,
            f"proxy.port: {port} on {host} is in use by {holder}",
            hint="Stop it, or set another proxy.port.",
        )
    return BrokerError(ErrorCode.BAD_REQUEST, f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}")
