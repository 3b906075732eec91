"""Framing does not depend on how bytes are cut, and no bytes at all bring the server down."""

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.proxy.wire.exchange import Limits
from broker.proxy.wire.listener import Listener
from broker.proxy.wire.server import ServerConnection
from broker.proxy.wire.ticker import Ticker
from tests.proxy.wire.conftest import EchoApp

STREAM = (
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
    b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: t\r\n\r\n"
    b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
    b"GET /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)


class Wire(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.out += bytes(data)

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        self.over = True

    abort = close

    def write_eof(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def serve(pieces: list[bytes]) -> tuple[EchoApp, bytes]:
    async def run() -> tuple[EchoApp, bytes]:
        app, ticker, wire = EchoApp(), Ticker(), Wire()
        connection = ServerConnection(Listener(app, Limits(body_bytes=10_000), ticker))
        connection.connection_made(wire)
        for piece in pieces:
            if not wire.over:
                connection.data_received(piece)
        connection.connection_lost(None)
        ticker.close()
        return app, wire.out

    return asyncio.run(run())


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in [*pieces, data] if piece]


WHOLE_APP, WHOLE_OUT = serve([STREAM])


def test_the_stream_is_what_it_seems() -> None:
    assert [line for line in WHOLE_APP.log if line.startswith("body")] == [
        "body /a 0", "body /b 4", "body /c 3", "body /stream 0", "body /d 0",
    ]  # fmt: skip
    assert len(re.findall(rb"HTTP/1\.1 200", WHOLE_OUT)) == 5


@given(st.lists(st.integers(1, 60), max_size=40))
@settings(max_examples=150)
def test_cuts_change_nothing(sizes: list[int]) -> None:
    app, out = serve(cut(STREAM, sizes))
    assert app.log == WHOLE_APP.log
    assert out == WHOLE_OUT


FRAGMENTS = [
    b"GET", b"POST", b" /a", b" /early", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b"Host: x", b"Content-Length: 3", b"Content-Length: 5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Expect: 100-continue", b"Connection: close", b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc",
    b"\r\n\r\n", b":", b" ", b"\t", b"\0", b"\xff", b"Upgrade: h2c", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]  # fmt: skip


@given(
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=5)), max_size=40),
    st.lists(st.integers(1, 30), max_size=10),
)
@settings(max_examples=400)
def test_no_bytes_bring_it_down(fragments: list[bytes], sizes: list[int]) -> None:
    app, out = serve(cut(b"".join(fragments), sizes))
    assert out == b"" or out.startswith(b"HTTP/1.1 ")
    assert not [line for line in app.log if line.startswith("fault 5")]


@given(st.integers(0, len(STREAM) - 1), st.binary(min_size=1, max_size=3))
@settings(max_examples=300)
def test_a_changed_byte_never_makes_more_requests(at: int, change: bytes) -> None:
    app, _ = serve([STREAM[:at] + change + STREAM[at + len(change) :]])
    assert sum(line.startswith("head") for line in app.log) <= 5
