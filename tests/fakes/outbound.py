"""Outbound proxies on loopback: one that speaks CONNECT (over TCP or TLS) and one that speaks SOCKS 5.

Both write down who was asked for and how, and carry bytes. Whatever name they are asked for is this machine.
"""

import asyncio
import base64
import contextlib
import ipaddress
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

USER, PASSWORD = "fake-user", "fake-pass:word@1"
LOGIN = "fake-user:fake-pass%3Aword%401"
"""Both, as they stand in a URL."""


@dataclass
class OutboundProxy:
    """What both have in common. `asked` are the hosts it was asked for, `targets` those a connection was made to, as they were asked for."""

    port: int = 0
    locked: bool = False
    refuses: int = 0
    silent: bool = False
    connections: int = 0
    asked: list[str] = field(default_factory=list)
    targets: list[tuple[str, int]] = field(default_factory=list)

    def url(self, scheme: str, login: str = "") -> str:
        return f"{scheme}://{login + '@' if login else ''}127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if self.silent:
                await reader.read()
            target = await self.greet(reader, writer)
            if target is not None:
                self.targets.append(target)
                await self._carry(target, reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.transport.abort()

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        raise NotImplementedError

    async def answer(self, writer: asyncio.StreamWriter, made: bool) -> None:
        raise NotImplementedError

    async def _carry(self, target: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = target[0] if _is_address(target[0]) else "127.0.0.1"
        try:
            await carry((host, target[1]), reader, writer, lambda: self.answer(writer, True))
        except ConnectionRefusedError:
            await self.answer(writer, False)


class ConnectProxy(OutboundProxy):
    """RFC 9110 section 9.3.6, with Basic authentication where it is `locked`."""

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, authority, version = head.split(b"\r\n")[0].split(b" ")
        assert (method, version) == (b"CONNECT", b"HTTP/1.1"), head
        assert b"\r\nHost: " + authority + b"\r\n" in head
        wanted = b"Proxy-Authorization: Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode())
        if self.locked and wanted not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            return None
        self.asked.append(authority.decode().rpartition(":")[0])
        if self.refuses:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 3\r\n\r\nno\n" % self.refuses)
            return None
        host, _, port = authority.decode().rpartition(":")
        return host.strip("[]"), int(port)

    async def answer(self, writer: asyncio.StreamWriter, made: bool) -> None:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n" if made else b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        await writer.drain()


class SocksProxy(OutboundProxy):
    """RFC 1928, with user name and password (RFC 1929) where it is `locked`. `kinds` are the address types asked for: 1 IPv4, 3 name, 4 IPv6."""

    def __init__(self, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]
        self.kinds: list[int] = []

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        version, count = await reader.readexactly(2)
        assert version == 5
        methods = await reader.readexactly(count)
        method = 2 if self.locked else 0
        writer.write(bytes([5, method if method in methods else 0xFF]))
        if method not in methods:
            return None
        if method == 2:
            _, length = await reader.readexactly(2)
            user = await reader.readexactly(length)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = (user.decode(), password.decode()) == (USER, PASSWORD)
            writer.write(bytes([1, 0 if right else 1]))
            if not right:
                return None
        _, command, _, kind = await reader.readexactly(4)
        assert command == 1
        self.kinds.append(kind)
        length = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        raw = await reader.readexactly(length)
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        host = raw.decode() if kind == 3 else str(ipaddress.ip_address(raw))
        self.asked.append(host)
        if self.refuses:
            writer.write(bytes([5, self.refuses, 0, 1, 0, 0, 0, 0, 0, 0]))
            return None
        return host, port

    async def answer(self, writer: asyncio.StreamWriter, made: bool) -> None:
        writer.write(bytes([5, 0 if made else 5, 0, 1, 127, 0, 0, 1, 0, 1]))
        await writer.drain()


@contextlib.asynccontextmanager
async def running(proxy: OutboundProxy, tls: ssl.SSLContext | None = None) -> AsyncIterator[OutboundProxy]:
    async with listening(proxy.serve, tls) as proxy.port:
        yield proxy


@contextlib.asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on a free port, and leave nothing behind."""
    tasks: set[asyncio.Task[None] | None] = set()
    writers: list[asyncio.StreamWriter] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        writers.append(writer)
        # A server's own tasks complain of being cancelled.
        with contextlib.suppress(asyncio.CancelledError, EOFError, OSError):
            await serve(reader, writer)

    server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        for _ in range(5):  # closing takes some rounds of the loop, more with TLS
            await asyncio.sleep(0)


async def carry(
    target: tuple[str, int],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    made: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Carry bytes both ways until one side ends; `made` is run once the target is connected."""
    up, down = await asyncio.open_connection(*target)
    try:
        if made is not None:
            await made()
        ways = [asyncio.ensure_future(_pump(reader, down)), asyncio.ensure_future(_pump(up, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
    finally:
        down.transport.abort()
        await asyncio.sleep(0)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
