"""What happens while a request is under way the short way: its upstream has it, and nothing of the answer is here."""

import asyncio
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.config import RequestLogConfig
from broker.model.secret import Secret
from broker.proxy.call import ClientCall
from broker.proxy.job import Job
from broker.proxy.wire.server import ServerConnection
from broker.proxy.works import GeminiWork
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.two_ways import Got, Held, Rig, both, rig
from tests.fakes.upstream import Peer, RawUpstream, Script, Taken, answer, chunked
from tests.fakes.vendor_words import event_of, response_of, whole_of
from tests.proxy.test_job import JSON, SSE, bad, event, gemini

TARGET = "/v1beta/models/gemini-2.5-flash:generateContent"
NAME = "gemini-api/one"
OK = answer(json.dumps(gemini("Hello")).encode(), "200 OK", JSON)


def one() -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(account(NAME, lease(NAME, "fake-key-1")))
    return daemon


def renewing() -> FakeDaemon:
    daemon = one()
    daemon.renew = lambda name: lease(name, "fake-key-2", 2)
    return daemon


async def ask(p: Rig, text: str = "hi") -> Got:
    return await p.ask(TARGET, json.dumps({"contents": [{"parts": [{"text": text}]}]}).encode())


async def begin(p: Rig, play: Script) -> None:
    """Prime the connection, and send the request that `play` is for; where it is held, wait until the upstream has it."""
    p.stage.play(OK)
    await ask(p)
    await ask(p, "again")
    p.stage.play(play, OK)
    body = b'{"contents": []}'
    await p.send(p.request(TARGET, body))
    if isinstance(play, Held):
        await play.asked.wait()
    if p.short:
        await p.until(lambda: p.front.opened == ["ClientCall", "Shortcut", "Shortcut"])


async def finish(p: Rig) -> None:
    """Take the answer; one more request shows what state all is in."""
    await p.got()
    await ask(p, "after")


async def same(scenario: Callable[[Rig], Any], daemon: Callable[[], FakeDaemon] = one, **settings: Any) -> Rig:
    return await both(scenario, daemon, ("gemini",), OK, **settings)


async def changed_midway(
    change: Callable[[Rig], object], daemon: Callable[[], FakeDaemon] = one, reply: bytes = OK, **settings: Any
) -> Rig:
    async def scenario(p: Rig) -> None:
        held = Held(reply)
        await begin(p, held)
        change(p)
        await asyncio.sleep(0.01)
        held.go.set()
        await finish(p)

    return await same(scenario, daemon, **settings)


# --- changes ---


async def test_nothing() -> None:
    p = await changed_midway(lambda _: None)
    assert [each.status for each in p.answers] == [200] * 4


async def test_other_settings() -> None:
    async with RawUpstream([OK]) as other:
        told: list[int] = []

        def change(p: Rig) -> None:
            p.apply(url=other.url, proxy={"api_keys": (Secret("another"),)})
            told.append(1)

        p = await changed_midway(change)
        assert [each.status for each in p.answers] == [200, 200, 200, 401]
        assert not other.requests


@pytest.mark.parametrize("reply", [OK, bad(401), bad(429), bad(500)], ids=["good", "401", "429", "500"])
@pytest.mark.parametrize("what", ["renewed", "paused", "removed", "joined", "away"])
async def test_what_the_daemon_says(what: str, reply: bytes) -> None:
    def change(p: Rig) -> None:
        match what:
            case "renewed":
                p.daemon.put(account(NAME, lease(NAME, "fake-key-3", 3)))
            case "paused":
                p.daemon.put(account(NAME, lease(NAME, "fake-key-1"), paused=True))
            case "removed":
                p.daemon.remove(NAME)
            case "joined":
                p.daemon.put(account("gemini-api/two", lease("gemini-api/two", "fake-key-two")))
            case _:
                p.daemon.stop()

    p = await changed_midway(change, renewing, reply)
    sent = [each.header("x-goog-api-key") for each in p.upstream.requests]
    assert sent[:3] == ["fake-key-1"] * 3
    if what == "renewed":
        assert sent[-1] == "fake-key-3"
        assert "fake-key-2" not in sent


