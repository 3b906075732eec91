"""Answers over TLS, however the records are cut on their way, on both event loops: what a request or an answer holds is the same as without."""

import asyncio
import contextlib
import gc
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import cast

import pytest

from broker.model.network import ProxyServer, Scheme
from broker.network import tunnel
from broker.proxy.assembly import new_loop
from broker.proxy.wire.client import FailureKind, UpstreamConnection, UpstreamError
from broker.proxy.wire.heads import request_head
from broker.proxy.wire.pool import Origin, Pool
from broker.proxy.wire.secure import Secure, connect
from broker.proxy.wire.ticker import Ticker
from tests.fakes.certificates import Certificate, certificate
from tests.fakes.outbound import ConnectProxy, OutboundProxy, SocksProxy, running
from tests.fakes.tls_upstream import Cut, TlsPeer, pieces, upstream, whole
from tests.fakes.upstream import answer, chunked
from tests.proxy.wire.test_client import Got


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


def test_a_large_request_is_encrypted_as_there_is_room(runner: asyncio.Runner, made: Certificate) -> None:
    body = Random(1).randbytes(12_000_000)
    came: list[bytes] = []

    async def run() -> None:
        reads = asyncio.Event()

        async def serve(peer: TlsPeer) -> None:
            await reads.wait()
            came.append(await peer.request())
            await peer.send(peer.records(answer(b"taken")))

        async with upstream(made, serve) as (pool, origin):
            got = Got()
            connection = await ask(pool, origin, got, body)
            secure = connection._transport
            assert isinstance(secure, Secure)
            assert secure._transport is not None
            # All else is the body itself, and no copy of it.
            assert secure._transport.get_write_buffer_size() < 1_000_000 < secure.get_write_buffer_size()
            reads.set()
            assert (await told(got)).body == b"taken"
            assert (secure.get_write_buffer_size(), pool.take(origin)) == (0, connection)

    runner.run(run())
    assert came == [body]


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


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [(ConnectProxy, Scheme.HTTP), (ConnectProxy, Scheme.HTTPS), (SocksProxy, Scheme.SOCKS5H)],
    ids=["http", "https", "socks"],
)
def test_through_an_outbound_proxy_it_is_the_same(
    runner: asyncio.Runner,
    made: Certificate,
    kind: type[OutboundProxy],
    scheme: Scheme,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    tunnel._to_proxies.cache_clear()
    asked, told_back = Random(1).randbytes(100_000), Random(2).randbytes(300_000)

    async def serve(peer: TlsPeer) -> None:
        for _ in range(2):
            assert await peer.request() == asked
            await peer.send(peer.records(answer(told_back)))

    async def run() -> None:
        outer = made.server() if scheme is Scheme.HTTPS else None
        async with upstream(made, serve) as (pool, origin), running(kind(), outer) as proxy:
            there = Origin("https", origin.host, origin.port, ProxyServer(scheme, "localhost", proxy.port))
            for _ in range(2):
                got = Got()
                await ask(pool, there, got, asked)
                assert (await told(got)).body == told_back
            assert pool.opened == proxy.connections == 1
            assert proxy.targets == [("localhost", origin.port)]

    runner.run(run())
    tunnel._to_proxies.cache_clear()


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


def test_an_answer_without_an_end_that_is_cut_is_a_failure(runner: asyncio.Runner, made: Certificate) -> None:
    async def serve(peer: TlsPeer) -> None:
        await peer.request()
        await peer.send(peer.records(b"HTTP/1.1 200 OK\r\n\r\nsome of it"))
        peer.writer.write_eof()

    async def run() -> None:
        async with upstream(made, serve) as (pool, origin):
            got = Got()
            await ask(pool, origin, got)
            failure = (await told(got)).failure
            assert failure is not None
            assert failure.text == "the upstream closed the connection in the middle of its answer"

    runner.run(run())


def test_a_record_that_was_changed_on_its_way_is_a_failure(runner: asyncio.Runner, made: Certificate) -> None:
    async def serve(peer: TlsPeer) -> None:
        await peer.request()
        record = peer.records(answer(b"0123456789")[:-5]) + peer.records(b"56789")
        await peer.send(record[:-1] + bytes([record[-1] ^ 1]))

    async def run() -> None:
        async with upstream(made, serve) as (pool, origin):
            got = Got()
            await ask(pool, origin, got)
            failure = (await told(got)).failure
            assert failure is not None
            assert failure.kind is FailureKind.CLOSED
            assert got.body == b"01234"
            assert pool.idle() == pool.open == 0

    runner.run(run())


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", FailureKind.TLS, "no secure connection to localhost"),
        (b"", FailureKind.CONNECT, "cannot connect to localhost"),
        (None, FailureKind.CONNECT_TIMEOUT, "did not accept a connection within 0.2 s"),
    ],
    ids=["no tls", "the end", "nothing"],
)
def test_no_handshake_is_told(
    runner: asyncio.Runner, made: Certificate, said: bytes | None, kind: FailureKind, text: str
) -> None:
    async def run() -> None:
        gone = asyncio.Event()

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            if said is not None:
                writer.write(said)
                writer.write_eof()
            with contextlib.suppress(ConnectionError):
                while await reader.read(1 << 16):
                    pass
            writer.close()
            gone.set()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        ticker = Ticker(0.02)
        pool = Pool(ticker, 0.2 if said is None else 10.0, made.client())
        with pytest.raises(UpstreamError, match=text) as caught:
            await pool.connect(Origin("https", "localhost", server.sockets[0].getsockname()[1]))
        assert caught.value.kind is kind
        await asyncio.wait_for(gone.wait(), 30)
        assert pool.opened == 0
        server.close()
        ticker.close()

    runner.run(run())


