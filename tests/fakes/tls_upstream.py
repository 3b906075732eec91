"""An upstream that speaks TLS and makes its records by hand, so that a test can hold them, cut them and end them."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from broker.proxy.wire.pool import Origin, Pool
from broker.proxy.wire.ticker import Ticker
from tests.fakes.certificates import Certificate

T = TypeVar("T")
Cut = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def pieces(*sizes: int) -> Cut:
    """Cut into pieces of these sizes, over and over."""

    def cut(data: bytes) -> Iterator[bytes]:
        at = turn = 0
        while at < len(data):
            yield data[at : at + sizes[turn % len(sizes)]]
            at, turn = at + sizes[turn % len(sizes)], turn + 1

    return cut


@dataclass
class TlsPeer:
    """The upstream's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    context: ssl.SSLContext
    number: int
    incoming: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    outgoing: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    read: bytes = b""

    async def begin(self) -> None:
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        await self._do(self.tls.do_handshake)

    async def request(self) -> bytes:
        """Return the body of the next request."""
        while b"\r\n\r\n" not in self.read:
            await self._more()
        head, _, self.read = self.read.partition(b"\r\n\r\n")
        length = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: ")), 0)
        while len(self.read) < length:
            await self._more()
        body, self.read = self.read[:length], self.read[length:]
        return body

    def records(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self.outgoing.read()

    def close_notify(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    async def send(self, data: bytes, cut: Cut = whole) -> None:
        for piece in cut(data):
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def _more(self) -> None:
        self.read += await self._do(lambda: self.tls.read(1 << 16))

    async def _do(self, step: Callable[[], T]) -> T:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self.send(self.outgoing.read())
                data = await self.reader.read(1 << 16)
                if not data:
                    raise ConnectionResetError from None
                self.incoming.write(data)
            else:
                await self.send(self.outgoing.read())
                return done


Serve = Callable[[TlsPeer], Awaitable[None]]


@contextlib.asynccontextmanager
async def upstream(made: Certificate, serve: Serve) -> AsyncIterator[tuple[Pool, Origin]]:
    """Serve TLS on loopback; a pool that trusts it, and its origin."""
    context, writers = made.server(), []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        peer = TlsPeer(reader, writer, context, len(writers))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await peer.begin()
            await serve(peer)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    ticker = Ticker(0.02)
    pool = Pool(ticker, 10.0, made.client())
    try:
        yield pool, Origin("https", "localhost", server.sockets[0].getsockname()[1])
    finally:
        pool.close()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.02)
        ticker.close()