async def test_a_request_log_switched_on_meanwhile(tmp_path: Path) -> None:
    def change(p: Rig) -> None:
        # Each its own: they give their requests the same ids.
        p.apply(request_log=RequestLogConfig(enabled=True, directory=str(tmp_path / ("short" if p.short else "long"))))

    p = await changed_midway(change)
    assert p.ways[-1] == "long"


async def test_a_worker_that_stops_lets_it_end() -> None:
    async def scenario(p: Rig) -> None:
        held = Held(OK)
        await begin(p, held)
        stopping = asyncio.ensure_future(p.worker.stop(20))
        await asyncio.sleep(0.01)
        held.go.set()
        got = await p.got()
        assert b"connection: close" in got.head
        await stopping

    await same(scenario)


# --- the client ---


async def test_a_client_that_leaves_takes_its_upstream_with_it() -> None:
    async def scenario(p: Rig) -> None:
        held = Held(OK)
        await begin(p, held)
        assert p.writer is not None
        p.writer.transport.abort()
        await asyncio.wait_for(held.left.wait(), 20)
        p.reader = p.writer = None
        await ask(p, "after")

    p = await same(scenario)
    (row,) = p.usage().values()
    assert (row["left"], row["requests"], row["failed"]) == (1, 4, 0)


async def test_a_client_that_has_not_read_the_last_answer() -> None:
    async def scenario(p: Rig) -> None:
        await begin(p, OK)
        await p.got()
        (line,) = p.worker._listener.connections
        line.pause_writing()
        p.stage.play(OK)
        await p.send(p.request(TARGET, b'{"contents":  []}'))
        await p.until(lambda: len(p.upstream.requests) == 4)
        await asyncio.sleep(0.01)
        line.resume_writing()
        await p.got()
        assert p.ways[-1] == "long"

    await same(scenario)


async def test_a_client_that_is_blocked_before_the_answer() -> None:
    async def scenario(p: Rig) -> None:
        held = Held(OK)
        await begin(p, held)
        (line,) = p.worker._listener.connections
        line.pause_writing()
        held.go.set()
        await asyncio.sleep(0.02)
        line.resume_writing()
        await finish(p)

    await same(scenario)


