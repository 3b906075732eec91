"""Requests to providers through real outbound proxies: what was sent, what was not, and never past them."""

import logging
from pathlib import Path

import pytest

from broker.daemon.outbound import Outbound
from broker.model.network import Direct, Environment, Level, Network, NoProxy, ProxyServer, Route, Setting, read
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest
from broker.oauth.transport import AnswerLostError, NotSentError
from tests.daemon.test_outbound import Recorder
from tests.fakes.certificates import certificate
from tests.fakes.outbound import LOGIN, ConnectProxy, OutboundProxy, SocksProxy, listening, running

CANARY = "canary-77b0e2"
WAYS = [(ConnectProxy, "http"), (SocksProxy, "socks5"), (SocksProxy, "socks5h")]


def of(provider: str, url: str) -> Network:
    return Network({provider: read(Secret(url))})


def post(url: str) -> HttpRequest:
    return HttpRequest("POST", url, form={"refresh_token": Secret("fake-refresh-1")})


class Hook:
    """Runs between the connection and the first byte."""

    def __init__(self, server: Recorder) -> None:
        self.server = server
        self.seen: list[int] = []

    async def __call__(self) -> None:
        self.seen.append(len(self.server.requests))


@pytest.mark.parametrize(("kind", "scheme"), WAYS)
async def test_a_request_goes_by_its_providers_way(kind: type[OutboundProxy], scheme: str) -> None:
    server = Recorder()
    hook = Hook(server)
    async with running(kind(locked=True)) as out, listening(server) as port:
        async with Outbound(timeout=5, network=of("codex", out.url(scheme, LOGIN))) as outbound:
            url = f"http://127.0.0.1:{port}/token"
            answer = await outbound.on_behalf("codex").send(post(url), connected=hook)
            assert answer.status == 200
            assert (await outbound.on_behalf("claude").send(post(url))).status == 200
            assert (await outbound.send(post(url))).status == 200
        assert out.targets == [("127.0.0.1", port)]
    assert hook.seen == [0]
    # The proxy's password is for the proxy, and the path is as it would be without one.
    assert [request.split(b"\r\n")[0] for request in server.requests] == [b"POST /token HTTP/1.1"] * 3
    assert b"proxy-auth" not in server.requests[0].lower()


async def test_an_accounts_own_way_comes_first_and_the_settings_may_change() -> None:
    server = Recorder()
    async with running(ConnectProxy()) as one, running(ConnectProxy()) as two, listening(server) as port:
        async with Outbound(timeout=5, network=of("codex", one.url("http"))) as outbound:
            of_codex = outbound.on_behalf("codex")
            url = f"http://127.0.0.1:{port}/"
            await of_codex.on_behalf("codex", Secret(two.url("http"))).send(post(url))
            assert (one.connections, two.connections) == (0, 1)
            await of_codex.send(post(url))
            assert (one.connections, two.connections) == (1, 1)
            outbound.network = of("codex", two.url("http"))
            await of_codex.send(post(url))
            assert (one.connections, two.connections) == (1, 2)
            await outbound.on_behalf("codex", Secret("direct")).send(post(url))
            assert (one.connections, two.connections) == (1, 2)


@pytest.mark.parametrize(("kind", "scheme"), [*WAYS, (ConnectProxy, "https")])
async def test_tls_is_with_the_target_and_in_its_name(
    kind: type[OutboundProxy], scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert = certificate(tmp_path, "id.target.test", "localhost", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert.file))
    name = "localhost" if scheme == "socks5" else "id.target.test"
    server = Recorder()
    from broker.network import tunnel

    tunnel._to_proxies.cache_clear()
    inner = cert.server() if scheme == "https" else None
    async with running(kind(), inner) as out, listening(server, cert.server()) as port:
        network = Network(everywhere=read(Secret(out.url(scheme))), providers={"codex": read(Secret(out.url(scheme)))})
        async with Outbound(timeout=5, network=network) as outbound:
            url = f"https://{name}:{port}/token"
            assert (await outbound.on_behalf("codex").send(post(url))).status == 200
            if name != "localhost":
                assert (await outbound.on_behalf("claude").send(post(url))).status == 200
        assert f"host: {name}:{port}".encode() in server.requests[0].lower()
    tunnel._to_proxies.cache_clear()


async def test_an_untrusted_certificate_behind_a_proxy_means_nothing_sent(tmp_path: Path) -> None:
    server = Recorder()
    hook = Hook(server)
    async with running(ConnectProxy()) as out, listening(server, certificate(tmp_path, "localhost").server()) as port:
        async with Outbound(timeout=5, network=of("codex", out.url("http"))) as outbound:
            with pytest.raises(NotSentError, match=rf"through the proxy 127\.0\.0\.1:{out.port} \(its certificate"):
                await outbound.on_behalf("codex").send(post(f"https://localhost:{port}/"), connected=hook)
    assert (server.requests, hook.seen) == ([], [])


