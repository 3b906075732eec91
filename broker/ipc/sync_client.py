"""A small client of the daemon on the standard library alone, for the command line.

Owns: one request over one connection, with one deadline for all of it. It must never import asyncio, aiohttp, msgspec or http.client, nor anything at all
before something has gone wrong or JSON is to be read: `ccs-broker token` takes little longer than the interpreter's own start (tests/cli/test_token.py looks at
`sys.modules`). Typed answers: `broker.ipc.sync_typed`.
"""

# The module behind `socket`: that one's enums and selectors take more time than a request.
import _socket
import time
from os import fspath

TYPE_CHECKING = False  # typing is as heavy
if TYPE_CHECKING:
    from os import PathLike

    from broker.model.errors import BrokerError

__all__ = ["exchange", "parsed", "request"]

_READ_BYTES = 1 << 16
_MAX_BYTES = 64 << 20
_HEAD_END = b"\r\n\r\n"


def request(
    socket_path: "str | PathLike[str]", method: str, target: str, body: object = None, *, timeout: float = 10.0
) -> tuple[int, dict[str, object]]:
    """Send one request and return the status and the JSON object of its answer (a problem document for statuses from 400).

    Arguments and errors are those of `exchange`.
    """
    status, data = exchange(socket_path, method, target, body, timeout=timeout)
    return status, parsed(status, data)


def exchange(
    socket_path: "str | PathLike[str]", method: str, target: str, body: object = None, *, timeout: float = 10.0
) -> tuple[int, bytes]:
    """Send one request and return the status and the bytes of its answer.

    `target` is path and query, already percent-encoded; `body` is anything `json` can write; None sends none. `timeout` seconds bound everything.

    Raises:
        BrokerError: `daemon_unreachable` where nobody listens or the answer breaks off, `deadline_exceeded`, `internal` where it makes no sense.
    """
    deadline = _Deadline(timeout)
    try:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            deadline.apply(connection)
            connection.connect(fspath(socket_path))
            _send(connection, _encode(method, target, body))
            return _answer(connection, deadline, method)
        finally:
            connection.close()
    except TimeoutError:
        raise _error("deadline_exceeded", f"the daemon did not answer within {timeout:g} s") from None
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _error("daemon_unreachable", f"no daemon answers at {fspath(socket_path)}: {reason}") from None


def parsed(status: int, data: bytes) -> dict[str, object]:
    """Return the JSON object of an answer; raises `internal` where it is none."""
    if not data:
        return {}
    import json  # noqa: PLC0415

    try:
        value = json.loads(data)
    except ValueError:
        raise _error("internal", f"the daemon's answer ({status}) is not JSON") from None
    if not isinstance(value, dict):
        raise _error("internal", f"the daemon's answer ({status}) is not a JSON object")
    return value


class _Deadline:
    def __init__(self, seconds: float) -> None:
        # perf_counter, not broker.system: that imports asyncio. It is used for one socket's timeout and nowhere shown.
        self._end = time.perf_counter() + seconds

    def apply(self, connection: _socket.socket) -> None:
        left = self._end - time.perf_counter()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)


def _encode(method: str, target: str, body: object) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: ccs-broker\r\nConnection: close\r\n"
    if body is None:
        return f"{head}Content-Length: 0\r\n\r\n".encode("latin-1")
    import json  # noqa: PLC0415

    data = json.dumps(body).encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode("latin-1") + data


def _send(connection: _socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        # Refused early: the answer may be there to read all the same.
        return


def _answer(connection: _socket.socket, deadline: _Deadline, method: str) -> tuple[int, bytes]:
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
        raise _error("internal", "the daemon's answer has no valid length")
    return status, incoming.exactly(int(length))


def _head(data: bytes) -> tuple[int, dict[str, str]]:
    line, *rest = data.decode("latin-1").split("\r\n")
    version, _, status = line.partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdecimal():
        raise _error("internal", "what listens there does not speak HTTP")
    headers = (each.partition(":") for each in rest if each)
    return int(status[:3]), {name.strip().lower(): value.strip() for name, _, value in headers}


def _chunked(incoming: "_Incoming") -> bytes:
    pieces: list[bytes] = []
    while True:
        text = incoming.until(b"\r\n").split(b";")[0].strip()
        try:
            size = int(text, 16)
        except ValueError:
            raise _error("internal", "the daemon's answer has a chunk of no size") from None
        if size == 0:
            while incoming.until(b"\r\n"):
                pass  # trailers
            return b"".join(pieces)
        pieces.append(incoming.exactly(size))
        incoming.until(b"\r\n")


class _Incoming:
    """Bytes from the socket, bounded in time and size."""

    def __init__(self, connection: _socket.socket, deadline: _Deadline) -> None:
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
            raise _error("too_large", f"the daemon's answer is longer than {_MAX_BYTES} bytes")
        return data


def _error(code: str, detail: str) -> "BrokerError":
    from broker.model.errors import BrokerError, ErrorCode  # noqa: PLC0415

    return BrokerError(ErrorCode(code), detail)
