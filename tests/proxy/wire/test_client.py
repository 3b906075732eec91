"""Framing on the upstream's side, and the reuse of connections."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from broker.proxy.wire.client import FailureKind, UpstreamConnection, UpstreamError
from broker.proxy.wire.heads import ResponseHead, request_head
from broker.proxy.wire.pool import Origin, Pool
from broker.proxy.wire.ticker import Ticker
from tests.fakes.upstream import Peer, RawUpstream, Taken, answer, chunked


@dataclass
class Got:
    """A receiver that keeps all it is told."""

    log: list[str] = field(default_factory=list)
    body: bytes = b""
    head: ResponseHead | None = None
    failure: UpstreamError | None = None
    end: asyncio.Event = field(default_factory=asyncio.Event)
    first: asyncio.Event = field(default_factory=asyncio.Event)

    def on_response(self, head: ResponseHead) -> None:
        assert self.head is None
        self.head = head
        self.log.append("response")

    def on_data(self, parts: list[bytes]) -> None:
        self.body += b"".join(parts)
        self.log.append("data")
        self.first.set()

    def on_done(self, parts: list[bytes]) -> None:
        self.body += b"".join(parts)
        self.log.append("done")
        self.end.set()

    def on_failed(self, failure: UpstreamError) -> None:
        self.failure = failure
        self.end.set()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    ticker = Ticker(0.02)
    made = Pool(ticker, 2.0)
    yield made
    made.close()
    await asyncio.sleep(0)
    ticker.close()


async def ask(pool: Pool, upstream: RawUpstream, method: str = "POST", body: bytes = b"hi") -> Got:
    got = Got()
    connection = await start(pool, upstream, got, method, body)
    await asyncio.wait_for(got.end.wait(), 5)
    del connection
    return got


async def start(
    pool: Pool, upstream: RawUpstream, got: Got, method: str = "POST", body: bytes = b"hi"
) -> UpstreamConnection:
    origin = Origin.of(upstream.url)
    connection = pool.take(origin) or await pool.connect(origin)
    head = request_head(method.encode(), b"/x", origin.authority, [], len(body) if body else None)
    connection.send(got, method, head, body)
    return connection


async def test_reads_an_answer_with_a_length_and_reuses_the_connection(pool: Pool) -> None:
    async with RawUpstream([answer(b"abc", "200 OK", "X-A:  b ")]) as upstream:
        for _ in range(5):
            got = await ask(pool, upstream)
            assert got.body == b"abc"
            assert got.head is not None
            assert got.head.status == 200
            assert got.head.length == 3
            assert got.head.get(b"x-a") == b"b"
        assert upstream.connections == 1
        assert pool.opened == 1
        assert upstream.requests[0].body == b"hi"


async def test_the_connection_used_last_is_taken_first(pool: Pool) -> None:
    async with RawUpstream([answer(b"")]) as upstream:
        first, second = Got(), Got()
        await start(pool, upstream, first)
        await start(pool, upstream, second)
        await asyncio.gather(first.end.wait(), second.end.wait())
        assert pool.idle() == 2
        used = pool.take(Origin.of(upstream.url))
        assert used is not None
        pool.keep(Origin.of(upstream.url), used)
        assert pool.take(Origin.of(upstream.url)) is used
        used.close()


async def test_reads_chunks_however_they_are_cut(pool: Pool) -> None:
    async def drip(peer: Peer, taken: Taken) -> None:
        for byte in chunked(b"one", b"two" * 100, headers=("Trailer: X",)):
            await peer.send(bytes([byte]))

    async with RawUpstream([drip, chunked(b"three")]) as upstream:
        assert (await ask(pool, upstream)).body == b"one" + b"two" * 100
        assert (await ask(pool, upstream)).body == b"three"
        assert upstream.connections == 1


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_body_keep_the_connection(pool: Pool, status: str) -> None:
    async with RawUpstream([f"HTTP/1.1 {status}\r\n\r\n".encode(), answer(b"x")]) as upstream:
        assert (await ask(pool, upstream)).log == ["response", "done"]
        assert (await ask(pool, upstream)).body == b"x"
        assert upstream.connections == 1


async def test_head_has_no_body_and_ends_the_connection(pool: Pool) -> None:
    async with RawUpstream([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", answer(b"x")]) as upstream:
        got = await ask(pool, upstream, "HEAD", b"")
        assert got.head is not None
        assert got.head.length == 100
        assert got.log == ["response", "done"]
        assert (await ask(pool, upstream)).body == b"x"
        assert upstream.connections == 2


async def test_interim_answers_are_skipped(pool: Pool) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with RawUpstream([interim + answer(b"x")]) as upstream:
        for _ in range(2):
            got = await ask(pool, upstream)
            assert got.head is not None
            assert got.head.status == 200
            assert got.head.headers == [(b"content-length", b"1")]
            assert got.body == b"x"
        assert upstream.connections == 1


async def test_a_body_that_ends_with_the_connection(pool: Pool) -> None:
    async def close(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        peer.writer.close()

    async with RawUpstream([close]) as upstream:
        got = await ask(pool, upstream)
        assert got.body == b"abc"
        assert got.failure is None


async def test_connection_close_is_obeyed(pool: Pool) -> None:
    async with RawUpstream([answer(b"x", "200 OK", "Connection: close")]) as upstream:
        await ask(pool, upstream)
        await ask(pool, upstream)
        assert upstream.connections == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
        b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: other\r\n\r\npoison",
        b"HTTP/1.1 103 Hints\r\nContent-Length: 1\r\n\r\na" + answer(b"x"),
        b"HTTP/1.1 999 Made Up\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 000 None\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/0.9 200 OK\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 256 + b"Content-Length: 1\r\n\r\na",
    ],
)
async def test_answers_that_are_not_valid(pool: Pool, raw: bytes) -> None:
    async with RawUpstream([raw]) as upstream:
        got = await ask(pool, upstream)
        assert got.failure is not None
        assert got.failure.kind is FailureKind.PROTOCOL
        assert not got.body
        assert pool.idle() == 0


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b"garbage"])
async def test_bytes_behind_an_answer_never_become_the_next_one(pool: Pool, extra: bytes) -> None:
    async with RawUpstream([answer(b"first") + extra, answer(b"second")]) as upstream:
        assert (await ask(pool, upstream)).body == b"first"
        assert (await ask(pool, upstream)).body == b"second"
        assert upstream.connections == 2


async def test_bytes_on_an_idle_connection_end_it(pool: Pool) -> None:
    late: list[Peer] = []

    async def remember(peer: Peer, taken: Taken) -> None:
        late.append(peer)
        await peer.send(answer(b"first"))

    async with RawUpstream([remember, answer(b"second")]) as upstream:
        await ask(pool, upstream)
        await late[0].send(answer(b"poison"))
        while pool.idle():
            await asyncio.sleep(0.01)
        assert (await ask(pool, upstream)).body == b"second"


@pytest.mark.parametrize(("sent", "stale"), [(b"", False), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", False)])
async def test_an_answer_that_is_cut(pool: Pool, sent: bytes, stale: bool) -> None:
    async def cut(peer: Peer, taken: Taken) -> None:
        await peer.send(sent)
        peer.writer.close()

    async with RawUpstream([cut]) as upstream:
        got = await ask(pool, upstream)
        assert got.failure is not None
        assert got.failure.kind is FailureKind.CLOSED
        assert got.failure.stale is stale
        assert pool.open == 0


async def test_a_kept_connection_that_died_is_called_stale(pool: Pool) -> None:
    async def cut(peer: Peer, taken: Taken) -> None:
        peer.cut()

    async with RawUpstream([answer(b"x"), cut]) as upstream:
        await ask(pool, upstream)
        got = await ask(pool, upstream)
        assert got.failure is not None
        assert got.failure.stale


async def test_a_kept_connection_that_closes_is_dropped(pool: Pool) -> None:
    async def close(peer: Peer, taken: Taken) -> None:
        await peer.send(answer(b"x"))
        await asyncio.sleep(0.05)
        peer.writer.close()

    async with RawUpstream([close]) as upstream:
        await ask(pool, upstream)
        assert pool.idle() == 1
        while pool.open:
            await asyncio.sleep(0.01)
        assert pool.idle() == 0


async def test_cancelling_closes_at_once_and_says_nothing_more(pool: Pool) -> None:
    closed = asyncio.Event()

    async def wait(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.gone()
        closed.set()

    async with RawUpstream([wait]) as upstream:
        got = Got()
        connection = await start(pool, upstream, got)
        await got.first.wait()
        connection.cancel()
        await asyncio.wait_for(closed.wait(), 1)
        assert not got.end.is_set()
        assert got.log == ["response", "data"]


async def test_a_large_request_and_back_pressure_on_the_answer(pool: Pool) -> None:
    big = b"x" * 3_000_000
    sent = 0

    async def flood(peer: Peer, taken: Taken) -> None:
        nonlocal sent
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n")
        for _ in range(300):
            await peer.send(b"y" * 100_000)
            sent += 1

    async with RawUpstream([flood]) as upstream:
        got = Got()
        connection = await start(pool, upstream, got, body=big)
        await got.first.wait()
        connection.pause()
        connection.pause()
        assert connection.paused
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 300
        held = len(got.body)
        await asyncio.sleep(0.05)
        assert len(got.body) == held
        connection.resume()
        await asyncio.wait_for(got.end.wait(), 10)
        assert len(got.body) == 30_000_000
        assert upstream.requests[0].body == big


async def test_an_answer_that_overtakes_its_request_ends_the_connection(pool: Pool) -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"too large", "413 Content Too Large"))
        await answered.wait()
        writer.transport.abort()

    answered = asyncio.Event()
    server = await asyncio.start_server(early, "127.0.0.1", 0)
    upstream = RawUpstream([])
    upstream.port = server.sockets[0].getsockname()[1]
    got = await ask(pool, upstream, body=b"x" * 50_000_000)
    assert got.head is not None
    assert got.head.status == 413
    assert pool.idle() == 0
    answered.set()
    server.close()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("where", ["head", "data"])
async def test_a_fault_of_the_receiver_ends_the_answer(
    pool: Pool, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    class Broken(Got):
        def on_response(self, head: ResponseHead) -> None:
            if where == "head":
                raise RuntimeError("planted")

        def on_data(self, parts: list[bytes]) -> None:
            raise RuntimeError("planted")

    async def begin(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.gone()

    async with RawUpstream([begin]) as upstream:
        got = Broken()
        await start(pool, upstream, got)
        await got.end.wait()
        assert got.failure is not None
        assert got.failure.kind is FailureKind.PROTOCOL
        assert "planted" in caplog.text
        assert pool.idle() == 0


async def test_what_came_before_a_fault_of_the_framing_is_handed_over(pool: Pool) -> None:
    async with RawUpstream(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\nno chunk\r\n"]
    ) as upstream:
        got = await ask(pool, upstream)
        assert got.body == b"ab"
        assert got.failure is not None
        assert got.failure.kind is FailureKind.PROTOCOL
