"""How often what an upstream sends is acknowledged.

Owns: `spare`, and when it is worth it. Linux acknowledges each small segment as soon as it is read, which is a quarter of what a part of a quick stream
costs here. Told that the connection is interactive (`TCP_QUICKACK` off, tcp(7)) it waits for the next one, or 40 ms. An upstream that holds small writes back
until the last one is acknowledged (Nagle's algorithm, RFC 9293 section 3.7.4) then waits 40 ms, but once: an acknowledgement that was late ends that state,
and all is as before. So only streams that come in many parts a second are spared, each once, and the beginning of an answer never is. It must never see data.
"""

import asyncio
import contextlib
import socket
from typing import Final

READS: Final = 64
"""So many reads of one answer are looked at together."""

SECONDS: Final = 0.5
"""Where they took less than this the stream is quick: a single pause of 40 ms is less than its reader could notice."""

_QUICK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux


def spare(transport: asyncio.Transport) -> None:
    """Acknowledge less often from now on, until an acknowledgement comes too late. Does nothing where the system has no such thing."""
    where = transport.get_extra_info("socket")
    if _QUICK is not None and where is not None:
        with contextlib.suppress(OSError):  # it may have been closed since
            where.setsockopt(socket.IPPROTO_TCP, _QUICK, 0)
