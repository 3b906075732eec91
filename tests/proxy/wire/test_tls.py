"""Answers over TLS, however the records are cut on their way, on both event loops: what a request or an answer holds is the same as without."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest

from broker.proxy.assembly import new_loop
from broker.proxy.wire.client import FailureKind, UpstreamConnection
from broker.proxy.wire.heads import request_head
from broker.proxy.wire.pool import Origin, Pool
from broker.proxy.wire.ticker import Ticker
from tests.fakes.certificates import Certificate, certificate
from tests.fakes.upstream import answer, chunked
from tests.proxy.wire.test_client import Got

T = TypeVar("T")
Cut = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def pieces(*sizes: int) -> Cut:
    """Cut into pieces of these sizes, over and over."""

    def cut(data: bytes) -> Iterator[bytes]:
        at = turn = 0
        while at < len(data):
            yield data[at : at + sizes[turn % len(sizes)]]
            at, turn = at + sizes[turn % len(sizes)], turn + 1

    return cut


@dataclass
class TlsPeer:
    """The upstream's end of one connection. Records are made here, so that a test can hold them, cut them and end them."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    context: ssl.SSLContext
    number: int
    incoming: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    outgoing: ssl.MemoryBIO = field(default_factory=ssl.MemoryBIO)
    read: bytes = b""

    async def begin(self) -> None:
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        await self._do(self.tls.do_handshake)

    async def request(self) -> bytes:
        """Return the body of the next request."""
        while b"\r\n\r\n" not in self.read:
            await self._more()
        head, _, self.read = self.read.partition(b"\r\n\r\n")
        length = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: ")), 0)
        while len(self.read) < length:
            await self._more()
        body, self.read = self.read[:length], self.read[length:]
        return body

    def records(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self.outgoing.read()

    def close_notify(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    async def send(self, data: bytes, cut: Cut = whole) -> None:
        for piece in cut(data):
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def _more(self) -> None:
        self.read += await self._do(lambda: self.tls.read(1 << 16))

    async def _do(self, step: Callable[[], T]) -> T:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self.send(self.outgoing.read())
                data = await self.reader.read(1 << 16)
                if not data:
                    raise ConnectionResetError from None
                self.incoming.write(data)
            else:
                await self.send(self.outgoing.read())
                return done


Serve = Callable[[TlsPeer], Awaitable[None]]


@contextlib.asynccontextmanager
async def upstream(made: Certificate, serve: Serve) -> AsyncIterator[tuple[Pool, Origin]]:
    """Serve TLS on loopback; a pool that trusts it, and its origin."""
    context, writers = made.server(), []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        peer = TlsPeer(reader, writer, context, len(writers))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await peer.begin()
            await serve(peer)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    ticker = Ticker(0.02)
    pool = Pool(ticker, 10.0, made.client())
    try:
        yield pool, Origin("https", "localhost", server.sockets[0].getsockname()[1])
    finally:
        pool.close()
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.02)
        ticker.close()


async def ask(pool: Pool, origin: Origin, got: Got, body: bytes = b"hi") -> UpstreamConnection:
    connection = pool.take(origin) or await pool.connect(origin)
    connection.send(got, "POST", request_head(b"POST", b"/x", origin.authority, [], len(body)), body)
    return connection


async def told(got: Got) -> Got:
    await asyncio.wait_for(got.end.wait(), 30)
    return got


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(Path(tmp_path_factory.mktemp("tls")), "localhost")


@pytest.fixture(params=[new_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


def test_requests_of_all_sizes_arrive_as_they_are(runner: asyncio.Runner, made: Certificate) -> None:
    sizes = [0, 1, 16_000, 16_383, 16_384, 16_385, 65_535, 65_537, 100_000, 3_000_000]
    bodies = [Random(size).randbytes(size) for size in sizes]
    came: list[bytes] = []

    async def serve(peer: TlsPeer) -> None:
        while True:
            came.append(await peer.request())
            await peer.send(peer.records(answer(b"taken")))

    async def run() -> None:
        async with upstream(made, serve) as (pool, origin):
            for body in bodies:
                got = Got()
                await ask(pool, origin, got, body)
                assert (await told(got)).body == b"taken"
            assert pool.opened == 1

    runner.run(run())
    assert came == bodies


@pytest.mark.parametrize(
    ("cut", "size"),
    [(whole, 2_000_000), (pieces(1), 3_000), (pieces(3, 1, 700, 16_000, 5, 40_000), 2_000_000)],
    ids=["whole", "bytes", "pieces"],
)
@pytest.mark.parametrize("wrap", [answer, chunked])
def test_an_answer_is_the_same_however_it_is_cut(
    runner: asyncio.Runner, made: Certificate, cut: Cut, size: int, wrap: Callable[[bytes], bytes]
) -> None:
    body = Random(size).randbytes(size)

    async def serve(peer: TlsPeer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(peer.records(wrap(body)), cut)

    async def run() -> None:
        async with upstream(made, serve) as (pool, origin):
            for _ in range(2):
                got = Got()
                await ask(pool, origin, got)
                assert (await told(got)).body == body
                assert got.failure is None
            assert pool.opened == 1

    runner.run(run())


def test_half_a_record_is_waited_for(runner: asyncio.Runner, made: Certificate) -> None:
    async def run() -> None:
        rest, cut = asyncio.Event(), asyncio.Event()

        async def serve(peer: TlsPeer) -> None:
            await peer.request()
            first, second = peer.records(answer(b"0123456789")[:-5]), peer.records(b"56789")
            await peer.send(first + second[:9])
            cut.set()
            await rest.wait()
            await peer.send(second[9:])

        async with upstream(made, serve) as (pool, origin):
            got = Got()
            await ask(pool, origin, got)
            await asyncio.wait_for(cut.wait(), 30)
            await asyncio.wait_for(got.first.wait(), 30)
            assert got.body == b"01234"
            assert not got.end.is_set()
            rest.set()
            assert (await told(got)).body == b"0123456789"

    runner.run(run())


def test_answers_at_the_same_time_do_not_mix(runner: asyncio.Runner, made: Certificate) -> None:
    count = 12

    async def run() -> None:
        all_there = asyncio.Barrier(count)

        async def serve(peer: TlsPeer) -> None:
            asked = await peer.request()
            await all_there.wait()
            await peer.send(peer.records(answer(asked * 30_000)), pieces(1_000 + peer.number, 7, 20_000))

        async with upstream(made, serve) as (pool, origin):
            gots = [Got() for _ in range(count)]
            await asyncio.gather(*(ask(pool, origin, got, b"%02d" % at) for at, got in enumerate(gots)))
            for at, got in enumerate(gots):
                assert (await told(got)).body == b"%02d" % at * 30_000
            assert pool.idle() == count

    runner.run(run())


def test_close_notify_ends_what_has_no_other_end(runner: asyncio.Runner, made: Certificate) -> None:
    async def serve(peer: TlsPeer) -> None:
        await peer.request()
        await peer.send(peer.records(b"HTTP/1.1 200 OK\r\n\r\nall of it") + peer.close_notify())

    async def run() -> None:
        async with upstream(made, serve) as (pool, origin):
            got = Got()
            await ask(pool, origin, got)
            assert (await told(got)).body == b"all of it"
            assert got.failure is None
            assert pool.idle() == 0

    runner.run(run())


def test_close_notify_in_the_middle_is_a_failure(runner: asyncio.Runner, made: Certificate) -> None:
    async def serve(peer: TlsPeer) -> None:
        await peer.request()
        await peer.send(peer.records(answer(b"0123456789")[:-5]) + peer.close_notify())

    async def run() -> None:
        async with upstream(made, serve) as (pool, origin):
            got = Got()
            await ask(pool, origin, got)
            failure = (await told(got)).failure
            assert failure is not None
            assert failure.kind is FailureKind.CLOSED
            assert not failure.stale
            assert got.body == b"01234"

    runner.run(run())


def test_close_notify_on_an_idle_connection_ends_it(runner: asyncio.Runner, made: Certificate) -> None:
    async def serve(peer: TlsPeer) -> None:
        await peer.request()
        await peer.send(peer.records(answer(b"%d" % peer.number)))
        await peer.send(peer.close_notify())

    async def run() -> None:
        async with upstream(made, serve) as (pool, origin):
            for number in (b"1", b"2"):
                got = Got()
                await ask(pool, origin, got)
                assert (await told(got)).body == number
                async with asyncio.timeout(30):
                    while pool.open:
                        await asyncio.sleep(0.01)
                assert pool.take(origin) is None

    runner.run(run())


def test_a_slow_client_holds_the_upstream_back(runner: asyncio.Runner, made: Certificate) -> None:
    size = 20_000_000

    async def run() -> None:
        sent = 0

        async def serve(peer: TlsPeer) -> None:
            nonlocal sent
            await peer.request()
            await peer.send(peer.records(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size))
            while sent < size:
                await peer.send(peer.records(b"y" * 100_000))
                sent += 100_000

        async with upstream(made, serve) as (pool, origin):
            got = Got()
            connection = await ask(pool, origin, got)
            await asyncio.wait_for(got.first.wait(), 30)
            connection.pause()
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.2)
            assert sent < size
            held = len(got.body)
            await asyncio.sleep(0.05)
            assert len(got.body) == held
            connection.resume()
            assert len((await told(got)).body) == size

    runner.run(run())
