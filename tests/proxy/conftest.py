"""A whole worker in process, on a real port, with a daemon that does as told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker.config import Config, ProxyConfig, RoutingConfig, UpstreamConfig
from broker.model.policy import Payload, Policy
from broker.model.secret import Secret
from broker.model.told import ToldModel
from broker.proxy.keyfile import KeyFile
from broker.proxy.listen import bind
from broker.proxy.server import Worker
from broker.proxy.wire import server
from broker.proxy.wire.exchange import Limits
from broker.system import SystemChance, SystemClock
from tests.fakes.broker_socket import FakeDaemon

KEY = "a-test-key"


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the short way: on a slow machine more than a second may pass between two requests of a test."""
    monkeypatch.setattr(server, "_KNOWN_SECONDS", 3600.0)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Proxy:
    """A running worker and a plain client for it."""

    worker: Worker
    daemon: FakeDaemon
    port: int
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 26)
        self._writers.append(writer)
        return reader, writer

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
        named = {"host": f"127.0.0.1:{self.port}", "authorization": f"Bearer {KEY}"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        if body or method == "POST":
            named.setdefault("content-length", str(len(body)))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items() if value)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def ask(self, method: str, target: str, body: object = b"", **headers: str) -> Answer:
        """Ask once, over a connection that is closed after."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reader, writer = await self.dial()
        writer.write(self.request(method, target, data, **{"connection": "close", **headers}))
        raw = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return parse(raw)

    async def chat(self, text: str = "Say hello", model: str = "gemini-2.5-flash", **fields: object) -> Answer:
        messages = [{"role": "user", "content": text}]
        return await self.ask("POST", "/v1/chat/completions", {"model": model, "messages": messages, **fields})

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await self.worker.stop(0.5)
        await asyncio.sleep(0.01)


def parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = dechunk(body)
    return Answer(int(first.split()[1]), headers, body)


def dechunk(data: bytes) -> bytes:
    """Join complete chunks; an answer without its last chunk raises."""
    out = []
    at = 0
    while True:
        line = data.index(b"\r\n", at)
        number = int(data[at:line], 16)
        at = line + 2
        if number == 0:
            assert data[at:] == b"\r\n"
            return b"".join(out)
        out.append(data[at : at + number])
        at += number + 2
        assert data[at - 2 : at] == b"\r\n"


def events(body: bytes) -> list[str]:
    """Return the data of server-sent events, comments left out."""
    out = []
    for block in body.decode().split("\n\n"):
        lines = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
        if lines:
            out.append("\n".join(lines))
    return out


MakeProxy = Callable[..., contextlib.AbstractAsyncContextManager[Proxy]]


class Brisk(SystemClock):
    """The system's clock for tests of what is done, not of how long it takes: pauses are cut short."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.02))


@pytest.fixture
def proxy() -> MakeProxy:
    @contextlib.asynccontextmanager
    async def make(
        daemon: FakeDaemon,
        upstream: str = "",
        *,
        limits: Limits | None = None,
        upstreams: dict[str, UpstreamConfig] | None = None,
        keys: KeyFile | None = None,
        routing: RoutingConfig | None = None,
        models: dict[str, ToldModel] | None = None,
        policies: dict[str, Policy] | None = None,
        payload: Payload | None = None,
        **settings: Any,
    ) -> AsyncIterator[Proxy]:
        given = ProxyConfig(**{"port": 0, "api_keys": (Secret(KEY),), **settings})
        there = {name: UpstreamConfig(base_url=upstream) for name in ("gemini", "codeassist")} if upstream else {}
        worker = Worker(
            Config(
                proxy=given,
                upstreams=there | (upstreams or {}),
                routing=routing or RoutingConfig(discover_models=False),  # nobody outside is asked by a test
                models=models or {},
                policies=policies or {},
                payload=payload or Payload(),
            ),
            daemon,
            Brisk(),
            SystemChance(),
            limits=limits,
            keys=keys,
        )
        _, port = await worker.start(bind("127.0.0.1", 0))
        made = Proxy(worker, daemon, port)
        try:
            yield made
        finally:
            await made.close()

    return make
