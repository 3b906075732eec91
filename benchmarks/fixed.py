"""A server that always gives the same answer, as cheaply as Python can: the reference, and the upstream behind the proxy.

`python -m benchmarks.fixed ANSWERS (--unix PATH | --port N)`: ANSWERS is a JSON file, a list of pairs of a path's beginning and a body; the first that
fits is given, else the last. It prints its port (or `0`) when it listens, and ends when its stdin does.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import cast

import httptools
import uvloop

Answers = list[tuple[bytes, bytes]]


class FixedAnswer(asyncio.Protocol):
    """A connection. The whole answer is prebuilt; the request is only framed."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._answer = answers[-1][1]
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            assert self._transport is not None
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        for start, answer in self._answers:
            if url.startswith(start):
                self._answer = answer
                return

    def on_message_complete(self) -> None:
        assert self._transport is not None
        self._transport.write(self._answer)


def answer(body: bytes) -> bytes:
    """Return a whole response with a JSON body."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(answers: Answers, unix: Path | None, port: int) -> None:
    """Listen until stdin ends."""
    loop = asyncio.get_running_loop()
    if unix is not None:
        server = await loop.create_unix_server(lambda: FixedAnswer(answers), str(unix), backlog=1024)
        bound = 0
    else:
        server = await loop.create_server(lambda: FixedAnswer(answers), "127.0.0.1", port, backlog=1024)
        bound = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"{bound}\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    server.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("answers", type=Path)
    parser.add_argument("--unix", type=Path)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    pairs = [(start.encode(), answer(body.encode())) for start, body in json.loads(given.answers.read_text())]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(pairs, given.unix, given.port))


if __name__ == "__main__":
    main()
