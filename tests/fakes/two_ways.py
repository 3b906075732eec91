"""Two workers that are told and asked the same, of which one never goes the short way: all that can be seen of them must be the same."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from broker.config import Config, ProxyConfig, RoutingConfig, UpstreamConfig
from broker.model.secret import Secret
from broker.proxy.call import ClientCall, route_of
from broker.proxy.front import Front
from broker.proxy.gateway import Gateway
from broker.proxy.keyfile import KeyFile
from broker.proxy.listen import bind
from broker.proxy.server import Worker
from broker.proxy.usage_table import Counts
from broker.proxy.wire.exchange import Call, Exchange, Limits
from tests.fakes.broker_socket import FakeDaemon
from tests.fakes.clock import FakeChance, FakeClock, settle
from tests.fakes.upstream import Peer, RawUpstream, Script, Taken

KEY = "a-test-key"
_VAGUE = re.compile(
    rb"^ccs_proxy_(request_seconds_(bucket|sum)|request_log_created|usage_(first_)?seconds_total).*\n", re.MULTILINE
)
_SECONDS = frozenset({"seconds", "first_seconds"})


class Still(FakeClock):
    """Time stands still until told otherwise, and pauses are cut short."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


class Stage:
    """What an upstream does with its next requests: one play each, the last for all further ones. It can be changed at any time."""

    def __init__(self, *plays: Script) -> None:
        self.plays = list(plays)

    def play(self, *plays: Script) -> None:
        self.plays = list(plays)

    async def __call__(self, peer: Peer, taken: Taken) -> None:
        play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        if isinstance(play, bytes):
            await peer.send(play)
        else:
            await play(peer, taken)


class Held:
    """A play that answers when it is let: `asked` is set once the request is there, `left` once the proxy closed the connection instead."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, peer: Peer, taken: Taken) -> None:
        self.asked.set()
        going, leaving = asyncio.create_task(self.go.wait()), asyncio.create_task(peer.gone())
        try:
            await asyncio.wait([going, leaving], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                self.left.set()
        finally:
            for task in (going, leaving):
                task.cancel()
            await asyncio.gather(going, leaving, return_exceptions=True)
        if self.go.is_set():
            await peer.send(self._reply)


class Watching(Front):
    """The app, which notes who is given each request; without `short` it is always the one for requests of which nothing is known."""

    def __init__(self, gateway: Gateway, *, short: bool) -> None:
        super().__init__(gateway)
        self._own = gateway
        self.short = short
        self.opened: list[str] = []

    def open(self, exchange: Exchange) -> Call:
        call = (
            super().open(exchange)
            if self.short
            else ClientCall(self._own, exchange, exchange.head.derived(route_of), self._own.next_id())
        )
        self.opened.append(type(call).__name__)
        return call


@dataclass(frozen=True)
class Got:
    """An answer as it came; `end` is `whole`, `cut`, or `closed` where the connection ended with it."""

    head: bytes
    body: bytes
    end: str = "whole"

    @property
    def status(self) -> int:
        return int(self.head.split()[1])


@dataclass
class Rig:
    """A worker, its daemon, its upstream, and one client that keeps its connection.

    `ways` tells how each request that came that far was served: `long`, `short`, or `resumed` where the short way was left in the middle.
    """

    worker: Worker
    daemon: FakeDaemon
    upstream: RawUpstream
    stage: Stage
    clock: Still
    front: Watching
    config: Callable[..., Config]
    port: int = 0
    ways: list[str] = field(default_factory=list)
    answers: list[Got] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    @property
    def short(self) -> bool:
        """Whether there is a short way."""
        return self.front.short

    @property
    def gateway(self) -> Gateway:
        return self.worker._gateway

    def apply(self, **changes: Any) -> None:
        """Take other settings."""
        self.worker.apply(self.config(**changes))

    async def dial(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 26)
        self.writers.append(self.writer)

    def request(self, target: str, body: bytes, key: str = KEY, **headers: str) -> bytes:
        named = {"host": "127.0.0.1", "authorization": f"Bearer {key}", "content-type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()} | {"content-length": str(len(body))}
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def send(self, data: bytes) -> None:
        """Send bytes over the client's connection, or a new one where that is gone."""
        if self.writer is None:
            await self.dial()
        assert self.writer is not None
        self.writer.write(data)

    async def ask(self, target: str, body: bytes, key: str = KEY, **headers: str) -> Got:
        await self.send(self.request(target, body, key, **headers))
        return await self.got()

    async def got(self) -> Got:
        """Return the next answer."""
        assert self.reader is not None
        made = await asyncio.wait_for(_answer(self.reader), 30)
        if made.end != "whole" or b"\r\nconnection: close" in made.head:
            assert self.writer is not None
            self.writer.close()
            self.reader = self.writer = None
        self.answers.append(made)
        return made

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.005)

    def usage(self) -> dict[tuple[str, str, str], dict[str, object]]:
        return {who: _numbers(counts) for who, counts in self.worker._usage.table.rows() if counts.requests}

    def record(self) -> dict[str, object]:
        """Return all there is to see."""
        port, usage = str(self.upstream.port).encode(), self.worker._usage
        return {
            "answers": [(each.head, each.body.replace(port, b"PORT"), each.end) for each in self.answers],
            "requests": [
                (each.connection, each.head.replace(port, b"PORT"), each.body) for each in self.upstream.requests
            ],
            "connections": (self.upstream.connections, self.worker.pool.opened),
            "reports": list(self.daemon.reports),
            "accounts": [(each.view, each.lease) for each in self.worker.table.accounts()],
            "strikes": dict(self.worker.table._strikes),
            "usage": self.usage(),
            "sessions": {
                who: (each.account, each.model, each.requests) for who, each in sorted(usage._sessions.items())
            },
            "limits": dict(usage.heads),
            "metrics": _VAGUE.sub(b"", self.worker._meters.text()).decode().splitlines(),
            "busy": dict(self.gateway.shop.counts.busy),
        }


