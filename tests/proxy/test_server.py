"""Starting, settings and stopping of one worker."""

import asyncio

import pytest

from broker.config import Config, ProxyConfig
from broker.proxy.listen import bind
from broker.proxy.server import Worker, limits_of, tick_seconds
from broker.system import SystemChance, SystemClock
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import Peer, RawUpstream, Taken
from tests.proxy.conftest import MakeProxy, parse


def with_key() -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(account("gemini-api/a", lease("gemini-api/a")))
    return daemon


def test_settings_become_limits() -> None:
    proxy = ProxyConfig(max_body_bytes=5, max_connections=6, idle_timeout=7)
    limits = limits_of(proxy)
    assert (limits.body_bytes, limits.connections, limits.stall_seconds) == (5, 6, 7)
    assert tick_seconds(ProxyConfig()) == 1.0
    assert tick_seconds(ProxyConfig(keepalive_seconds=0.4)) == pytest.approx(0.1)


async def test_the_first_request_finds_the_accounts(proxy: MakeProxy) -> None:
    async with proxy(with_key()) as p:
        assert (await p.ask("GET", "/health")).json()["leases"] == 1


async def test_a_daemon_that_says_nothing_does_not_hold_up_the_start(
    monkeypatch: pytest.MonkeyPatch, proxy: MakeProxy
) -> None:
    class Silent(FakeDaemon):
        async def watch(self, last_event_id: str | None = None):  # type: ignore[no-untyped-def,override]
            await asyncio.Event().wait()
            yield

    monkeypatch.setattr("broker.proxy.server._FIRST_SNAPSHOT_SECONDS", 0.05)
    async with proxy(Silent()) as p:
        assert (await p.ask("GET", "/health")).json()["status"] == "degraded"


async def test_stopping_lets_streams_end_and_takes_nothing_new(proxy: MakeProxy) -> None:
    go = asyncio.Event()

    async def slow(peer: Peer, taken: Taken) -> None:
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\none\n\n\r\n"
        )
        await go.wait()
        await peer.send(b"5\r\ntwo\n\n\r\n0\r\n\r\n")

    async with RawUpstream([slow]) as upstream, proxy(with_key(), upstream.url) as p:
        idle, _ = await p.dial()
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/models/gemini-2.5-pro:streamGenerateContent?alt=sse", b"{}"))
        start = await reader.readuntil(b"one")
        stopping = asyncio.gather(p.worker.stop(5))
        assert await idle.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await p.dial()
        assert not stopping.done()
        go.set()
        assert parse(start + await reader.read()).body == b"one\n\ntwo\n\n"
        await asyncio.wait_for(stopping, 1)


async def test_stopping_has_an_end(proxy: MakeProxy, caplog: pytest.LogCaptureFixture) -> None:
    async def hang(peer: Peer, taken: Taken) -> None:
        await peer.gone()

    async with RawUpstream([hang]) as upstream, proxy(with_key(), upstream.url) as p:
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/models/gemini-2.5-pro:generateContent", b"{}"))
        while not upstream.requests:
            await asyncio.sleep(0.005)
        await asyncio.wait_for(p.worker.stop(0.05), 1)
        assert await reader.read() == b""
        assert "answers cut by the stop" in caplog.text


async def test_stopping_before_starting() -> None:
    worker = Worker(Config(), FakeDaemon(), SystemClock(), SystemChance())
    await worker.stop(0.1)
    listening = bind("127.0.0.1", 0)
    listening.close()
