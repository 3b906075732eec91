"""Several real worker processes on one port."""

import asyncio
import os
import re
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from broker.config import Config, LoggingConfig, ProxyConfig
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.observe.tasks import spawn
from broker.proxy.assembly import run_proxy
from broker.proxy.workers import Order, read_order, write_order

KEY = "a-test-key"


def config(**settings: object) -> Config:
    proxy = ProxyConfig(**{"port": 0, "workers": 2, "api_keys": (Secret(KEY),), **settings})  # type: ignore[arg-type]
    return Config(proxy=proxy, logging=LoggingConfig(level="error"))


def test_an_order_survives_the_pipe() -> None:
    order = Order(config(), 8317, 1, 5)
    line = write_order(order)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    back = read_order(line)
    assert back == order
    assert back.config.proxy.api_keys[0].reveal() == KEY


def worker_of(port: int) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {KEY}", "Connection": "close"}
    )
    with urllib.request.urlopen(request, timeout=10) as got:
        found = re.search(r'ccs_proxy_leases\{worker="(\d)"\}', got.read().decode())
    assert found
    return found[1]


def children() -> set[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {int(pid) for pid in listed if b"broker.proxy.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()}


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
async def test_workers_share_the_port_are_replaced_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(tmp_path))
    stop, ports = asyncio.Event(), asyncio.Queue[int]()
    running = spawn(run_proxy(config(), ready=lambda _host, port: ports.put_nowait(port), stop=stop), name="test")
    port = await asyncio.wait_for(ports.get(), 30)
    first = children()
    assert len(first) == 2
    for pid in first:
        assert KEY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert KEY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    seen: set[str] = set()
    for _ in range(100):
        seen.add(await asyncio.to_thread(worker_of, port))
        if len(seen) == 2:
            break
    assert seen == {"0", "1"}
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    async with asyncio.timeout(20):
        while len(children() - {victim}) < 2:
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(running, 20)
    assert not children()
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


async def test_workers_that_cannot_start_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", "/" + "x" * 200)
    with pytest.raises(BrokerError, match="did not start"):
        await run_proxy(config(), stop=asyncio.Event())