def test_a_certificate_of_another_name_is_refused_and_the_upstream_told_why(
    runner: asyncio.Runner, made: Certificate
) -> None:
    async def run() -> None:
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = TlsPeer(reader, writer, made.server(), 1)
            try:
                await peer.begin()
                await peer.request()
            except ssl.SSLError as error:
                heard.set_result(error.reason)
            writer.close()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        ticker = Ticker(0.02)
        pool = Pool(ticker, 10.0, made.client())
        with pytest.raises(UpstreamError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await pool.connect(Origin("https", "127.0.0.1", server.sockets[0].getsockname()[1]))
        assert caught.value.kind is FailureKind.TLS
        assert "CERTIFICATE" in await asyncio.wait_for(heard, 30)
        assert pool.opened == 0
        server.close()
        ticker.close()

    runner.run(run())


def kept() -> int:
    return sum(isinstance(each, Secure | UpstreamConnection) for each in gc.get_objects())


def test_what_failed_is_gone_without_a_collection(runner: asyncio.Runner, made: Certificate) -> None:
    """Each holds buffers of OpenSSL's, which a collection does not count; where an upstream cannot be reached there is one a request."""

    async def spoilt(peer: TlsPeer) -> None:
        await peer.request()
        record = peer.records(answer(b"0123456789"))
        await peer.send(record[:-1] + bytes([record[-1] ^ 1]))

    async def run() -> None:
        async def clearly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"no TLS\r\n")
            writer.close()

        clear = await asyncio.start_server(clearly, "127.0.0.1", 0)
        async with upstream(made, spoilt) as (pool, origin):
            ports = (clear.sockets[0].getsockname()[1], "localhost"), (origin.port, "127.0.0.1")
            gc.collect()
            gc.disable()
            try:
                for port, host in ports:
                    with pytest.raises(UpstreamError):
                        await pool.connect(Origin("https", host, port))
                got = Got()
                await ask(pool, origin, got)
                assert (await told(got)).failure is not None
                for _ in range(500):
                    if not kept():
                        break
                    await asyncio.sleep(0.01)
                assert not kept()
            finally:
                gc.enable()
        clear.close()

    runner.run(run())


def test_a_name_that_is_none_is_told(runner: asyncio.Runner) -> None:
    class Nameless(ssl.SSLContext):
        def wrap_bio(self, *args: object, **more: object) -> ssl.SSLObject:
            raise ValueError("no name of a host")

    async def run() -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ValueError, match="no name of a host"):
            await connect(asyncio.Protocol, None, "127.0.0.1", port, Nameless(ssl.PROTOCOL_TLS_CLIENT))
        server.close()
        await asyncio.sleep(0.02)

    runner.run(run())


def test_a_fault_in_sending_ends_the_connection(runner: asyncio.Runner) -> None:
    class Faulty(ssl.SSLContext):
        def wrap_bio(self, *args: object, **more: object) -> ssl.SSLObject:
            class Clear:
                def do_handshake(self) -> None:
                    """Nothing to agree on."""

                def write(self, data: bytes) -> int:
                    raise ssl.SSLError("planted")

            return Clear()  # type: ignore[return-value]

    async def run() -> None:
        lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        class Talk(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast("asyncio.Transport", transport)

            def connection_lost(self, exc: Exception | None) -> None:
                assert self.transport.is_closing()
                self.transport.pause_reading()
                self.transport.resume_reading()
                self.transport.set_write_buffer_limits(1)
                assert self.transport.get_write_buffer_size() == 0
                lost.set_result(exc)

        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        talk = await connect(Talk, None, "127.0.0.1", port, Faulty(ssl.PROTOCOL_TLS_CLIENT))
        talk.transport.write(b"never sent")
        assert talk.transport.is_closing()
        assert str(await asyncio.wait_for(lost, 30)) == "('planted',)"
        server.close()
        await asyncio.sleep(0.02)

    runner.run(run())


class Renegotiating(ssl.SSLContext):
    """Takes no data until the next read, as OpenSSL does within a renegotiation (TLS 1.2), and then half of them; sends them as they are."""

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: object, **more: object
    ) -> ssl.SSLObject:
        class Clear:
            taken = 0

            def do_handshake(self) -> None:
                """Nothing to agree on."""

            def pending(self) -> int:
                return 0

            def read(self, size: int) -> bytes:
                self.taken = 3
                return incoming.read(size)

            def write(self, data: bytes | memoryview) -> int:
                if not self.taken:
                    raise ssl.SSLWantReadError
                return outgoing.write(data[: self.taken])

        return Clear()  # type: ignore[return-value]


def test_what_cannot_be_encrypted_yet_goes_out_after_the_next_read(runner: asyncio.Runner) -> None:
    async def run() -> None:
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"go on")
            came.set_result(await reader.readexactly(11))
            writer.close()

        class Talk(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, Secure)
                transport.writelines([b"one, ", b"two"])
                transport.write(b"...")
                assert transport.get_write_buffer_size() == 11

        came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(served, "127.0.0.1", 0)
        context = Renegotiating(ssl.PROTOCOL_TLS_CLIENT)
        await connect(Talk, None, "127.0.0.1", server.sockets[0].getsockname()[1], context)
        assert await asyncio.wait_for(came, 30) == b"one, two..."
        server.close()
        await asyncio.sleep(0.02)

    runner.run(run())
