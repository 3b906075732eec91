"""Answers as the bytes of HTTP/1.1 responses.

Owns: the heads of responses, and problem documents for errors. It must never know of connections.
"""

from functools import lru_cache
from http import HTTPStatus
from typing import Final

import msgspec

from broker import __version__
from broker.ipc.schema import PROBLEM_JSON, encode, problem_of
from broker.model.errors import BrokerError, ErrorCode

COMMON_HEADERS: Final = {"Server": f"ccs-broker/{__version__}", "Cache-Control": "no-store"}

LAST_CHUNK: Final = b"0\r\n\r\n"
"""The end of a response in chunks."""


class Reply(msgspec.Struct, frozen=True):
    """A status, and a body of `media_type`. `close`: what follows on the connection may not be what it seems."""

    status: int
    body: bytes
    media_type: str
    extra: tuple[tuple[str, str], ...] = ()
    close: bool = False

    def __repr__(self) -> str:
        # The body may be a lease.
        return f"Reply(status={self.status}, {len(self.body)} bytes)"

    def encode(self, connection: str = "", number: str = "", *, head_only: bool = False) -> bytes:
        """Return the response. `connection` is what its header of that name says, `number` the request's id; a HEAD is answered with `head_only`."""
        lines = f"Content-Length: {len(self.body)}\r\n"
        if number:
            lines += f"X-Request-Id: {number}\r\n"
        for name, value in self.extra:
            lines += f"{name}: {value}\r\n"
        if connection:
            lines += f"Connection: {connection}\r\n"
        head = _start(self.status, self.media_type) + lines.encode() + b"\r\n"
        return head if head_only else head + self.body


def found(body: bytes, media_type: str, number: int) -> bytes:
    """Return the response of status 200 with `body`, on a connection that goes on; what `Reply.encode` makes, without making one."""
    return b"%bContent-Length: %d\r\nX-Request-Id: %x\r\n\r\n%b" % (_start(200, media_type), len(body), number, body)


def stream_head(media_type: str, number: str) -> bytes:
    """Return the head of a response that goes on in chunks until the connection ends (RFC 9112 section 7.1)."""
    lines = f"Transfer-Encoding: chunked\r\nX-Request-Id: {number}\r\nConnection: close\r\n\r\n"
    return _start(200, media_type) + lines.encode()


def problem(error: BrokerError, extra: tuple[tuple[str, str], ...] = (), *, close: bool = False) -> Reply:
    """Return the reply for an error."""
    if error.retry_after is not None:
        extra = (*extra, ("Retry-After", str(max(1, round(error.retry_after)))))
    return Reply(error.status, encode(problem_of(error)), PROBLEM_JSON, extra, close)


def too_slow(seconds: float) -> BrokerError:
    """Return the error for a request that did not arrive in time."""
    return BrokerError(ErrorCode.TOO_SLOW, f"the request did not arrive whole within {seconds:g} s")


@lru_cache(maxsize=256)
def _start(status: int, media_type: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in COMMON_HEADERS.items()),
        f"Content-Type: {media_type}",
    ]
    return "\r\n".join([*lines, ""]).encode()