@asynccontextmanager
async def rig(
    daemon: FakeDaemon,
    upstreams: Sequence[str],
    *plays: Script,
    short: bool = True,
    keys: Path | None = None,
    limits: Limits | None = None,
    tables: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """Start a worker whose `upstreams` are one, which plays `plays`. `settings` are those of `[proxy]`, `tables` other tables of the config."""
    stage, clock = Stage(*plays), Still()
    async with RawUpstream([stage]) as upstream:

        def config(**changes: Any) -> Config:
            own = {name: UpstreamConfig(base_url=changes.pop("url", upstream.url)) for name in upstreams}
            proxy = ProxyConfig(**{"port": 0, "api_keys": (Secret(KEY),), **settings, **changes.pop("proxy", {})})
            given = {"upstreams": own, "routing": RoutingConfig(discover_models=False), **(tables or {}), **changes}
            return Config(proxy=proxy, **given)

        file = KeyFile(keys) if keys is not None else None
        worker = Worker(config(), daemon, clock, FakeChance(), limits=limits, keys=file)
        front = worker._listener.app = Watching(worker._gateway, short=short)
        made = Rig(worker, daemon, upstream, stage, clock, front, config)
        _note_ways(made)
        _, made.port = await worker.start(bind("127.0.0.1", 0))
        try:
            yield made
        finally:
            for writer in made.writers:
                writer.transport.abort()
            await worker.stop(0.5)
            await settle()


async def both(
    scenario: Callable[[Rig], Awaitable[None]],
    daemon: Callable[[], FakeDaemon],
    upstreams: Sequence[str],
    *plays: Script,
    **settings: Any,
) -> Rig:
    """Play a scenario to both workers, and compare; return the one that may go the short way."""
    async with (
        rig(daemon(), upstreams, *plays, **settings) as one,
        rig(daemon(), upstreams, *plays, short=False, **settings) as other,
    ):
        await asyncio.gather(scenario(one), scenario(other))
        for _ in range(400):
            ours, theirs = one.record(), other.record()
            if ours == theirs:
                break
            await asyncio.sleep(0.005)  # what ends behind the answer: connections, reports, what a thread writes
        for name, told in ours.items():
            assert told == theirs[name], f"{name}: {_difference(told, theirs[name])}"
        assert "ClientCall" in other.front.opened
        assert set(other.front.opened) == {"ClientCall"}
        return one


def _note_ways(made: Rig) -> None:
    """Note how requests are served by what only one of the ways does."""
    gateway, usage, ways = made.gateway, made.worker._usage, made.ways
    context, witness, passed = gateway.context, usage.witness, usage.passed
    fresh = False

    def noted_context(*given: Any, **named: Any) -> Any:
        nonlocal fresh
        fresh = True
        ways.append("long")
        return context(*given, **named)

    def noted_witness(*given: Any, **named: Any) -> Any:
        nonlocal fresh
        if not fresh:
            ways.append("resumed")
        fresh = False
        return witness(*given, **named)

    def noted_passed(*given: Any, **named: Any) -> Any:
        ways.append("short")
        return passed(*given, **named)

    gateway.context = noted_context  # type: ignore[method-assign]
    usage.witness = noted_witness  # type: ignore[method-assign]
    usage.passed = noted_passed  # type: ignore[method-assign]


def _difference(ours: object, theirs: object) -> str:
    if isinstance(ours, list) and isinstance(theirs, list):
        pairs = zip_longest(ours, theirs)
        return next(f"at {at}: {one!r}, {other!r}" for at, (one, other) in enumerate(pairs) if one != other)
    return f"{ours!r}, {theirs!r}"


def _numbers(counts: Counts) -> dict[str, object]:
    """Return a row's numbers; of times only that there were some."""
    told = {name: getattr(counts, name) for name in counts.__struct_fields__}
    return {name: bool(value) if name in _SECONDS else value for name, value in told.items()}


async def _answer(reader: asyncio.StreamReader) -> Got:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return Got(b"", b"", "closed")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    if lines.get(b"transfer-encoding") == b"chunked":
        return await _chunked(reader, head)
    status = int(head.split()[1])
    length = 0 if status == 204 else int(lines[b"content-length"])
    try:
        return Got(head, await reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        return Got(head, error.partial, "cut")
    except ConnectionError:
        return Got(head, b"", "cut")


async def _chunked(reader: asyncio.StreamReader, head: bytes) -> Got:
    body = bytearray()
    try:
        while length := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(length)
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readexactly(2) == b"\r\n"
    except (asyncio.IncompleteReadError, ConnectionError):
        return Got(head, bytes(body), "cut")
    return Got(head, bytes(body))
