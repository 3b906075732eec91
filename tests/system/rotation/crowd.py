"""A crowd that costs little: one process, many connections, requests encoded beforehand, and a clock that is read before anything is parsed.

What it tells of an answer is when it could be read, so that 500 clients' own computing is not taken for the daemon's. A line of JSON comes on stdin
(`socket`, `requests`: each the text of a whole HTTP request); for each round a line goes to stdout: `[seconds, status, body]` for each connection,
counted from just before its own request was sent. A further line on stdin with other requests is the next round on the same connections.
"""

import json
import select
import socket
import sys
import time


def connect(path: str, count: int) -> list[socket.socket]:
    made = []
    for _ in range(count):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        made.append(connection)
    return made


def ask(connections: list[socket.socket], requests: list[bytes]) -> list[tuple[float, int, str]]:
    """Send all requests at once; return what came, in their order."""
    poll = select.epoll()
    numbers = {each.fileno(): number for number, each in enumerate(connections)}
    for fd in numbers:
        poll.register(fd, select.EPOLLIN | select.EPOLLET)
    sent = [0.0] * len(requests)
    for number, (connection, request) in enumerate(zip(connections, requests, strict=True)):
        sent[number] = time.monotonic()
        connection.sendall(request)
    readable: dict[int, float] = {}
    while len(readable) < len(requests):
        ready = poll.poll()
        now = time.monotonic()
        for fd, _ in ready:
            readable.setdefault(numbers[fd], now)
    poll.close()
    return [(readable[number] - sent[number], *answer(connection)) for number, connection in enumerate(connections)]


def answer(connection: socket.socket) -> tuple[int, str]:
    """Read one whole answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    length = int(next(line.partition(":")[2] for line in lines if line.startswith("content-length:")))
    while len(body) < length:
        body += _more(connection)
    return int(lines[0].split()[1]), body.decode()


def _more(connection: socket.socket) -> bytes:
    piece = connection.recv(1 << 16)
    if not piece:
        raise ConnectionError("hung up")
    return piece


def main() -> None:
    connections: list[socket.socket] = []
    for line in sys.stdin:
        order = json.loads(line)
        requests = [each.encode() for each in order["requests"]]
        connections = connections or connect(order["socket"], len(requests))
        print(json.dumps(ask(connections, requests)), flush=True)


if __name__ == "__main__":
    main()