@pytest.mark.parametrize(("kind", "scheme"), WAYS)
async def test_a_proxy_that_refuses_means_nothing_sent(
    kind: type[OutboundProxy], scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = Recorder()
    hook = Hook(server)
    async with listening(server) as port:
        for way in (kind(locked=True), kind(refuses=5)):
            async with running(way):
                network = of("codex", way.url(scheme, f"me:{CANARY}"))
                async with Outbound(timeout=5, network=network) as outbound:
                    with pytest.raises(NotSentError, match=rf"the proxy 127\.0\.0\.1:{way.port} ") as caught:
                        await outbound.on_behalf("codex").send(post(f"http://127.0.0.1:{port}/"), connected=hook)
                    assert CANARY not in str(caught.value) + caplog.text
    assert (server.connections, hook.seen) == (0, [])


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
async def test_a_proxy_that_is_down_or_silent_means_nothing_sent(scheme: str) -> None:
    server = Recorder()
    hook = Hook(server)
    async with listening(server) as port:
        async with running(ConnectProxy()) as out:
            pass
        async with Outbound(timeout=5, network=of("codex", out.url(scheme))) as outbound:
            with pytest.raises(NotSentError, match=rf"cannot connect to the proxy 127\.0\.0\.1:{out.port}"):
                await outbound.on_behalf("codex").send(post(f"http://127.0.0.1:{port}/"), connected=hook)
        async with running((SocksProxy if "socks" in scheme else ConnectProxy)(silent=True)) as out:
            async with Outbound(timeout=0.2, network=of("codex", out.url(scheme))) as outbound:
                with pytest.raises(NotSentError, match=rf"through the proxy 127\.0\.0\.1:{out.port} \(timed out\)"):
                    await outbound.on_behalf("codex").send(post(f"http://127.0.0.1:{port}/"), connected=hook)
    assert (server.connections, hook.seen) == (0, [])


async def test_behind_a_proxy_too_an_answer_can_be_lost() -> None:
    server = Recorder(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
    hook = Hook(server)
    async with running(SocksProxy()) as out, listening(server) as port:
        async with Outbound(timeout=5, network=of("codex", out.url("socks5h"))) as outbound:
            with pytest.raises(
                AnswerLostError, match=rf"through the proxy 127\.0\.0\.1:{out.port} gave no whole answer"
            ):
                await outbound.on_behalf("codex").send(post(f"http://127.0.0.1:{port}/"), connected=hook)
    assert hook.seen == [0]


@pytest.mark.parametrize("url", [f"ftp://me:{CANARY}@x.example", f"http://me:{CANARY}@"])
async def test_a_way_that_cannot_be_means_nothing_sent(url: str) -> None:
    server = Recorder()
    async with listening(server) as port, Outbound(timeout=5) as outbound:
        with pytest.raises(NotSentError, match="proxy_url in the account's file") as caught:
            await outbound.on_behalf("codex", Secret(url)).send(post(f"http://127.0.0.1:{port}/"))
    assert CANARY not in str(caught.value)
    assert server.connections == 0


async def test_the_environments_proxy_is_for_other_hosts_than_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert = certificate(tmp_path, "id.target.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert.file))
    server = Recorder()
    async with running(ConnectProxy()) as out, listening(server, cert.server()) as port, listening(server) as plain:
        said: tuple[str, Setting] = ("HTTPS_PROXY", read(Secret(out.url("http"))))
        network = Network(environment=Environment(said, said), exempt=NoProxy.of([".excepted.test"]))
        async with Outbound(timeout=5, network=network) as outbound:
            assert (await outbound.send(post(f"https://id.target.test:{port}/"))).status == 200
            assert (await outbound.send(post(f"http://127.0.0.1:{plain}/"))).status == 200
            with pytest.raises(NotSentError, match=r"cannot connect to id\.excepted\.test \("):
                await outbound.send(post(f"https://id.excepted.test:{port}/"))
        assert out.targets == [("id.target.test", port)]


@pytest.mark.parametrize(("kind", "scheme"), WAYS)
async def test_a_probe_shakes_hands_and_says_nothing(
    kind: type[OutboundProxy], scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert = certificate(tmp_path, "localhost", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert.file))
    server = Recorder()
    async with running(kind()) as out, listening(server, cert.server()) as port, Outbound(timeout=5) as outbound:
        way = read(Secret(out.url(scheme)))
        await outbound.probe(f"https://127.0.0.1:{port}", Route(Level.PROVIDER, "x", way))
        await outbound.probe(f"https://127.0.0.1:{port}", Route(Level.NONE, "x", Direct()))
        assert len(out.targets) == 1
    assert server.requests == []


async def test_a_probe_tells_why_not(tmp_path: Path) -> None:
    server = Recorder()
    async with running(ConnectProxy(refuses=403)) as out, Outbound(timeout=0.3) as outbound:
        way = read(Secret(out.url("http")))
        assert isinstance(way, ProxyServer)
        for route, url, why in (
            (Route(Level.GLOBAL, "x", way), "https://id.target.test", r"made no connection \(it answered 403\)"),
            (Route(Level.GLOBAL, "network.proxy_url", read(Secret("ftp://x"))), "https://x.test", "is neither http://"),
            (Route(Level.NONE, "x"), "http://id.target.test", "neither https nor loopback"),
            (Route(Level.NONE, "x"), f"http://127.0.0.1:{out.port + 1 if out.port < 65535 else 1}", "127.0.0.1 "),
        ):
            with pytest.raises(NotSentError, match=why):
                await outbound.probe(url, route)
        async with listening(server, certificate(tmp_path, "localhost").server()) as port:
            with pytest.raises(NotSentError, match="its certificate is not trusted"):
                await outbound.probe(f"https://localhost:{port}", Route(Level.NONE, "x"))
        async with running(ConnectProxy(silent=True)) as mute:
            silent = Route(Level.GLOBAL, "x", read(Secret(mute.url("http"))))
            with pytest.raises(NotSentError, match=rf"through the proxy 127\.0\.0\.1:{mute.port} \(timed out\)"):
                await outbound.probe("https://id.target.test", silent)
