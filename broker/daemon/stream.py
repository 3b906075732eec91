"""One reader of the push stream.

Owns: handing the frames to its connection, and giving up on a reader that does not read. Every reader is handed the same bytes; what it has not read
waits in its connection's buffer, up to a limit.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from broker.ipc.sse import COMMENT

BACKLOG_BYTES: Final = 1 << 20
"""How far a reader may fall behind, on top of its first snapshot: some hundred changes."""


def chunk(data: bytes) -> bytes:
    """Wrap bytes as one chunk of the chunked transfer coding (RFC 9112 section 7.1); the hub does it once for all readers."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


_COMMENT = chunk(COMMENT)


class Stream:
    """A reader: what it has not read yet is bounded, in bytes and in time."""

    def __init__(
        self, transport: asyncio.WriteTransport, *, cut: Callable[[], None], backlog: int = BACKLOG_BYTES
    ) -> None:
        """`transport` has sent the response's head with chunked encoding; `cut` is told when the reader is given up on."""
        self._transport = transport
        self._cut = cut
        self._limit = backlog
        self._ended = asyncio.Event()
        self._waiting = False

    def begin(self, data: bytes) -> None:
        """Send what the reader missed, whatever its size, and a comment, so that it sees the stream is open."""
        self._limit += len(data)
        self.take(data + _COMMENT)

    def take(self, data: bytes) -> None:
        """Send wrapped frames, the same object for all readers; never waits. It is the hub's `Reader`."""
        if self._ended.is_set():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._limit:
            self._give_up()

    def close(self) -> None:
        """End the stream: the daemon stops."""
        self._ended.set()

    async def run(self, keepalive: float) -> None:
        """Send a comment every `keepalive` seconds until the stream ends; give up on a reader that is behind at two of them in a row.

        Cancelled when the connection is lost.
        """
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(keepalive):
                    await self._ended.wait()
            except TimeoutError:
                self._tick()

    def _tick(self) -> None:
        behind = self._transport.get_write_buffer_size() > 0
        if behind and self._waiting:
            self._give_up()
            return
        self._waiting = behind
        self.take(_COMMENT)

    def _give_up(self) -> None:
        self._ended.set()
        self._cut()
        self._transport.abort()
