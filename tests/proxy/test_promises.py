"""What the proxy promises under load, in numbers: no request that could be served fails, nothing is left behind, bytes stay as they are.

`make test` plays the small sizes, `make test-faults` the large ones and prints the figures.
"""

import asyncio
import gc
import json
import random
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.config import UpstreamConfig
from broker.system import SystemClock
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import RawUpstream, answer
from tests.fakes.vendor_words import events_of, whole_of
from tests.proxy.conftest import MakeProxy, Proxy
from tests.system.rotation.figures import Figure, share, teller

SMALL_AND_LARGE = pytest.mark.parametrize("size", [300, pytest.param(10_000, marks=pytest.mark.faults)])
WAYS = 32
"""Clients at once."""
STATM = Path("/proc/self/statm")
PATH = "/v1/chat/completions"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    return teller(request)


class Accounts:
    """An upstream that fails one of its accounts at random, in every way that shows before the first byte of an answer."""

    def __init__(self, chance: random.Random, failing: str) -> None:
        self._chance = chance
        self._failing = failing
        self.asked: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                body = json.loads(await reader.readexactly(int(length.split(b":")[1])))
                token = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization:"))
                name = token.rpartition(b"-")[2].decode()
                self.asked[name] += 1
                if name == self._failing and self._chance.random() < 0.7:
                    if not self._fail(writer):
                        return
                else:
                    self._answer(writer, bool(body.get("stream")))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _fail(self, writer: asyncio.StreamWriter) -> bool:
        """Fail; return whether the connection stays."""
        way = self._chance.choice(["401", "429", "500", "502", "503", "529", "close", "head", "no body"])
        self.failed[way] += 1
        if way.isdigit():
            told = b'{"error":{"message":"no","type":"x"}}'
            writer.write(
                b"HTTP/1.1 %b No\r\ncontent-length: %d\r\nretry-after: 0\r\n\r\n" % (way.encode(), len(told)) + told
            )
            return True
        if way == "head":
            writer.write(b"HTTP/1.1 200 OK\r\ncont")
        if way == "no body":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n")
        return False

    @staticmethod
    def _answer(writer: asyncio.StreamWriter, streamed: bool) -> None:
        kind = b"text/event-stream" if streamed else b"application/json"
        body = b"".join(events_of(PATH, "A text")) if streamed else whole_of(PATH, "A text")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(body)) + body)


def three() -> FakeDaemon:
    daemon = FakeDaemon()
    names = [f"openai-api/{name}" for name in "abc"]
    daemon.put(*(account(name, lease(name, f"fake-key-{name[-1]}")) for name in names))
    generations: Counter[str] = Counter()

    def renew(name: str) -> Any:
        generations[name] += 1
        return lease(name, f"fake-key-{generations[name]}-{name[-1]}", 1 + generations[name])

    daemon.renew = renew
    return daemon


def at(url: str) -> dict[str, UpstreamConfig]:
    return {"openai": UpstreamConfig(base_url=url)}


async def spread(size: int, one: Any) -> None:
    """Call `one` with each number below `size`, some at once."""
    numbers = iter(range(size))

    async def way() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(way() for _ in range(WAYS)))


@SMALL_AND_LARGE
async def test_no_request_fails_while_one_of_three_accounts_does(proxy: MakeProxy, size: int, figure: Figure) -> None:
    upstream = Accounts(random.Random(5), "b")
    statuses: Counter[object] = Counter()
    async with upstream.running() as url, proxy(three(), upstreams=at(url)) as p:

        async def ask(number: int) -> None:
            streamed = number % 2 == 1
            sent = BODY | {"messages": [{"role": "user", "content": f"question {number}"}], "stream": streamed}
            got = await p.ask("POST", PATH, sent)
            statuses[got.status, b"A text" in got.body or b"A t" in got.body] += 1

        await spread(size, ask)
        assert statuses == {(200, True): size}
    failures = upstream.failed.total()
    assert failures > size / 200  # it rests after each, so the faster the others are served the fewer there are
    assert set(upstream.asked) == {"a", "b", "c"}
    ways = ", ".join(f"{way} {count}" for way, count in sorted(upstream.failed.items()))
    figure(f"failovers: {size} requests, 0 failed; {failures} failures of one account in three ({ways})")


