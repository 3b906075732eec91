"""A worker's requests through real outbound proxies to the sandbox's API, and nothing past them."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from broker.config import Config, NetworkConfig, ProviderConfig, ProxyConfig, RoutingConfig, UpstreamConfig
from broker.model.secret import Secret
from broker.proxy.listen import bind
from broker.proxy.server import Worker
from broker.proxy.workers import Order, read_order, write_order
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings
from broker.system import SystemChance
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.certificates import certificate
from tests.fakes.outbound import LOGIN, ConnectProxy, OutboundProxy, SocksProxy, listening, running
from tests.fakes.upstream import answer as upstream_answer
from tests.proxy.conftest import KEY, Answer, Brisk, Proxy

CANARY = "canary-5e1f77"
SOMEWHERE = "api.target.test"  # a name only the fakes can look up


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(SandboxSettings(onboarded=True)) as running_one:
        yield running_one


@pytest.fixture
async def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An API by https and a name."""
    cert = certificate(tmp_path, SOMEWHERE)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert.file))
    said = {"candidates": [{"content": {"role": "model", "parts": [{"text": "far away"}]}, "finishReason": "STOP"}]}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert f"\r\nhost: {SOMEWHERE}:" in (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        writer.write(upstream_answer(json.dumps(said).encode()))
        await writer.drain()
        await reader.read()

    async with listening(serve, cert.server()) as port:
        yield f"https://{SOMEWHERE}:{port}"


def keys(sandbox: Sandbox, **ways: str | None) -> FakeDaemon:
    """Accounts with the sandbox's API key, each with a way of its own."""
    daemon = FakeDaemon()
    for name, url in ways.items():
        way = None if url is None else Secret(url)
        held = msgspec.structs.replace(lease(f"gemini-api/{name}"), access_token=sandbox.api_key, proxy_url=way)
        daemon.put(account(f"gemini-api/{name}", held))
    return daemon


@contextlib.asynccontextmanager
async def serving(
    daemon: FakeDaemon,
    upstream: str,
    network: NetworkConfig | None = None,
    provider: str | None = None,
    *,
    connect_timeout: float = 5.0,
    **env: str,
) -> AsyncIterator[Proxy]:
    tables = {"gemini-api": ProviderConfig(proxy_url=Secret(provider))} if provider else {}
    config = Config(
        proxy=ProxyConfig(port=0, api_keys=(Secret(KEY),), connect_timeout=connect_timeout),
        upstreams={"gemini": UpstreamConfig(base_url=upstream)},
        network=network or NetworkConfig(),
        providers=tables,
        routing=RoutingConfig(sticky=False),
    )
    worker = Worker(config, daemon, Brisk(), SystemChance(), env=env)
    _, port = await worker.start(bind("127.0.0.1", 0))
    made = Proxy(worker, daemon, port)
    try:
        yield made
    finally:
        await made.close()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def told(answer: Answer) -> str:
    return str(answer.json()["error"]["message"])


@pytest.mark.parametrize(("kind", "scheme"), [(ConnectProxy, "http"), (SocksProxy, "socks5"), (SocksProxy, "socks5h")])
async def test_an_account_goes_by_its_own_way(sandbox: Sandbox, kind: type[OutboundProxy], scheme: str) -> None:
    async with running(kind(locked=True)) as out:
        async with serving(keys(sandbox, a=out.url(scheme, LOGIN)), sandbox.url) as p:
            assert (await p.chat()).status == 200
            assert (await p.chat(stream=True)).status == 200
        # Loopback too, since it was said of this account; and the tunnel was used again.
        assert out.targets == [("127.0.0.1", port_of(sandbox.url))]


async def test_each_level_comes_before_the_next(sandbox: Sandbox, far: str) -> None:
    ways = [ConnectProxy() for _ in range(4)]
    async with contextlib.AsyncExitStack() as stack:
        for way in ways:
            await stack.enter_async_context(running(way))
        own, provider, common, environment = (way.url("http") for way in ways)
        network = NetworkConfig(proxy_url=Secret(common))
        for given in (
            (keys(sandbox, a=own), network, provider),
            (keys(sandbox, a=None), network, provider),
            (keys(sandbox, a=None), network, None),
            (keys(sandbox, a=None), None, None),
        ):
            daemon, everywhere, of_provider = given
            async with serving(daemon, far, everywhere, of_provider, https_proxy=environment) as p:
                assert (await p.chat()).status == 200
    assert [way.targets for way in ways] == [[(SOMEWHERE, port_of(far))]] * 4


async def test_what_holds_for_all_leaves_loopback_and_exceptions_alone(sandbox: Sandbox, far: str) -> None:
    async with running(ConnectProxy()) as out:
        network = NetworkConfig(proxy_url=Secret(out.url("http")))
        async with serving(keys(sandbox, a=None), sandbox.url, network, http_proxy=out.url("http")) as p:
            assert (await p.chat()).status == 200
        excepted = NetworkConfig(proxy_url=Secret(out.url("http")), no_proxy=("target.test",))
        for given, env in ((excepted, {}), (network, {"no_proxy": ".target.test"})):
            async with serving(keys(sandbox, a=None), far, given, **env) as p:
                assert (await p.chat()).status == 502  # nobody knows that name: it was looked for directly
    assert out.connections == 0


async def test_direct_ends_the_search(sandbox: Sandbox) -> None:
    async with running(ConnectProxy()) as out:
        async with serving(keys(sandbox, a="direct"), sandbox.url, provider=out.url("http")) as p:
            assert (await p.chat()).status == 200
        async with serving(keys(sandbox, a=None), sandbox.url, provider="none", http_proxy=out.url("http")) as p:
            assert (await p.chat()).status == 200
    assert out.connections == 0


async def test_accounts_of_two_ways_never_share_a_connection(sandbox: Sandbox) -> None:
    async with running(ConnectProxy()) as one, running(SocksProxy()) as two:
        daemon = keys(sandbox, a=one.url("http"), b=two.url("socks5h"), c=None, d=two.url("socks5h"))
        async with serving(daemon, sandbox.url) as p:
            for _ in range(8):  # in turns
                assert (await p.chat()).status == 200
            assert p.worker.pool.opened == 3  # b and d go the same way
    assert (one.connections, two.connections) == (1, 1)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h"])
async def test_a_proxy_that_is_down_is_an_error_and_nothing_goes_past_it(
    sandbox: Sandbox, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(1)

    async with running(ConnectProxy()) as out:
        url = out.url(scheme, f"me:{CANARY}")
    caplog.set_level(logging.DEBUG)
    async with listening(upstream) as port, serving(keys(sandbox, a=url), f"http://127.0.0.1:{port}") as p:
        answer = await p.chat()
    assert answer.status == 502
    assert f"cannot connect to the proxy 127.0.0.1:{out.port}" in told(answer)
    assert seen == []
    assert CANARY not in caplog.text + answer.body.decode()


async def test_a_proxy_that_refuses_is_an_error_and_nothing_goes_past_it(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(1)

    caplog.set_level(logging.DEBUG)
    for way, scheme, why in (
        (ConnectProxy(locked=True), "http", "refused the user name or password, or wants one (407)"),
        (SocksProxy(locked=True), "socks5h", "made no connection"),
        (ConnectProxy(refuses=403), "http", "made no connection (it answered 403)"),
        (SocksProxy(refuses=2), "socks5", "made no connection"),
    ):
        async with running(way), listening(upstream) as port:
            daemon = keys(sandbox, a=way.url(scheme, f"me:{CANARY}"))
            async with serving(daemon, f"http://127.0.0.1:{port}") as p:
                answer = await p.chat()
            assert answer.status == 502
            assert f"the proxy 127.0.0.1:{way.port} {why}" in told(answer)
            assert CANARY not in caplog.text + answer.body.decode()
    assert seen == []


async def test_the_next_account_serves_where_one_has_no_way(sandbox: Sandbox) -> None:
    async with running(ConnectProxy()) as out:
        url = out.url("http")
    async with serving(keys(sandbox, a=url, b=None), sandbox.url) as p:
        for _ in range(3):
            assert (await p.chat()).status == 200


async def test_a_variable_that_cannot_be_used_is_no_reason_to_go_directly(sandbox: Sandbox, far: str) -> None:
    async with serving(keys(sandbox, a=None), far, https_proxy=f"socks4://me:{CANARY}@127.0.0.1:1") as p:
        answer = await p.chat()
    assert answer.status >= 500
    assert "https_proxy is neither http://" in told(answer)
    assert CANARY not in answer.body.decode()


async def test_new_settings_lead_new_requests_another_way(sandbox: Sandbox) -> None:
    async with running(ConnectProxy()) as one, running(ConnectProxy()) as two:
        async with serving(keys(sandbox, a=None), sandbox.url, provider=one.url("http")) as p:
            assert (await p.chat()).status == 200
            before = Config(
                proxy=ProxyConfig(port=0, api_keys=(Secret(KEY),)),
                upstreams={"gemini": UpstreamConfig(base_url=sandbox.url)},
                providers={"gemini-api": ProviderConfig(proxy_url=Secret(two.url("http")))},
            )
            p.worker.apply(before)
            assert (await p.chat()).status == 200
    assert (len(one.targets), len(two.targets)) == (1, 1)


async def test_the_time_to_connect_is_for_the_way_and_the_target_together(sandbox: Sandbox) -> None:
    async with running(ConnectProxy(silent=True)) as mute:
        async with serving(keys(sandbox, a=mute.url("http", LOGIN)), sandbox.url, connect_timeout=0.2) as p:
            answer = await p.chat()
    assert answer.status == 504
    assert f"did not accept a connection through the proxy 127.0.0.1:{mute.port} within 0.2 s" in told(answer)


def test_workers_are_told_of_proxies_with_their_passwords() -> None:
    config = Config(
        network=NetworkConfig(proxy_url=Secret("http://me:fake-pass@a.example"), no_proxy=("b.example",)),
        providers={"codex": ProviderConfig(proxy_url=Secret("direct"))},
    )
    assert read_order(write_order(Order(config, 1, 2))).config == config
