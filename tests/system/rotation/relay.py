"""A proxy in front of a token endpoint: it passes on, cuts, delays, and drops answers after the server has acted.

It moves bytes and knows nothing of OAuth; where an answer ends is read from its head, so that it can be had whole before any of it is passed on.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from urllib.parse import urlsplit

LATE_SECONDS = 0.3


class Way(StrEnum):
    """What becomes of a request and its answer."""

    PASS = "pass it on"
    CUT_REQUEST = "cut the request"  # it is read, and never passed on
    CUT_ANSWER = "cut the answer"  # half of it comes
    DROP_ANSWER = "drop the answer"  # the server has acted, and nothing comes
    HOLD_ANSWER = "hold the answer"  # the same, and the connection stays open
    LATE = "delay the answer"


class Relay:
    """Listens on loopback, at `url`. `way` may be set at any time; `seen` counts requests that were read."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        assert parts.port is not None
        self._to = (parts.hostname, parts.port)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._let_go = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()
        self.way = Way.PASS
        self.seen = 0

    @classmethod
    @asynccontextmanager
    async def before(cls, target: str) -> AsyncIterator["Relay"]:
        """Stand before the server at `target`, a URL."""
        relay = cls(target)
        await relay.listen()
        try:
            yield relay
        finally:
            relay._let_go.set()
            await relay.refuse()
            await asyncio.gather(*relay._serving)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def listen(self) -> None:
        """Listen, at the same port each time."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Listen no more."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = self.way
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                request = await _message(reader)
                self.seen += 1
                if way is not Way.CUT_REQUEST:
                    answer = await self._ask(request)
                    await self._pass_on(way, answer, writer)
        finally:
            writer.close()

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._to)
        try:
            writer.write(request)
            return await _message(reader, to_the_end=True)
        finally:
            writer.close()

    async def _pass_on(self, way: Way, answer: bytes, writer: asyncio.StreamWriter) -> None:
        match way:
            case Way.CUT_ANSWER:
                writer.write(answer[: len(answer) - 20])  # the head and most of the body
            case Way.DROP_ANSWER:
                return
            case Way.HOLD_ANSWER:
                await self._let_go.wait()
                return
            case Way.LATE:
                await asyncio.sleep(LATE_SECONDS)
                writer.write(answer)
            case _:
                writer.write(answer)
        await writer.drain()


async def _message(reader: asyncio.StreamReader, *, to_the_end: bool = False) -> bytes:
    """Read one HTTP message: as long as its head tells, or (an answer) to the end of the connection where it does not."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if not lengths:
        return head + (await reader.read() if to_the_end else b"")
    return head + await reader.readexactly(int(lengths[0]))
