"""A small client of the daemon on the standard library alone, for the command line.

Owns: one request over one connection, with one deadline for all of it. It must never import asyncio, aiohttp, msgspec or http.client: `ccs-broker token`
starts in tens of milliseconds (tests/ipc/test_sync_client.py looks at `sys.modules`). Typed answers: `broker.ipc.sync_typed`.
"""

import json
import socket
import time
from os import PathLike, fspath

from broker.model.errors import BrokerError, ErrorCode

__all__ = ["request"]

_READ_BYTES = 1 << 16
_MAX_BYTES = 64 << 20
_HEAD_END = b"\r\n\r\n"


def request(
    socket_path: "str | PathLike[str]", method: str, target: str, body: object = None, *, timeout: float = 10.0
) -> tuple[int, dict[str, object]]:
    """Send one request and return the status and the JSON object of its answer (a problem document for statuses from 400).

    `target` is path and query, already percent-encoded; `body` is anything `json` can write; None sends none. `timeout` seconds bound everything.

    Raises:
        BrokerError: `daemon_unreachable` where nobody listens or the answer breaks off, `deadline_exceeded`, `internal` where it makes no sense.
    """
    deadline = _Deadline(timeout)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            deadline.apply(connection)
            connection.connect(fspath(socket_path))
            _send(connection, _encode(method, target, body))
            status, data = _answer(connection, deadline, method)
    except TimeoutError:
        raise BrokerError(ErrorCode.DEADLINE_EXCEEDED, f"the daemon did not answer within {timeout:g} s") from None
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BrokerError(
            ErrorCode.DAEMON_UNREACHABLE, f"no daemon answers at {fspath(socket_path)}: {reason}"
        ) from None
    return status, _object(status, data)


class _Deadline:
    def __init__(self, seconds: float) -> None:
        # perf_counter, not broker.system: that imports asyncio. It is used for one socket's timeout and nowhere shown.
        self._end = time.perf_counter() + seconds

    def apply(self, connection: socket.socket) -> None:
        left = self._end - time.perf_counter()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)


def _encode(method: str, target: str, body: object) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: ccs-broker\r\nConnection: close\r\n"
    if body is None:
        return f"{head}Content-Length: 0\r\n\r\n".encode("latin-1")
    data = json.dumps(body).encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode("latin-1") + data


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        # Refused early: the answer may be there to read all the same.
        return


def _answer(connection: socket.socket, deadline: _Deadline, method: str) -> tuple[int, bytes]:
    incoming = _Incoming(connection, deadline)
    while True:
        status, headers = _head(incoming.until(_HEAD_END))
        if status >= 200:
            break
    if method == "HEAD" or status in (204, 304):
        return status, b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return status, _chunked(incoming)
    length = headers.get("content-length")
    if length is None:
        return status, incoming.rest()
    if not length.isdecimal():
        raise BrokerError(ErrorCode.INTERNAL, "the daemon's answer has no valid length")
    return status, incoming.exactly(int(length))


def _head(data: bytes) -> tuple[int, dict[str, str]]:
    line, *rest = data.decode("latin-1").split("\r\n")
    version, _, status = line.partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdecimal():
        raise BrokerError(ErrorCode.INTERNAL, "what listens there does not speak HTTP")
    headers = (each.partition(":") for each in rest if each)
    return int(status[:3]), {name.strip().lower(): value.strip() for name, _, value in headers}


def _chunked(incoming: "_Incoming") -> bytes:
    pieces: list[bytes] = []
    while True:
        text = incoming.until(b"\r\n").split(b";")[0].strip()
        try:
            size = int(text, 16)
        except ValueError:
            raise BrokerError(ErrorCode.INTERNAL, "the daemon's answer has a chunk of no size") from None
        if size == 0:
            while incoming.until(b"\r\n"):
                pass  # trailers
            return b"".join(pieces)
        pieces.append(incoming.exactly(size))
        incoming.until(b"\r\n")


class _Incoming:
    """Bytes from the socket, bounded in time and size."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = b""
        self._total = 0

    def until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._buffer += self._more()
        found, _, self._buffer = self._buffer.partition(end)
        return found

    def exactly(self, size: int) -> bytes:
        pieces, have = [self._buffer], len(self._buffer)
        while have < size:
            pieces.append(self._more())
            have += len(pieces[-1])
        data = b"".join(pieces)
        self._buffer = data[size:]
        return data[:size]

    def rest(self) -> bytes:
        pieces = [self._buffer]
        self._buffer = b""
        while piece := self._read():
            pieces.append(piece)
        return b"".join(pieces)

    def _more(self) -> bytes:
        if not (data := self._read()):
            raise EOFError("it hung up before its answer was whole")
        return data

    def _read(self) -> bytes:
        self._deadline.apply(self._connection)
        data = self._connection.recv(_READ_BYTES)
        self._total += len(data)
        if self._total > _MAX_BYTES:
            raise BrokerError(ErrorCode.TOO_LARGE, f"the daemon's answer is longer than {_MAX_BYTES} bytes")
        return data


def _object(status: int, data: bytes) -> dict[str, object]:
    if not data:
        return {}
    try:
        value = json.loads(data)
    except ValueError:
        raise BrokerError(ErrorCode.INTERNAL, f"the daemon's answer ({status}) is not JSON") from None
    if not isinstance(value, dict):
        raise BrokerError(ErrorCode.INTERNAL, f"the daemon's answer ({status}) is not a JSON object")
    return value
