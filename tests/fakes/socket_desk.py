"""A real server on both Unix sockets that answers from a table written in the test, in a thread of its own, and remembers what it was asked."""

import json
import shutil
import socketserver
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from broker.ipc.schema import encode, problem_of
from broker.model.errors import BrokerError


@dataclass
class Asked:
    """One request as it came."""

    socket: str
    method: str
    target: str
    body: object


Reply = object
"""A struct or a dict (200), or a BrokerError (its problem document); a callable is asked for one each time, and gets the request."""


@dataclass
class SocketDesk:
    """What is answered: `"METHOD /path"` without the query to a reply. Anything else is a 404 without a body."""

    folder: Path
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def reply(self, request: Asked) -> tuple[int, bytes]:
        self.asked.append(request)
        found = self.replies.get(f"{request.method} {request.target.split('?')[0]}")
        if isinstance(found, Callable):
            found = found(request)
        if isinstance(found, BrokerError):
            return found.status, encode(problem_of(found))
        return (404, b"") if found is None else (200, encode(found))

    @property
    def targets(self) -> list[str]:
        return [f"{each.method} {each.target}" for each in self.asked]


@contextmanager
def socket_desk() -> Iterator[SocketDesk]:
    """Serve `token.sock` and `broker.sock` in a folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="desk-"))
    desk = SocketDesk(folder)
    servers = [_Server(desk, name) for name in ("token.sock", "broker.sock")]
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield desk
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()
        shutil.rmtree(folder)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, desk: SocketDesk, name: str) -> None:
        self.desk = desk
        self.name = name
        super().__init__(str(desk.folder / name), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is part of the tests; anything else is told as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        status, data = self.server.desk.reply(Asked(self.server.name, self.command, self.path, body))
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *args: object) -> None:
        pass
