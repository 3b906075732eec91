"""Quick streams are acknowledged less often, and nobody waits for that more than once."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from broker.proxy.wire import acks
from broker.proxy.wire.client import UpstreamConnection, UpstreamError
from broker.proxy.wire.heads import ResponseHead
from tests.fakes.upstream import Peer

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux lets a program choose")

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PART = b"1\r\na\r\n"
END = b"0\r\n\r\n"


@dataclass
class Got:
    """A receiver that waits for parts, and where the connection belongs."""

    parts: int = 0
    done: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def on_response(self, head: ResponseHead) -> None:
        pass

    def on_data(self, parts: list[bytes]) -> None:
        self.parts += 1
        self.heard.set()

    def on_done(self, parts: list[bytes]) -> None:
        self.done += 1
        self.heard.set()

    def on_failed(self, failure: UpstreamError) -> None:
        raise AssertionError(failure.text)

    def made(self, connection: UpstreamConnection) -> None:
        pass

    released = lost = made


@dataclass
class Stream:
    """Answers that come a part at a time, on a clock that only moves when told."""

    upstream: Peer
    got: Got
    connection: UpstreamConnection
    clock: list[float]

    async def ask(self) -> None:
        self.connection.send(self.got, "POST", b"POST / HTTP/1.1\r\nhost: x\r\n\r\n", b"")
        await self._heard(HEAD + PART)

    async def parts(self, count: int, seconds: float) -> None:
        for _ in range(count):
            self.clock[0] += seconds / count
            await self._heard(PART)

    async def end(self) -> None:
        await self._heard(END)

    async def _heard(self, text: bytes) -> None:
        self.got.heard.clear()
        await self.upstream.send(text)
        await asyncio.wait_for(self.got.heard.wait(), 20)


@pytest.fixture
async def stream() -> AsyncIterator[Stream]:
    accepted: asyncio.Queue[Peer] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put(Peer(reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    got, clock = Got(), [1000.0]
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: UpstreamConnection(got, time=lambda: clock[0]), "127.0.0.1", port
    )
    upstream = await accepted.get()
    yield Stream(upstream, got, connection, clock)
    connection.cancel()
    upstream.writer.close()
    server.close()
    await server.wait_closed()


@pytest.fixture
def spared(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the kernel said each time a stream was spared."""
    states: list[bool] = []
    real = acks.spare

    def spare(transport: asyncio.Transport) -> None:
        real(transport)
        states.append(not transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK))

    monkeypatch.setattr(acks, "spare", spare)
    return states


QUICK = acks.SECONDS * 0.9


async def test_a_quick_stream_is_spared_once_it_is_known_to_be_one(stream: Stream, spared: list[bool]) -> None:
    await stream.ask()
    await stream.parts(acks.READS - 1, QUICK)
    await stream.parts(acks.READS - 1, QUICK)
    assert spared == []
    await stream.parts(1, 0)
    assert spared == [True]
    await stream.parts(3 * acks.READS, QUICK)
    assert spared == [True]  # once an answer


async def test_a_slow_one_is_not_until_it_is_quick(stream: Stream, spared: list[bool]) -> None:
    await stream.ask()
    await stream.parts(5 * acks.READS, 5 * acks.SECONDS * 1.1)
    assert spared == []
    await stream.parts(2 * acks.READS, QUICK)
    assert spared == [True]


async def test_each_answer_is_looked_at_by_itself(stream: Stream, spared: list[bool]) -> None:
    await stream.ask()
    await stream.parts(2 * acks.READS, QUICK)
    assert len(spared) == 1
    await stream.end()
    await stream.ask()
    await stream.parts(2 * acks.READS - 2, QUICK)
    assert len(spared) == 1
    await stream.parts(1, 0)
    assert len(spared) == 2


async def test_without_a_clock_no_stream_is_quick(stream: Stream, spared: list[bool]) -> None:
    stream.connection._time = None
    await stream.ask()
    await stream.parts(3 * acks.READS, 0)
    assert spared == []


async def test_an_upstream_that_waits_for_acknowledgements_waits_once(stream: Stream) -> None:
    stream.upstream.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    stream.connection._time = None  # it is spared by hand
    await stream.ask()
    acks.spare(stream.connection._transport)  # type: ignore[arg-type]
    sent, before = 150, stream.got.parts
    for _ in range(sent):
        await stream.upstream.send(PART)
        await asyncio.sleep(0.002)
    # What waits for an acknowledgement goes out with what comes meanwhile: were it so each time, there would be one read in 40 ms.
    assert stream.got.parts - before > sent / 3


def test_what_has_no_socket_is_left_alone() -> None:
    acks.spare(asyncio.Transport())


async def test_a_connection_that_is_gone_is_left_alone(stream: Stream) -> None:
    transport = stream.connection._transport
    assert transport is not None
    stream.connection.cancel()
    await asyncio.sleep(0.01)
    acks.spare(transport)
