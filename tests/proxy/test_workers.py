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
from broker.settings.reading import parse

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


EVERYTHING = b"""
[notify]
command = ["tell", "me"]
[proxy]
api_keys = ["a-test-key"]
allow = ["::1", "127.0.0.0/8"]
total_timeout = 60
[network]
proxy_url = "socks5h://me:fake-password@127.0.0.1:1080"
[providers.mine]
kind = "oauth2"
issuer = "https://example.com"
client_id = "me"
options = { region = "here" }
proxy_url = "direct"
[upstreams.openai]
base_url = ["https://one.example/v1", "https://two.example/v1"]
headers = { X-Team = "blue" }
[routing]
strategy = "two-choices"
aliases = { "a-*" = "b-*" }
[combos.chain]
models = ["a", "b"]
strategy = "round-robin"
[models."m-*"]
providers = ["claude"]
thinking = { kind = "level", levels = ["low", "high"] }
[policies.one]
thinking = 2048
[policies."two*"]
thinking = "high"
prepend = "Say"
[payload]
default = [{ path = "a.b", value = 0.5 }, { path = ["a.b"], value = "text", models = ["x", "y*"] }]
override = [{ path = "c", value = { d = [1, true, "e", { f = 1.5 }] }, dialect = "claude" }]
remove = [{ path = "tools.0", provider = "claude" }]
[request_log]
enabled = true
only = "errors"
directory = "/somewhere"
"""


def test_settings_of_every_kind_survive_the_pipe() -> None:
    order = Order(parse(EVERYTHING), 1, 0)
    back = read_order(write_order(order))
    assert back == order
    assert [rule.value for rule in (*back.config.payload.default, *back.config.payload.override)] == [
        0.5,
        "text",
        {"d": [1, True, "e", {"f": 1.5}]},
    ]


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
