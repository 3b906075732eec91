"""A Unix-socket server that answers with bytes written in the test, and remembers what it was asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

HANG = b"<hang>"
CLOSE = b"<close>"


@dataclass
class RawServer:
    """`scripts` holds, for each connection in order, the answers to its requests; HANG waits for ever, CLOSE hangs up."""

    path: Path
    scripts: list[list[bytes]]
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    peak: int = 0
    tasks: set["asyncio.Task[None] | None"] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[self.connections] if self.connections < len(self.scripts) else []
        self.connections += 1
        self.open += 1
        self.peak = max(self.peak, self.open)
        self.tasks.add(asyncio.current_task())
        try:
            for answer in script:
                if answer is CLOSE:
                    break
                self.requests.append(await _request(reader))
                if answer is HANG:
                    await reader.read()
                    break
                for start in range(0, len(answer), 7):  # in small pieces, so that readers meet every cut
                    writer.write(answer[start : start + 7])
                    await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            self.open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def raw_server(path: Path, *scripts: list[bytes]) -> AsyncIterator[RawServer]:
    running = RawServer(path, list(scripts))
    server = await asyncio.start_unix_server(running.serve, path)
    try:
        yield running
    finally:
        server.close()
        if tasks := [task for task in running.tasks if task is not None]:
            await asyncio.wait(tasks, timeout=5)


def answer(body: bytes, *, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def chunked(*pieces: bytes, kind: str = "text/event-stream", end: bool = True) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + body + (b"0\r\n\r\n" if end else b"")


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head + (await reader.readexactly(length) if length else b"")