class Endless:
    """An upstream that streams for as long as somebody reads, and notes when it is left."""

    def __init__(self) -> None:
        self.open = 0
        self.left: list[float] = []
        self.taken = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(int(length.split(b":")[1]))
            self.taken += 1
            if b"stay silent" not in body:
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                for each in events_of(PATH, "A text")[:2]:
                    writer.write(b"%x\r\n%b\r\n" % (len(each), each))
            await reader.read()
            self.left.append(SystemClock().now().boot)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.append(SystemClock().now().boot)
        finally:
            self.open -= 1
            writer.close()


async def leave(p: Proxy, chance: random.Random) -> float:
    """Ask, and hang up: in the middle of the request, before the answer, or within it. Return when."""
    said = chance.choice(["hi", "stay silent"])
    sent = BODY | {"stream": True, "messages": [{"role": "user", "content": said}]}
    request = p.request("POST", PATH, json.dumps(sent).encode())
    reader, writer = await asyncio.open_connection("127.0.0.1", p.port)
    half = chance.random() < 0.1
    writer.write(request[: len(request) // 2] if half else request)
    if not half and said == "hi":
        await reader.readuntil(b"data: ")
    elif chance.random() < 0.5:
        await asyncio.sleep(chance.random() / 100)
    writer.transport.abort()
    return SystemClock().now().boot


def resident() -> int:
    """Return the bytes this process has in memory."""
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not STATM.exists(), reason="memory is read from Linux' /proc")
@SMALL_AND_LARGE
async def test_clients_that_leave_leave_nothing_behind(proxy: MakeProxy, size: int, figure: Figure) -> None:
    upstream, chance = Endless(), random.Random(7)
    daemon = FakeDaemon()
    daemon.put(account("openai-api/a", lease("openai-api/a")))
    async with upstream.running() as url, proxy(daemon, upstreams=at(url)) as p:

        async def one(number: int) -> None:
            await leave(p, chance)

        await spread(size // 4, one)
        await quiet(p, upstream)
        tasks, memory = len(asyncio.all_tasks()), resident()
        await spread(size - size // 4, one)
        await quiet(p, upstream)
        assert len(asyncio.all_tasks()) <= tasks
        grown = resident() - memory
        assert grown < 8 << 20, f"{grown} bytes more than before"
        assert not daemon.reports, "who leaves blames nobody"
    figure(
        f"disconnects: {size} clients left, {upstream.taken} of them with a request at the upstream; then 0 connections, and {grown >> 10} KiB more"
        f" than after the first {size // 4}"
    )


async def quiet(p: Proxy, upstream: Endless) -> None:
    async with asyncio.timeout(30):
        while upstream.open or p.worker.pool.open or p.worker.connections:
            await asyncio.sleep(0.01)
    gc.collect()


async def test_an_upstream_learns_at_once_that_its_client_left(proxy: MakeProxy, figure: Figure) -> None:
    upstream = Endless()
    daemon = FakeDaemon()
    daemon.put(account("openai-api/a", lease("openai-api/a")))
    late = []
    async with upstream.running() as url, proxy(daemon, upstreams=at(url)) as p:
        for number in range(50):
            said = "hi" if number % 2 else "stay silent"
            sent = BODY | {"stream": True, "messages": [{"role": "user", "content": said}]}
            reader, writer = await asyncio.open_connection("127.0.0.1", p.port)
            writer.write(p.request("POST", PATH, json.dumps(sent).encode()))
            async with asyncio.timeout(10):
                while upstream.taken <= number:
                    await asyncio.sleep(0)
                if said == "hi":
                    await reader.readuntil(b"data: ")
                writer.transport.abort()
                gone = SystemClock().now().boot
                while len(upstream.left) <= number:
                    await asyncio.sleep(0)
            late.append(upstream.left[-1] - gone)
    figure(
        f"client gone to upstream closed: p50 {share(late, 0.5) * 1000:.2f} ms, most {max(late) * 1000:.2f} ms (50 clients)"
    )


# --- bytes ---

SPACES = ("", " ", "\n", "\t ", "\r\n")
KEYS = ("messages", "x", "tools", "é", "modelx", "a.b", "", "stream_options")


def written(chance: random.Random, depth: int = 0) -> str:
    """Write a JSON value as nobody's encoder would."""
    kind = chance.randrange(4 if depth > 3 else 6)
    gap = chance.choice(SPACES)
    if kind == 0:
        return chance.choice(["1e0", "-0", "1.50", "12345678901234567890123", "0.1e-7", "null", "true"])
    if kind < 4:
        text = "".join(
            chance.choice(["a", "ü", "\\u00fc", "\\n", "\\/", '\\"', "🦀", " ", "{", "]"])
            for _ in range(chance.randrange(9))
        )
        return f'"{text}"'
    inner = [written(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 4:
        return f"[{gap}" + f"{gap},{gap}".join(inner) + f"{gap}]"
    named = [f'"{chance.choice(KEYS)}"{gap}:{gap}{value}' for value in inner]
    return f"{{{gap}" + f"{gap},{gap}".join(named) + f"{gap}}}"


def body_of(chance: random.Random, model: str | None) -> bytes:
    """Write an object with its model somewhere, or without one."""
    gap = chance.choice(SPACES)
    named = [f'"{chance.choice(KEYS)}{number}"{gap}:{gap}{written(chance)}' for number in range(chance.randrange(5))]
    if model is not None:
        named.insert(chance.randrange(len(named) + 1), f'"model"{gap}:{gap}"{model}"')
    return (gap + f"{{{gap}" + f"{gap},{gap}".join(named) + f"{gap}}}" + chance.choice(SPACES)).encode()


CASES = [
    ("/v1/chat/completions", "openai-api/a", "openai", "gpt-4o"),
    ("/v1/responses", "openai-api/a", "openai", "gpt-4o"),
    ("/v1/messages", "anthropic-api/a", "anthropic", "claude-sonnet-4-5"),
    ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini-api/a", "gemini", None),
]


@pytest.mark.parametrize("size", [100, pytest.param(1000, marks=pytest.mark.faults)])
async def test_bytes_pass_untouched_both_ways(proxy: MakeProxy, size: int, figure: Figure) -> None:
    chance = random.Random(11)
    for path, name, kind, model in CASES:
        bodies = [body_of(chance, model) for _ in range(size)]
        answers = [body_of(chance, None) for _ in range(size)]
        daemon = FakeDaemon()
        daemon.put(account(name, lease(name)))
        async with RawUpstream(
            [answer(each, "200 OK", "content-type: application/json") for each in answers]
        ) as upstream:
            async with proxy(daemon, upstreams={kind: UpstreamConfig(base_url=upstream.url)}) as p:
                got = [await p.ask("POST", path, each) for each in bodies]
        assert [each.status for each in got] == [200] * size
        assert [each.body for each in upstream.requests] == bodies
        assert [each.body for each in got] == answers
    figure(f"pass-through: {size} random bodies in each of {len(CASES)} dialects, both ways, equal byte for byte")


async def test_a_prefix_changes_the_name_and_no_other_byte(proxy: MakeProxy) -> None:
    chance = random.Random(13)
    path, name, kind, model = CASES[0]
    bodies = [body_of(chance, f"openai-api/{model}") for _ in range(100)]
    daemon = FakeDaemon()
    daemon.put(account(name, lease(name)))
    async with RawUpstream([answer(b"{}")]) as upstream:
        async with proxy(daemon, upstreams={kind: UpstreamConfig(base_url=upstream.url)}) as p:
            for each in bodies:
                assert (await p.ask("POST", path, each)).status == 200
    shorter = [each.replace(f'"openai-api/{model}"'.encode(), f'"{model}"'.encode()) for each in bodies]
    assert [each.body for each in upstream.requests] == shorter
