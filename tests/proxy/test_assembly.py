"""The proxy as it is run: on uvloop, with leases over a real Unix socket where there is one."""

import asyncio
import socket
import urllib.request
from pathlib import Path

import pytest
import uvloop

from broker.config import Config, ProxyConfig, UpstreamConfig
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.observe.tasks import spawn
from broker.proxy.assembly import new_loop, run_proxy
from broker.proxy.leases import LeaseSource
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import RawUpstream, answer

KEY = "a-test-key"


def config(upstream: str = "http://127.0.0.1:1", **settings: object) -> Config:
    proxy = ProxyConfig(**{"port": 0, "api_keys": (Secret(KEY),), **settings})  # type: ignore[arg-type]
    return Config(proxy=proxy, upstreams={"gemini": UpstreamConfig(upstream)})


async def asking(
    settings: Config, source: LeaseSource | None, path: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """Run a proxy, ask it once from a thread, stop it."""
    stop, ports = asyncio.Event(), asyncio.Queue[int]()
    running = spawn(
        run_proxy(settings, ready=lambda _host, port: ports.put_nowait(port), stop=stop, source=source), name="test"
    )
    port = await asyncio.wait_for(ports.get(), 10)

    def ask() -> tuple[int, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=10) as got:
            return got.status, got.read()

    try:
        return await asyncio.to_thread(ask)
    finally:
        stop.set()
        await asyncio.wait_for(running, 10)


def test_serves_on_uvloop_and_ends() -> None:
    async def run() -> tuple[int, bytes]:
        assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
        daemon = FakeDaemon()
        daemon.put(account("gemini-api/a", lease("gemini-api/a")))
        reply = answer(b'{"candidates":[]}' + b" " * 300_000, "200 OK", "Content-Type: application/json")
        async with RawUpstream([reply]) as upstream:
            target = "/v1/models/gemini-2.5-pro:generateContent"
            return await asking(config(upstream.url), daemon, target, b"{}" + b" " * 300_000)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        status, body = runner.run(run())
    assert status == 200
    assert len(body) == 300_017


async def test_without_a_daemon_it_still_serves_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(tmp_path))
    status, body = await asking(config(), None, "/health")
    assert status == 200
    assert b'"connected":false' in body


async def test_a_port_in_use_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(BrokerError, match="in use by"):
            await run_proxy(config(port=other.getsockname()[1]), stop=asyncio.Event(), source=FakeDaemon())


async def test_no_uvloop_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    loop = new_loop()
    assert not isinstance(loop, uvloop.Loop)
    loop.close()
