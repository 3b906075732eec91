"""What happens to a stream that goes back untouched while it comes: of a request that went the short way, and of one whose job left it to `Passing`."""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from broker.config import UsageConfig
from broker.proxy.call import ClientCall
from broker.proxy.deadlines import Deadlines
from broker.proxy.job import Job
from broker.proxy.passing import Passing
from broker.proxy.trail import Trail
from broker.proxy.usage import Counting
from broker.proxy.wire.client import UpstreamConnection
from broker.proxy.wire.pool import Origin
from broker.proxy.wire.server import ServerConnection
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.two_ways import Got, Rig, both, rig
from tests.fakes.upstream import Peer, Script, Taken, answer, chunked
from tests.proxy.test_job import SSE, bad, gemini

TARGET = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
NAME = "gemini-api/one"
HEAD = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{SSE}\r\n\r\n".encode()
END = b"0\r\n\r\n"


def event(text: str) -> bytes:
    told = gemini(text) | {"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": len(text)}}
    return b"data: " + json.dumps(told).encode() + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WORDS = event("whole").removeprefix(b"data: ")
ONE, TWO, THREE = (event(text) for text in ("one", "two words", "and three"))
OK = chunked(ONE, TWO, headers=(SSE,))


def one() -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(account(NAME, lease(NAME, "fake-key-1")))
    return daemon


