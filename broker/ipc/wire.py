"""HTTP/1.1 over one Unix connection, client side.

Owns: writing a request, reading its answer, and telling whether the connection can carry another. It must never decide what an answer means, or
when to try again.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httptools

from broker.model.errors import BrokerError, ErrorCode

__all__ = ["Answer", "Connection", "StaleConnectionError", "request_head", "unreachable"]

HOST: Final = "ccs-broker"
"""The one `Host` the daemon answers to (besides `localhost`, for curl)."""

_READ_BYTES = 1 << 16
_MAX_BODY_BYTES = 64 << 20


class StaleConnectionError(Exception):
    """The connection ended before the first byte of an answer: the daemon had closed it while it lay idle, or has just stopped."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whole. `headers` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        # The body may be a lease.
        return f"Answer(status={self.status}, {len(self.body)} bytes)"


def request_head(
    method: str, target: str, *, body: bytes | None = None, extra: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """Write a request without or with a JSON body."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {HOST}", *(f"{name}: {value}" for name, value in extra)]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    elif method != "GET":
        lines.append("Content-Length: 0")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "strict") + (body or b"")


def unreachable(path: Path, reason: str) -> BrokerError:
    """Return the error for a daemon that is not there."""
    return BrokerError(ErrorCode.DAEMON_UNREACHABLE, f"no daemon answers at {path}: {reason}")


class Connection:
    """A connection to the daemon; one request at a time."""

    def __init__(self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `open`."""
        self._path = path
        self._reader = reader
        self._writer = writer
        self._reusable = True
        self._parse = _Parse()

    @classmethod
    async def open(cls, path: Path) -> "Connection":
        """Connect.

        Raises:
            BrokerError: `daemon_unreachable`.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise unreachable(path, error.strerror or type(error).__name__) from None
        return cls(path, reader, writer)

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: the last answer allowed it, and the daemon has not hung up since."""
        return self._reusable and not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        """Hang up."""
        self._reusable = False
        self._writer.close()

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and read its whole answer; the connection closes itself if that fails.

        Raises:
            StaleConnectionError: hung up before the first byte of an answer.
            BrokerError: `daemon_unreachable` where the answer broke off, `internal` where it is not HTTP.
        """
        try:
            await self._send(request)
            while not self._parse.done:
                await self._advance()
        except BaseException:
            self.close()
            raise
        self._reusable = self._parse.keep_alive
        return Answer(self._parse.status, self._parse.headers, self._parse.take())

    async def begin(self, request: bytes) -> Answer:
        """Send a request and read the head of its answer; `piece` reads the rest. The connection carries nothing else. Raises as `exchange`."""
        self._reusable = False
        await self._send(request)
        while not self._parse.status:
            await self._advance()
        return Answer(self._parse.status, self._parse.headers, b"")

    async def piece(self) -> bytes:
        """Return the next bytes of the body, empty at its end. Raises as `exchange`."""
        while not (data := self._parse.take()) and not self._parse.done:
            await self._advance()
        return data

    async def _send(self, request: bytes) -> None:
        self._parse = _Parse()
        self._writer.write(request)
        with contextlib.suppress(ConnectionError):
            # A daemon that refuses early closes its end; its answer is still there to read.
            await self._writer.drain()

    async def _advance(self) -> None:
        try:
            data = await self._reader.read(_READ_BYTES)
        except OSError:
            data = b""
        if not data and not self._parse.begun:
            raise StaleConnectionError
        if not data:
            raise unreachable(self._path, "it hung up before its answer was whole")
        try:
            self._parse.feed(data)
        except httptools.HttpParserError:
            raise BrokerError(ErrorCode.INTERNAL, f"what listens at {self._path} does not speak HTTP") from None


class _Parse:
    """The callbacks of llhttp."""

    def __init__(self) -> None:
        self.begun = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.done = False
        self.keep_alive = False
        self._body: list[bytes] = []
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self.begun = True
        self._parser.feed_data(data)
        if self._size > _MAX_BODY_BYTES:
            raise BrokerError(ErrorCode.TOO_LARGE, f"an answer of the daemon is longer than {_MAX_BODY_BYTES} bytes")

    def take(self) -> bytes:
        body, self._body, self._size = self._body, [], 0
        return b"".join(body)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._size += len(body)

    def on_message_complete(self) -> None:
        self.done = True
        self.keep_alive = self._parser.should_keep_alive()