async def test_an_answer_that_is_read_slowly_is_in_nobody_s_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its upstream has said all: nothing is made of the request again, and nothing of it stays."""
    async with rig(one(), ("gemini",), OK) as p:
        await ask(p)
        await ask(p, "again")
        send = ServerConnection.send

        def full(line: ServerConnection, out: list[bytes]) -> None:
            send(line, out)
            exchange = line._active
            line.pause_writing()  # as a transport does that is given more than it can send
            line.resume_writing()
            if exchange is not None and exchange.call is not None:
                exchange.call.tick(p.worker._ticker.now)

        gc.collect()
        gc.disable()
        try:
            monkeypatch.setattr(ServerConnection, "send", full)
            assert (await ask(p, "third")).status == 200
            assert not [each for each in gc.get_objects() if isinstance(each, Job | ClientCall | GeminiWork)]
        finally:
            gc.enable()
        assert p.ways[-1] == "short"


# --- time ---


@pytest.mark.parametrize("setting", ["headers_timeout", "first_byte_timeout", "total_timeout"])
async def test_silence_has_its_deadlines(setting: str) -> None:
    async def scenario(p: Rig) -> None:
        await begin(p, Held(OK))
        got = await p.got()
        assert got.status == 504
        assert b"within 0.2 s" in got.body
        await ask(p, "after")

    await same(scenario, **{setting: 0.2})


async def test_no_deadline_is_later_than_the_long_way_s() -> None:
    """It counts from when the request was sent, not from when its deadlines are first looked at."""
    took: dict[bool, float] = {}

    async def scenario(p: Rig) -> None:
        held = Held(OK)
        await begin(p, held)
        ticker = p.worker._ticker
        (line,) = p.worker._listener.connections
        exchange = line._active
        assert exchange is not None
        begun = ticker.now
        for step in range(1, 100):
            assert exchange.call is not None
            ticker.now = begun + step * 0.1
            exchange.call.tick(ticker.now)
            if exchange.ended:
                took[p.short] = step * 0.1
                break
        await p.got()

    await same(scenario, total_timeout=5.0)
    assert took[True] == took[False]


async def test_comments_keep_a_stream_alive_no_later_than_on_the_long_way() -> None:
    took: dict[bool, float] = {}

    async def scenario(p: Rig) -> None:
        held = Held(chunked(event("one"), headers=(SSE,)))
        target = TARGET.replace("generateContent", "streamGenerateContent?alt=sse")
        p.stage.play(chunked(event("zero"), headers=(SSE,)))
        for _ in range(2):
            await p.ask(target, b"{}")
        p.stage.play(held)
        await p.send(p.request(target, b"{}"))
        await held.asked.wait()
        ticker = p.worker._ticker
        (line,) = p.worker._listener.connections
        exchange = line._active
        assert exchange is not None
        begun = ticker.now
        for step in range(1, 100):
            assert exchange.call is not None
            ticker.now = begun + step * 0.1
            exchange.call.tick(ticker.now)
            if exchange.started:
                took[p.short] = step * 0.1
                break
        held.go.set()
        got = await p.got()
        assert got.body == b": keep-alive\n\n" + event("one")
        if p.short:
            assert p.ways[-1] == "resumed"

    await same(scenario, keepalive_seconds=2.0)
    assert took[True] == took[False]


# --- answers ---


def slow(*parts: bytes, close: bool = False) -> Script:
    async def play(peer: Peer, taken: Taken) -> None:
        for part in parts:
            await peer.send(part)
            await asyncio.sleep(0.002)
        if close:
            peer.writer.close()

    return play


async def whole_upstream(peer: Peer, taken: Taken) -> None:
    await peer.send(OK.replace(b"Content-Length", b"Connection: close\r\nContent-Length"))
    peer.writer.close()


async def until_close(peer: Peer, taken: Taken) -> None:
    await peer.send(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + b'{"candidates": []}')
    peer.writer.close()


ZIPPED = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00C\xbf\xa6\xa3\x02\x00\x00\x00"
TRAILERS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
FAILED = b'data: {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}\n\n'
ANSWERS: dict[str, Script] = {
    "chunked": chunked(b'{"candi', b'dates": []}', headers=(JSON,)),
    "chunked in many": chunked(*(b"%d" % digit for digit in range(200)), headers=(JSON,)),
    "trailers": TRAILERS,
    "framing in a trailer": TRAILERS.replace(b"X-Sum", b"Content-Length"),
    "interim": EARLY + OK,
    "interim, apart": slow(EARLY, OK),
    "interim, often": slow(EARLY, EARLY, EARLY + OK[:30], OK[30:]),
    "100": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "empty": answer(b""),
    "empty, chunked": chunked(headers=(JSON,)),
    "204": b"HTTP/1.1 204 No Content\r\nX-Kept: yes\r\n\r\n",
    "201": answer(b"{}", "201 Created", JSON),
    "206": answer(b"{}", "206 Partial Content", JSON),
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "closes after": whole_upstream,
    "to its close": until_close,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.0, kept": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
    "coded": answer(ZIPPED, "200 OK", JSON, "Content-Encoding: gzip"),
    "coded events": answer(ZIPPED, "200 OK", SSE, "Content-Encoding: gzip"),
    "text": answer(b"{}", "200 OK", "Content-Type: text/plain"),
    "a page": answer(b"<html>", "200 OK", "Content-Type: Text/HTML; charset=utf-8"),
    "no type": answer(b"{}"),
    "events": chunked(event("one"), event("two"), headers=(SSE,)),
    "a failure as an event": chunked(FAILED, headers=(SSE,)),
    "bytes behind it": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
    "bytes behind it, no HTTP": OK + b"more",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n",
    "a folded header": answer(b"{}", "200 OK", JSON, "X-Odd: one\r\n two"),
    "a tab in a header": answer(b"{}", "200 OK", JSON, "X-Odd: one\ttwo"),
    "Latin in a header": b"HTTP/1.1 200 OK\r\nX-Odd: caf\xe9\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX-Odd: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "CR in a header": b"HTTP/1.1 200 OK\r\nX-Odd: a\rb\r\nContent-Length: 2\r\n\r\n{}",
    "many headers": answer(b"{}", "200 OK", *(f"X-{number}: {number}" for number in range(200))),
    "too many headers": answer(b"{}", "200 OK", *(f"X-{number}: {number}" for number in range(300))),
    "hop by hop": answer(b"{}", "200 OK", "Connection: X-Mine, keep-alive", "X-Mine: 1", "Set-Cookie: a=b", "X-Kept: 1"),
    "limits": answer(b"{}", "200 OK", JSON, "x-ratelimit-limit-requests: 60", "x-ratelimit-remaining-requests: 59"),
    "large": answer(b'{"candidates": []}' + b" " * 300_000, "200 OK", JSON),
    "only a part, then the end": slow(OK[:-5], close=True),
    "only a chunk, then the end": slow(chunked(b"{}")[:-7], close=True),
    "part of a head, then the end": slow(OK[:20], close=True),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
async def test_answers_of_every_kind(name: str) -> None:
    async def scenario(p: Rig) -> None:
        await begin(p, ANSWERS[name])
        await finish(p)

    await same(scenario)


def refusing(*before: str, kind: str = "server_error") -> bytes:
    """A stream of Responses that is refused once it was begun."""
    told = [event_of("response.created", {"type": "response.created", "response": response_of("", "in_progress")})]
    failed = response_of("", "failed") | {"error": {"code": kind, "message": "Overloaded"}}
    last = event_of("response.failed", {"type": "response.failed", "sequence_number": 1, "response": failed})
    return chunked(*told, *(each.encode() for each in before), last, b": the end\n\n", headers=(SSE,))


@pytest.mark.parametrize("kind", ["server_error", "rate_limit_exceeded", "invalid_prompt"])
@pytest.mark.parametrize("times", [1, 9])
async def test_a_refusal_in_a_stream_nobody_asked_for(kind: str, times: int) -> None:
    """The account is asked again, over a new connection, with nothing left of what the first attempt brought."""
    body = b'{"model": "gpt-4o", "input": "hi"}'
    good = answer(whole_of("/responses", "Hello"), "200 OK", JSON)

    def daemon() -> FakeDaemon:
        made = FakeDaemon()
        made.put(account("openai-api/key", lease("openai-api/key", "fake-key-1")))
        return made

    async def scenario(p: Rig) -> None:
        await p.ask("/v1/responses", body)
        await p.ask("/v1/responses", body)
        p.stage.play(*[refusing(kind=kind)] * times, bad(418, "a teapot"), good)
        for _ in range(3):
            await p.ask("/v1/responses", body)
        if p.short:
            assert p.front.opened[2] == "Shortcut"

    await both(scenario, daemon, ("openai",), good)


SPLIT = (
    b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}',
    chunked(b'{"a"', b":1}"),
    b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b'HTTP/1.1 429 No\r\nContent-Length: 30\r\nRetry-After: 0\r\n\r\n{"error":{"code":429,"a":"b"}}',
)


@pytest.mark.parametrize("reply", SPLIT, ids=["length", "chunked", "interim", "refused"])
async def test_answers_split_at_every_byte(reply: bytes) -> None:
    async def scenario(p: Rig) -> None:
        await begin(p, OK)
        await p.got()
        for at in range(1, len(reply)):
            p.stage.play(slow(reply[:at], reply[at:]), OK)
            await ask(p)
        if p.short:
            assert p.front.opened.count("Shortcut") == len(p.front.opened) - 1

    p = await same(scenario)
    assert len(p.answers) == len(reply) + 2