class Midway:
    """A play that sends a part of a stream, and what follows when it is let: `left` is set once the proxy closed the connection instead."""

    def __init__(self, begun: bytes, *rest: bytes, close: bool = False) -> None:
        self.events = b"text/event-stream" in begun
        self._begun = begun
        self._rest = rest
        self._close = close
        self.go = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, peer: Peer, taken: Taken) -> None:
        await peer.send(self._begun)
        going, leaving = asyncio.create_task(self.go.wait()), asyncio.create_task(peer.gone())
        try:
            await asyncio.wait([going, leaving], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                self.left.set()
                return
        finally:
            for task in (going, leaving):
                task.cancel()
            await asyncio.gather(going, leaving, return_exceptions=True)
        for part in self._rest:
            await peer.send(part)
            await asyncio.sleep(0.002)
        if self._close:
            peer.writer.close()


class Route:
    """How requests come to their answers: the short way, or by a job, as each has a head of its own then."""

    by_job = False


@pytest.fixture(autouse=True, params=["short", "job"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Route, "by_job", request.param == "job")


def request_of(p: Rig, body: bytes) -> bytes:
    return p.request(TARGET, body, **({"x_turn": f"{len(p.answers)}-{len(body)}"} if Route.by_job else {}))


async def ask(p: Rig, blanks: int = 0, body: bytes = b'{"contents": []}') -> Got:
    await p.send(request_of(p, body + b" " * blanks))
    return await p.got()


def line_of(p: Rig) -> ServerConnection:
    (line,) = p.worker._listener.connections
    return line


async def begin(p: Rig, play: Midway | bytes) -> None:
    """Ask until the short way is gone, then for `play`; wait until the client has something of it."""
    p.stage.play(OK)
    await ask(p)
    await ask(p, 1)
    p.stage.play(play, OK)
    await p.send(request_of(p, b'{"contents": []}  '))
    if isinstance(play, Midway):
        line = line_of(p)
        await p.until(lambda: line._active is not None and line._active.started)
        passes = p.short and (play.events or not Route.by_job)
        assert type(line._active.call) is (Passing if passes else ClientCall)  # type: ignore[union-attr]


async def finish(p: Rig) -> None:
    """Take the answer; one more request shows what state all is in."""
    await p.got()
    await ask(p, 3)


async def same(scenario: Callable[[Rig], Awaitable[None]], **settings: Any) -> Rig:
    return await both(scenario, one, ("gemini",), OK, **settings)


async def played(begun: bytes, *rest: bytes, close: bool = False, **settings: Any) -> Rig:
    """Play a stream of which a part comes first."""

    async def scenario(p: Rig) -> None:
        play = Midway(begun, *rest, close=close)
        await begin(p, play)
        play.go.set()
        await finish(p)

    return await same(scenario, **settings)


# --- what comes ---


async def test_it_is_given_on_as_it_comes_and_no_job_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Job] = []
    resume = Job.resume

    def noted(job: Job, *given: Any, **named: Any) -> None:
        made.append(job)
        resume(job, *given, **named)

    monkeypatch.setattr(Job, "resume", noted)
    async with rig(one(), ("gemini",), OK) as p:
        play = Midway(HEAD + chunk(ONE), chunk(TWO), chunk(THREE) + chunk(ONE), END)
        await begin(p, play)
        assert p.reader is not None
        await p.reader.readuntil(b"\r\n\r\n")
        assert await p.reader.readexactly(len(chunk(ONE))) == chunk(ONE)
        play.go.set()
        rest = await p.reader.readuntil(b"\r\n" + END)
        assert rest.startswith(chunk(TWO))
        assert rest.count(b"data: ") == 3
        assert not made
        assert (await ask(p)).body == ONE + TWO
        (row,) = p.usage().values()
        assert (row["requests"], row["answered"], row["failed"], row["completion"]) == (4, 4, 0, 3 * 9 + 3)


BREAKS = {
    "whole": (HEAD + chunk(ONE), chunk(TWO) + END),
    "in many reads": (HEAD + chunk(ONE), *(chunk(each) for each in (TWO, THREE) * 20), END),
    "a chunk in parts": (HEAD + chunk(ONE), chunk(TWO)[:2], chunk(TWO)[2:9], chunk(TWO)[9:-1], chunk(TWO)[-1:] + END),
    "an event in parts": (HEAD + chunk(ONE[:7]), chunk(ONE[7:-3]), chunk(ONE[-3:-1]), chunk(ONE[-1:]), END),
    "a chunk with the end": (HEAD + chunk(ONE), chunk(TWO), chunk(THREE) + END),
    "trailers": (HEAD + chunk(ONE), b"0\r\nX-Sum: 1\r\n\r\n"),
    "extensions": (HEAD + chunk(ONE), b"%x;a=b\r\n%b\r\n" % (len(TWO), TWO) + END),
    "a length": (f"HTTP/1.1 200 OK\r\n{SSE}\r\nContent-Length: {len(ONE + TWO)}\r\n\r\n".encode() + ONE, TWO),
    "closes after": (HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + chunk(ONE), chunk(TWO) + END),
    "bytes behind it": (HEAD + chunk(ONE), chunk(TWO) + END + b"more"),
    "a bad chunk": (HEAD + chunk(ONE), chunk(TWO) + b"zz\r\n"),
    "a bad chunk, within an event": (HEAD + chunk(ONE), chunk(TWO[:-1]) + b"zz\r\n"),
    "a bad chunk, apart": (HEAD + chunk(ONE), chunk(TWO), b"zz\r\n"),
    "framing in a trailer": (HEAD + chunk(ONE), chunk(TWO) + b"0\r\nContent-Length: 1\r\n\r\n"),
    "hop by hop": (HEAD.replace(b"OK\r\n", b"OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nX-Kept: 1\r\n") + chunk(ONE), END),
    "large": (HEAD + chunk(ONE), chunk(TWO * 4000), chunk(THREE * 4000) + END),
    "no events": (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(WORDS) + WORDS[:9], WORDS[9:]),
    "no events, in chunks": (HEAD.replace(b"text/event-stream", b"application/json") + chunk(WORDS[:9]), chunk(WORDS[9:]) + END),
    "no events, and a bad chunk": (HEAD.replace(b"text/event-stream", b"application/json") + chunk(WORDS[:9]), chunk(WORDS[9:]) + b"zz"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
async def test_streams_of_every_kind(name: str) -> None:
    p = await played(*BREAKS[name])
    assert p.ways[2] == ("long" if Route.by_job else "resumed")


@pytest.mark.parametrize("last", [ONE, ONE[:-1], ONE[:-2], ONE[:9], b": a comment\n\n", b"data: {}\r\r", b"\n"])
async def test_one_that_breaks_off(last: bytes) -> None:
    """It ends with an event where one can stand, and is cut where none can."""
    p = await played(HEAD + chunk(ONE), *(chunk(each) for each in (last[:-3], last[-3:]) if each), close=True)
    got = p.answers[2]
    assert got.end == ("whole" if last in (ONE, b": a comment\n\n", b"data: {}\r\r", b"\n") else "cut")
    assert (b"error" in got.body) == (got.end == "whole")
    (row,) = p.usage().values()
    assert (row["requests"], row["failed"]) == (4, 1)


async def test_one_with_a_length_that_breaks_off_is_cut() -> None:
    begun = f"HTTP/1.1 200 OK\r\n{SSE}\r\nContent-Length: 999\r\n\r\n".encode() + ONE
    p = await played(begun, TWO, close=True)
    assert p.answers[2].end == "cut"


async def test_one_without_events_that_breaks_off_is_cut() -> None:
    p = await played(HEAD.replace(b"text/event-stream", b"application/json") + chunk(WORDS[:9]), close=True)
    assert p.answers[2].end == "cut"


async def test_a_head_of_its_own_and_no_body() -> None:
    async def scenario(p: Rig) -> None:
        async def play(peer: Peer, taken: Taken) -> None:
            head = HEAD if b"one" in taken.body else HEAD.replace(b"text/event-stream", b"application/json")
            await peer.send(head)
            await asyncio.sleep(0.005)
            await peer.send(END)

        await ask(p)
        p.stage.play(play)
        for body in (b'{"contents": ["one"]}', b"{}"):
            assert (await ask(p, body=body)).body == b""

    await same(scenario)


async def test_one_to_its_connection_s_end() -> None:
    p = await played(f"HTTP/1.0 200 OK\r\n{SSE}\r\n\r\n".encode() + ONE, TWO, close=True)
    assert p.answers[2].body == ONE + TWO


WHOLE: dict[str, bytes] = {
    "at once": OK,
    "no event": chunked(headers=(SSE,)),
    "an empty body": answer(b"", "200 OK", SSE),
    "with a length": answer(ONE, "200 OK", SSE),
    "coded": answer(b"\x1f\x8b\x08\x00", "200 OK", SSE, "Content-Encoding: gzip"),
    "as it is": answer(ONE, "200 OK", SSE, "Content-Encoding: identity"),
    "with parameters": answer(ONE, "200 OK", "Content-Type: Text/Event-Stream; charset=utf-8"),
    "a page": answer(b"<html>", "200 OK", "Content-Type: text/html"),
    "201": chunked(ONE, status="201 Created", headers=(SSE,)),
    "interim before": b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
}


@pytest.mark.parametrize("name", WHOLE)
async def test_streams_in_one_read(name: str) -> None:
    async def scenario(p: Rig) -> None:
        await begin(p, WHOLE[name])
        await finish(p)

    await same(scenario)


async def test_a_head_alone_that_nothing_follows_goes_to_another_try() -> None:
    """No byte of it is out: the request is sent again."""

    async def scenario(p: Rig) -> None:
        async def broken(peer: Peer, taken: Taken) -> None:
            await peer.send(HEAD)
            await asyncio.sleep(0.01)
            peer.writer.close()

        p.stage.play(OK)
        await ask(p)
        await ask(p, 1)
        p.stage.play(broken, OK)
        await ask(p, 2)

    p = await same(scenario)
    assert [each.status for each in p.answers] == [200] * 3
    assert len(p.upstream.requests) == 4


@pytest.mark.parametrize("stream", [OK, chunked(ONE + b": end\n\n", headers=(SSE,))], ids=["two", "one"])
async def test_split_at_every_byte(stream: bytes) -> None:
    def halves(at: int) -> Script:
        async def play(peer: Peer, taken: Taken) -> None:
            await peer.send(stream[:at])
            await asyncio.sleep(0.002)
            await peer.send(stream[at:])

        return play

    async def scenario(p: Rig) -> None:
        await ask(p)
        for at in range(1, len(stream)):
            p.stage.play(halves(at), OK)
            await ask(p)

    p = await same(scenario)
    assert len({each.body for each in p.answers[1:]}) == 1


# --- the client ---


async def test_a_client_that_leaves_takes_its_upstream_with_it() -> None:
    async def scenario(p: Rig) -> None:
        play = Midway(HEAD + chunk(ONE))
        await begin(p, play)
        assert p.writer is not None
        p.writer.transport.abort()
        await asyncio.wait_for(play.left.wait(), 20)
        p.reader = p.writer = None
        await ask(p)

    p = await same(scenario)
    (row,) = p.usage().values()
    assert (row["left"], row["requests"], row["failed"]) == (1, 4, 0)


@pytest.mark.parametrize("rest", [(chunk(TWO) + END,), (chunk(TWO), bad(500))], ids=["good", "broken"])
async def test_a_client_that_is_slow_to_read(rest: tuple[bytes, ...]) -> None:
    async def scenario(p: Rig) -> None:
        play = Midway(HEAD + chunk(ONE), *rest)
        await begin(p, play)
        line = line_of(p)
        line.pause_writing()
        play.go.set()
        await asyncio.sleep(0.02)
        line.resume_writing()
        await finish(p)

    await same(scenario)


@pytest.mark.parametrize("last", [False, True])
async def test_a_client_that_is_slow_to_read_is_told_of_in_the_midst_of_writing(last: bool) -> None:
    """As by a transport that is given more than it can send."""

    async def scenario(p: Rig) -> None:
        play = Midway(HEAD + chunk(ONE), chunk(TWO), chunk(THREE), END)
        await begin(p, play)
        line = line_of(p)
        connection = line._transport
        assert connection is not None

        class Full:
            def __getattr__(self, name: str) -> Any:
                return getattr(connection, name)

            def write(self, data: bytes) -> None:
                connection.write(data)
                if not last or END in data:
                    line.pause_writing()
                    line.resume_writing()

            def writelines(self, out: list[bytes]) -> None:
                self.write(b"".join(out))

        line._transport = Full()  # type: ignore[assignment]
        play.go.set()
        await finish(p)

    await same(scenario)


async def test_a_request_sent_ahead_waits_for_its_end() -> None:
    async def scenario(p: Rig) -> None:
        play = Midway(HEAD + chunk(ONE), chunk(TWO) + END)
        await begin(p, play)
        await p.send(request_of(p, b'{"contents": [ ]}'))
        await asyncio.sleep(0.01)
        play.go.set()
        await p.got()
        await finish(p)

    p = await same(scenario)
    assert [each.status for each in p.answers] == [200] * 5


# --- time, and changes ---


@pytest.mark.parametrize("setting", ["idle_timeout", "total_timeout"])
@pytest.mark.parametrize("begun", [ONE, ONE[:-2]], ids=["between", "within"])
async def test_silence_has_its_deadlines(setting: str, begun: bytes) -> None:
    async def scenario(p: Rig) -> None:
        play = Midway(HEAD + chunk(begun))
        await begin(p, play)
        await finish(p)
        await asyncio.wait_for(play.left.wait(), 20)

    p = await same(scenario, **{setting: 0.2})
    got = p.answers[2]
    assert got.end == ("whole" if begun == ONE else "cut")
    assert (b"within 0.2 s" in got.body) == (begun == ONE)


async def test_deadlines_count_from_the_same_moments_as_the_job_s() -> None:
    """First from when it was sent, then from when it was last read."""
    took: dict[bool, list[float]] = {True: [], False: []}

    async def scenario(p: Rig) -> None:
        play = Midway(HEAD + chunk(ONE), chunk(TWO), chunk(THREE))
        await begin(p, play)
        ticker, line = p.worker._ticker, line_of(p)
        exchange = line._active
        assert exchange is not None
        begun = ticker.now
        for step in range(1, 100):
            if step == 20:
                play.go.set()
                await p.until(lambda: read(p) > len(ONE + TWO + THREE))
            assert exchange.call is not None
            ticker.now = begun + step * 0.1
            exchange.call.tick(ticker.now)
            if exchange.ended:
                took[p.short].append(step)
                break
        await p.got()

    def read(p: Rig) -> int:
        assert p.reader is not None
        return len(p.reader._buffer)  # type: ignore[attr-defined]

    for settings in ({"idle_timeout": 3.0}, {"total_timeout": 4.0}, {"idle_timeout": 1.5}):
        await same(scenario, **settings)
    assert took[True] == took[False]
    assert len(set(took[True])) == 3


@pytest.mark.parametrize(("total", "comments"), [(4.0, 90.0), (90.0, 4.0)], ids=["all of it", "silence"])
async def test_what_a_connection_takes_counts(total: float, comments: float) -> None:
    took: list[int] = []

    async def scenario(p: Rig) -> None:
        ticker, connect = p.worker._ticker, p.worker.pool.connect

        async def slow(origin: Origin) -> UpstreamConnection:
            ticker.now += 2.5
            return await connect(origin)

        p.worker.pool.connect = slow  # type: ignore[method-assign]
        play = Midway(HEAD, chunk(ONE) + END)
        p.stage.play(play, OK)
        began = ticker.now
        await p.send(request_of(p, b"{}"))
        await p.until(lambda: bool(p.upstream.requests))
        exchange = line_of(p)._active
        assert exchange is not None
        await p.until(lambda: type(exchange.call) is Passing or not p.short)
        for step in range(1, 40):
            ticker.now = began + 2.5 + step * 0.1
            assert exchange.call is not None
            exchange.call.tick(ticker.now)
            if exchange.started:
                took.append(step)
                break
        play.go.set()
        await p.got()

    await same(scenario, total_timeout=total, keepalive_seconds=comments)
    assert len(took) == 2
    assert took[0] == took[1] < 20


@pytest.mark.parametrize("begun", [ONE, ONE[:-2]], ids=["between", "within"])
async def test_comments_keep_a_silent_stream_alive(begun: bytes) -> None:
    async def scenario(p: Rig) -> None:
        play = Midway(HEAD + chunk(begun), chunk(ONE[len(begun) :] + TWO) + END)
        await begin(p, play)
        exchange = line_of(p)._active
        assert exchange is not None
        assert exchange.call is not None
        ticker = p.worker._ticker
        begun_at = ticker.now
        for step in range(1, 31):
            ticker.now = begun_at + step * 0.1
            exchange.call.tick(ticker.now)
        play.go.set()
        await finish(p)

    p = await same(scenario, keepalive_seconds=2.0)
    assert p.answers[2].body == ONE + (b": keep-alive\n\n" if begun == ONE else b"") + TWO


async def test_a_sweep_before_the_first_byte_changes_nothing() -> None:
    async def scenario(p: Rig) -> None:
        await ask(p)
        await ask(p, 1)
        go = asyncio.Event()

        async def play(peer: Peer, taken: Taken) -> None:
            await go.wait()
            await peer.send(HEAD + chunk(ONE))

        p.stage.play(play)
        await p.send(request_of(p, b"{}"))
        await p.until(lambda: len(p.upstream.requests) == 3)
        line, ticker = line_of(p), p.worker._ticker
        line.tick(ticker.now)
        line.tick(ticker.now + 0.5)
        go.set()
        exchange = line._active
        assert exchange is not None
        await p.until(lambda: exchange.started)
        assert type(exchange.call) is (Passing if p.short else ClientCall)
        p.stage.play(OK)
        line.tick(ticker.now + 5000)
        assert (await p.got()).body.startswith(ONE + b"data: ")
        await ask(p, 2)

    await same(scenario)


async def test_other_settings_midway() -> None:
    async def scenario(p: Rig) -> None:
        play = Midway(HEAD + chunk(ONE), chunk(TWO) + END)
        await begin(p, play)
        p.apply(proxy={"keepalive_seconds": 3.0})
        play.go.set()
        await finish(p)

    await same(scenario)


async def test_an_account_that_is_removed_midway() -> None:
    async def scenario(p: Rig) -> None:
        play = Midway(HEAD + chunk(ONE), chunk(TWO), close=True)
        await begin(p, play)
        p.daemon.remove(NAME)
        await asyncio.sleep(0.01)
        play.go.set()
        await finish(p)

    p = await same(scenario)
    assert [each.status for each in p.answers] == [200, 200, 200, 503]


async def test_usage_that_is_not_counted() -> None:
    for rest in ((chunk(TWO) + END,), (b"zz",)):
        p = await played(HEAD + chunk(ONE), *rest, tables={"usage": UsageConfig(enabled=False)})
        assert not p.usage()


# --- faults of our own ---


@pytest.mark.parametrize("short", [True, False])
async def test_a_fault_midway_lets_go_of_all(short: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("planted")

    async with rig(one(), ("gemini",), OK, short=short) as p:
        play = Midway(HEAD + chunk(ONE))
        await begin(p, play)
        with monkeypatch.context() as planted:
            planted.setattr(Deadlines, "overtime", fail)
            line_of(p).tick(p.worker._ticker.now)
        got = await p.got()
        assert (got.status, got.end) == (200, "cut")
        await asyncio.wait_for(play.left.wait(), 20)
        assert not p.gateway.shop.counts.busy
        (row,) = p.usage().values()
        assert (row["requests"], row["failed"]) == (3, 1)
        assert (await ask(p)).status == 200


@pytest.mark.parametrize("begun", [HEAD + chunk(ONE), HEAD], ids=["begun", "not begun"])
async def test_a_fault_in_making_the_job_too(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("planted")

    async with rig(one(), ("gemini",), OK) as p:
        p.stage.play(OK)
        await ask(p)
        await ask(p, 1)
        play = Midway(begun)
        p.stage.play(play, OK)
        await p.send(request_of(p, b"{}"))
        await p.until(lambda: type(line_of(p)._active and line_of(p)._active.call) is Passing)  # type: ignore[union-attr]
        with monkeypatch.context() as planted:
            planted.setattr(Deadlines, "overtime", fail)
            planted.setattr(Trail, "work", fail)
            line_of(p).tick(p.worker._ticker.now)
        got = await p.got()
        assert (got.status, got.end) == ((200, "cut") if begun != HEAD else (500, "whole"))
        await asyncio.wait_for(play.left.wait(), 20)
        assert not p.gateway.shop.counts.busy
        assert (await ask(p)).status == 200


async def test_nothing_of_it_stays() -> None:
    async with rig(one(), ("gemini",), OK) as p:
        await ask(p)
        await ask(p, 1)
        gc.collect()
        gc.disable()
        try:
            for rest, end in (((chunk(TWO) + END,), "whole"), ((b"zz",), "whole")):
                play = Midway(HEAD + chunk(ONE), *rest)
                await begin(p, play)
                play.go.set()
                assert (await p.got()).end == end
                del play
            assert (await ask(p)).status == 200
            kept = [each for each in gc.get_objects() if isinstance(each, Passing | Job | ClientCall | Counting)]
            assert not kept
        finally:
            gc.enable()
