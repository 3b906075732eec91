import asyncio
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from broker.model.network import ProxyServer, Scheme
from broker.proxy.wire.client import FailureKind, UpstreamError
from broker.proxy.wire.heads import request_head
from broker.proxy.wire.pool import Origin, Pool
from broker.proxy.wire.ticker import Ticker
from tests.fakes.upstream import RawUpstream, answer
from tests.proxy.wire.test_client import Got, ask


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("https://a.example/v1", Origin("https", "a.example", 443), b"a.example"),
        ("http://127.0.0.1:8080", Origin("http", "127.0.0.1", 8080), b"127.0.0.1:8080"),
        ("http://[::1]:8080/x", Origin("http", "::1", 8080), b"[::1]:8080"),
        ("http://a.example", Origin("http", "a.example", 80), b"a.example"),
    ],
)
def test_origins(url: str, origin: Origin, authority: bytes) -> None:
    assert Origin.of(url) == origin
    assert origin.authority == authority


async def test_refused_connections_are_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        pool = Pool(Ticker(), 1.0)
        with pytest.raises(UpstreamError, match=f":{port}: Connection refused") as caught:
            await pool.connect(Origin("http", "127.0.0.1", port))
        assert caught.value.kind is FailureKind.CONNECT
        pool.close()


@pytest.mark.parametrize("via", [None, ProxyServer(Scheme.HTTP, "no..where", 3128)])
async def test_what_can_be_no_host_is_told_as_one_that_is_not_there(via: ProxyServer | None) -> None:
    ticker = Ticker(0.02)
    pool = Pool(ticker, 5.0)
    host = "no..where" if via is None else "127.0.0.1"
    with pytest.raises(UpstreamError, match="is no name of a host") as caught:
        await pool.connect(Origin("http", host, 80, via))
    assert caught.value.kind is FailureKind.CONNECT
    pool.close()
    ticker.close()


async def test_connecting_has_a_deadline() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        origin = Origin("http", *full.getsockname())
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        pool = Pool(Ticker(), 0.1)
        with pytest.raises(UpstreamError, match=r"within 0\.1 s") as caught:
            await pool.connect(origin)
        assert caught.value.kind is FailureKind.CONNECT_TIMEOUT
        for filler in fillers:
            filler.close()
        pool.close()


async def test_idle_connections_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.proxy.wire.pool._IDLE_SECONDS", 0.1)
    pool = Pool(Ticker(0.02), 1.0)
    async with RawUpstream([answer(b"")]) as upstream:
        await ask(pool, upstream)
        assert pool.idle() == 1
        while pool.open:
            await asyncio.sleep(0.01)
        assert pool.idle() == 0
    pool.close()


async def test_only_so_many_idle_connections_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.proxy.wire.pool._MAX_IDLE", 1)
    pool = Pool(Ticker(), 1.0)
    async with RawUpstream([answer(b"")]) as upstream:
        origin = Origin.of(upstream.url)
        gots = [Got(), Got()]
        for got in gots:
            (await pool.connect(origin)).send(got, "GET", request_head(b"GET", b"/", b"h", [], None), b"")
        await asyncio.gather(*(got.end.wait() for got in gots))
        while pool.open > 1:
            await asyncio.sleep(0.01)
        assert pool.idle() == 1
        pool.close()
        while pool.open:
            await asyncio.sleep(0.01)
        assert pool.take(origin) is None


async def test_a_dead_connection_is_not_taken() -> None:
    pool = Pool(Ticker(), 1.0)
    async with RawUpstream([answer(b"")]) as upstream:
        await ask(pool, upstream)
        origin = Origin.of(upstream.url)
        connection = pool.take(origin)
        assert connection is not None
        pool.keep(origin, connection)
        connection.close()
        assert pool.take(origin) is None
    pool.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    key = path.with_suffix(".key")
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


async def test_tls_is_verified_and_reused(certificate: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer(b"secure"))
        except asyncio.IncompleteReadError:
            writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    origin = Origin("https", "localhost", server.sockets[0].getsockname()[1])
    trusting = Pool(Ticker(), 5.0, ssl.create_default_context(cafile=str(certificate)))
    for _ in range(3):
        got = Got()
        connection = trusting.take(origin) or await trusting.connect(origin)
        connection.send(got, "GET", request_head(b"GET", b"/", origin.authority, [], None), b"")
        await asyncio.wait_for(got.end.wait(), 5)
        assert got.body == b"secure"
    assert trusting.opened == 1
    doubting = Pool(Ticker(), 5.0)
    with pytest.raises(UpstreamError, match="no secure connection") as caught:
        await doubting.connect(origin)
    assert caught.value.kind is FailureKind.TLS
    trusting.close()
    doubting.close()
    server.close()
    await asyncio.sleep(0.05)
