"""An upstream that keeps every byte it is sent, a connection at a time, and answers each request as soon as a strict reader sees its end."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.fakes.strict_http import Message, requests


@dataclass
class Line:
    """One connection, and all that came over it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    data: bytearray = field(default_factory=bytearray)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def shut(self) -> None:
        """Send no more, and go on reading."""
        self.writer.write_eof()

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Answer = Callable[[Line, Message], Awaitable[None]]


@dataclass
class RecordingUpstream:
    """`answer` is called with each request in turn; with `early` it is called when the head is there, and the body may still be on its way."""

    answer: Answer
    early: bool = False
    lines: list[Line] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Message]:
        """What came, in order.

        Raises:
            AssertionError: on one of the connections something came that is no whole request of one reading.
        """
        out: list[Message] = []
        for line in self.lines:
            reading = requests(bytes(line.data))
            assert reading.exact, (reading.fault, reading.rest[:200])
            out += reading.messages
        return out

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for line in self.lines:
            line.writer.transport.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.early:
            # What is not read must not fit into buffers on the way.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line = Line(reader, writer)
        self.lines.append(line)
        answered = wanted = 0
        try:
            while data := await reader.read(65536):
                line.data += data
                if len(line.data) < wanted:
                    continue
                reading = requests(bytes(line.data))
                ready = reading.messages if self.early else reading.whole
                for each in ready[answered:]:
                    answered += 1
                    await self.answer(line, each)
                if reading.messages and reading.messages[-1].body is None:
                    # Not read again before its body can be there: it may be large.
                    lengths = reading.messages[-1].all("content-length")
                    wanted = len(line.data) - len(reading.rest) + int(lengths[0] if lengths else 0)
        except ConnectionError:
            pass
        finally:
            writer.close()
