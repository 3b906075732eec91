"""Tunnels through real proxies on loopback, on asyncio's loop, which carries them in the daemon, and on uvloop, which does in the proxy."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest
import uvloop

from broker.model.network import ProxyServer, read
from broker.model.secret import Secret
from broker.network import tunnel
from broker.network.tunnel import TunnelError, connect, through
from tests.fakes.certificates import Certificate, certificate
from tests.fakes.outbound import LOGIN, PASSWORD, ConnectProxy, OutboundProxy, SocksProxy, listening, running


@pytest.fixture(scope="module")
def cert(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("tls"), "localhost", "target.test", "127.0.0.1")


@pytest.fixture
def trusted(cert: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have the certificate trusted as the system's are, by proxies' connections too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(cert.file))
    tunnel._to_proxies.cache_clear()
    yield cert.file
    tunnel._to_proxies.cache_clear()


class Talk(asyncio.Protocol):
    """Says one thing and hears the answer."""

    def __init__(self) -> None:
        self.heard = asyncio.get_running_loop().create_future()
        self.name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(b"hello\n")

    def data_received(self, data: bytes) -> None:
        self.heard.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.heard.done():
            self.heard.set_result(b"lost")


class Target:
    """Answers a line with the same in capitals."""

    def __init__(self) -> None:
        self.connections = 0
        self.names: list[str | None] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write((await reader.readuntil(b"\n")).upper())
        await reader.read()


@contextlib.asynccontextmanager
async def target(cert: Certificate | None = None) -> AsyncIterator[tuple[Target, int]]:
    serve = Target()
    context = None
    if cert is not None:
        context = cert.server()
        context.sni_callback = lambda _socket, name, _context: serve.names.append(name)
    async with listening(serve, context) as port:
        yield serve, port


def server(url: str) -> ProxyServer:
    found = read(Secret(url))
    assert isinstance(found, ProxyServer)
    return found


async def talk(proxy: ProxyServer | None, host: str, port: int, tls: ssl.SSLContext | None = None) -> bytes:
    async with asyncio.timeout(10):
        protocol = await connect(Talk, proxy, host, port, tls)
        try:
            heard: bytes = await protocol.heard
        finally:
            protocol.transport.abort()
        return heard


WAYS = [(ConnectProxy, "http"), (SocksProxy, "socks5h")]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("locked", [False, True], ids=["open", "locked"])
@pytest.mark.parametrize(("kind", "scheme"), WAYS)
async def test_through(kind: type[OutboundProxy], scheme: str, locked: bool, secure: bool, cert: Certificate) -> None:
    async with running(kind(locked=locked)) as proxy, target(cert if secure else None) as (there, port):
        tls = cert.client() if secure else None
        assert await talk(server(proxy.url(scheme, LOGIN if locked else "")), "target.test", port, tls) == b"HELLO\n"
        assert proxy.targets == [("target.test", port)]
        assert there.connections == 1
        assert there.names == (["target.test"] if secure else [])


async def test_without_a_proxy() -> None:
    async with target() as (_, port):
        assert await talk(None, "127.0.0.1", port) == b"HELLO\n"


async def test_socks5_has_names_looked_up_here_and_socks5h_there() -> None:
    proxy = SocksProxy()
    async with running(proxy), target() as (_, port):
        assert await talk(server(proxy.url("socks5")), "localhost", port) == b"HELLO\n"
        assert await talk(server(proxy.url("socks5h")), "localhost", port) == b"HELLO\n"
        assert await talk(server(proxy.url("socks5h")), "127.0.0.1", port) == b"HELLO\n"
        with pytest.raises(TunnelError, match=r"no address of nobody\.invalid is known here"):
            await talk(server(proxy.url("socks5")), "nobody.invalid", port)
    assert proxy.kinds == [1, 3, 1]
    assert [host for host, _ in proxy.targets] == ["127.0.0.1", "localhost", "127.0.0.1"]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_tls_to_the_proxy_and_tls_in_it(secure: bool, cert: Certificate, trusted: Path) -> None:
    async with running(ConnectProxy(locked=True), cert.server()) as proxy:
        async with target(cert if secure else None) as (there, port):
            tls = cert.client() if secure else None
            assert await talk(server(proxy.url("https", LOGIN)), "target.test", port, tls) == b"HELLO\n"
            assert there.names == (["target.test"] if secure else [])
        assert proxy.targets == [("target.test", port)]


async def test_a_proxys_certificate_is_checked(cert: Certificate) -> None:
    tunnel._to_proxies.cache_clear()
    async with running(ConnectProxy(), cert.server()) as proxy:
        with pytest.raises(TunnelError, match=rf"no secure connection to the proxy 127\.0\.0\.1:{proxy.port}"):
            await talk(server(proxy.url("https")), "target.test", 443)
    assert proxy.targets == []


@pytest.mark.parametrize(("kind", "scheme"), WAYS)
async def test_the_targets_certificate_is_checked(kind: type[OutboundProxy], scheme: str, cert: Certificate) -> None:
    async with running(kind()) as proxy, target(cert) as (_, port):
        with pytest.raises(ssl.SSLCertVerificationError):
            await talk(server(proxy.url(scheme)), "target.test", port, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        with pytest.raises(ssl.SSLCertVerificationError):
            await talk(server(proxy.url(scheme)), "other.test", port, cert.client())


@pytest.mark.parametrize(("kind", "scheme"), WAYS)
async def test_who_is_refused_is_told_by_whom(kind: type[OutboundProxy], scheme: str) -> None:
    async with target() as (there, port):
        for proxy, login in ((kind(locked=True), ""), (kind(locked=True), "fake-user:wrong"), (kind(refuses=2), LOGIN)):
            async with running(proxy):
                with pytest.raises(TunnelError, match=rf"the proxy 127\.0\.0\.1:{proxy.port} ") as caught:
                    await talk(server(proxy.url(scheme, login)), "127.0.0.1", port)
                assert PASSWORD not in caught.value.text
                assert "wrong" not in caught.value.text
        assert there.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
async def test_a_proxy_that_is_down(scheme: str) -> None:
    async with running(ConnectProxy()) as proxy:
        url = proxy.url(scheme, LOGIN)
    async with target() as (there, port):
        with pytest.raises(
            TunnelError, match=rf"cannot connect to the proxy 127\.0\.0\.1:{proxy.port}: Connection ref"
        ):
            await talk(server(url), "127.0.0.1", port)
        assert there.connections == 0


@pytest.mark.parametrize(("kind", "scheme"), WAYS)
async def test_a_target_that_is_down(kind: type[OutboundProxy], scheme: str) -> None:
    async with target() as (_, port):
        pass
    async with running(kind()) as proxy:
        with pytest.raises(TunnelError, match=rf"the proxy 127\.0\.0\.1:{proxy.port} made no connection"):
            await talk(server(proxy.url(scheme)), "127.0.0.1", port)


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_proxy_that_says_nothing_is_left_when_the_time_is_over(scheme: str) -> None:
    async with running((ConnectProxy if scheme == "http" else SocksProxy)(silent=True)) as proxy:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connect(Talk, server(proxy.url(scheme)), "127.0.0.1", 1, None)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection without an answer"),
        (b"SSH-2.0-x\r\n\r\n", "did not answer as a proxy does"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "did not answer as a proxy does"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "did not answer as a proxy does"),
        (b"HTTP/1.1 503 Busy\r\n\r\nbusy", r"made no connection \(it answered 503\)"),
    ],
)
async def test_what_is_no_proxy(said: bytes, told: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    async with listening(serve) as port:
        with pytest.raises(TunnelError, match=rf"the proxy 127\.0\.0\.1:{port} {told}"):
            await talk(server(f"http://127.0.0.1:{port}"), "target.test", 443)


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_host_no_proxy_can_be_told(scheme: str) -> None:
    async with running(ConnectProxy() if scheme == "http" else SocksProxy()) as proxy:
        with pytest.raises(TunnelError, match=rf"the proxy 127\.0\.0\.1:{proxy.port} "):
            await talk(server(proxy.url(scheme)), "b\u00fc\u00fc" * 100, 443)


async def test_the_words_for_a_way() -> None:
    assert through(server("socks5h://me:fake@out.example")) == "through the proxy out.example:1080"


def test_all_of_it_on_the_proxys_event_loop(cert: Certificate, trusted: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for kind, scheme in WAYS:
            for locked in (False, True):
                for secure in (False, True):
                    runner.run(test_through(kind, scheme, locked, secure, cert))
            runner.run(test_the_targets_certificate_is_checked(kind, scheme, cert))
            runner.run(test_who_is_refused_is_told_by_whom(kind, scheme))
            runner.run(test_a_target_that_is_down(kind, scheme))
            runner.run(test_a_proxy_that_says_nothing_is_left_when_the_time_is_over(scheme))
            runner.run(test_a_proxy_that_is_down(scheme))
        runner.run(test_tls_to_the_proxy_and_tls_in_it(True, cert, trusted))
        runner.run(test_tls_to_the_proxy_and_tls_in_it(False, cert, trusted))
        runner.run(test_without_a_proxy())
