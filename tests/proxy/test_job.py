"""A request's way through a whole worker, against upstreams that misbehave byte by byte."""

import asyncio
import contextlib
import json

import pytest

from broker.config import UpstreamConfig
from broker.ipc.schema import Cooldown, Lease
from broker.system import SystemClock
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import Peer, RawUpstream, Script, Taken, answer, chunked
from tests.proxy.conftest import MakeProxy, dechunk, events, parse

JSON = "Content-Type: application/json"
SSE = "Content-Type: text/event-stream"


def gemini(text: str) -> dict[str, object]:
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}]}


def good(text: str = "Hello") -> bytes:
    return answer(json.dumps(gemini(text)).encode(), "200 OK", JSON)


def bad(code: int, word: str = "", *headers: str, **error: object) -> bytes:
    body = json.dumps({"error": {"code": code, "message": word or f"upstream says {code}", **error}}).encode()
    return answer(body, f"{code} Bad", JSON, *headers)


def event(text: str) -> bytes:
    return b"data: " + json.dumps(gemini(text)).encode() + b"\r\n\r\n"


def stream(*texts: str) -> bytes:
    return chunked(*(event(text) for text in texts), headers=(SSE,))


def two_keys() -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(
        account("gemini-api/one", lease("gemini-api/one", "fake-key-1"), default=True),
        account("gemini-api/two", lease("gemini-api/two", "fake-key-2")),
    )
    return daemon


def one_key(**fields: object) -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(account("gemini-api/one", lease("gemini-api/one", "fake-key-1", **fields)))
    return daemon


def keys(upstream: RawUpstream) -> list[str | None]:
    return [request.header("x-goog-api-key") for request in upstream.requests]


async def settled(daemon: FakeDaemon, number: int) -> None:
    while len(daemon.reports) < number:
        await asyncio.sleep(0.005)


async def test_untouched_bytes_both_ways_over_one_upstream_connection(proxy: MakeProxy) -> None:
    sent = b'{ "contents":[ ],\n"x":1e0,"name":"\xc3\xa9" }'
    back = b'{"candidates" : [], "y":1.0}\n'
    reply = answer(
        back,
        "200 OK",
        "Content-Type: application/json; charset=UTF-8",
        "X-Extra: kept",
        "Server: ESF",
        "Set-Cookie: a=b",
    )
    async with RawUpstream([reply]) as upstream, proxy(one_key(), upstream.url) as p:
        for _ in range(5):
            got = await p.ask(
                "POST", "/v1beta/models/gemini-2.5-pro:generateContent?key=a-test-key&x=%20", sent, authorization=""
            )
            assert got.status == 200
            assert got.body == back
            assert got.headers["content-type"] == "application/json; charset=UTF-8"
            assert got.headers["x-extra"] == "kept"
            assert got.headers["x-request-id"]
            assert not {"server", "set-cookie"} & set(got.headers)
        taken = upstream.requests[0]
        assert taken.line == "POST /v1beta/models/gemini-2.5-pro:generateContent?x=%20 HTTP/1.1"
        assert taken.body == sent
        assert taken.header("host") == f"127.0.0.1:{upstream.port}"
        assert keys(upstream) == ["fake-key-1"] * 5
        assert upstream.connections == 1, "connections to upstreams must be reused"
        assert p.worker.pool.opened == 1


async def test_an_untouched_stream_comes_as_it_is_made(proxy: MakeProxy) -> None:
    go = asyncio.Event()

    async def slow(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.send(b"%x\r\n%b\r\n" % (len(event("one")), event("one")))
        await go.wait()
        await peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event("two")), event("two")))

    async with RawUpstream([slow]) as upstream, proxy(one_key(), upstream.url) as p:
        reader, writer = await p.dial()
        writer.write(
            p.request("POST", "/v1/models/gemini-2.5-pro:streamGenerateContent?alt=sse", b"{}", connection="close")
        )
        first = await reader.readuntil(b"\r\n\r\n\r\n")
        assert b"one" in first
        go.set()
        whole = parse(first + await reader.read())
        assert whole.body == event("one") + event("two")


async def test_401_is_reported_renewed_and_replayed_without_the_client_noticing(proxy: MakeProxy) -> None:
    daemon = one_key()
    daemon.renew = lambda name: lease(name, "fake-key-new", 2)
    async with RawUpstream([bad(401), good()]) as upstream, proxy(daemon, upstream.url) as p:
        got = await p.chat()
        assert got.status == 200
        assert keys(upstream) == ["fake-key-1", "fake-key-new"]
        assert [(report.outcome, report.generation) for report in daemon.reports] == [("rejected", 1)]
        await p.chat()
        assert keys(upstream)[-1] == "fake-key-new"


async def test_a_lease_renewed_meanwhile_is_used_without_a_report(proxy: MakeProxy) -> None:
    daemon = one_key()

    async def renewed_meanwhile(peer: Peer, taken: Taken) -> None:
        daemon.put(account("gemini-api/one", lease("gemini-api/one", "fake-key-new", 2)))
        await asyncio.sleep(0.02)
        await peer.send(bad(401))

    async with RawUpstream([renewed_meanwhile, good()]) as upstream, proxy(daemon, upstream.url) as p:
        assert (await p.chat()).status == 200
        assert keys(upstream) == ["fake-key-1", "fake-key-new"]
        assert not daemon.reports


async def test_401_without_a_better_token_moves_on_and_then_says_why(proxy: MakeProxy) -> None:
    async with RawUpstream([bad(401)]) as upstream, proxy(two_keys(), upstream.url) as p:
        got = await p.chat()
        assert got.status == 503
        assert "gemini-api/one: the provider rejects its token" in got.json()["error"]["message"]
        assert keys(upstream) == ["fake-key-1", "fake-key-2"]


async def test_429_cools_the_account_for_that_model_and_moves_on(proxy: MakeProxy) -> None:
    daemon = two_keys()
    limited = bad(429, details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}])
    async with RawUpstream([limited, good()]) as upstream, proxy(daemon, upstream.url) as p:
        assert (await p.chat()).status == 200
        assert (await p.chat()).status == 200
        assert (await p.chat(model="gemini-2.5-pro")).status == 200
        assert keys(upstream) == ["fake-key-1", "fake-key-2", "fake-key-2", "fake-key-1"]
        await settled(daemon, 1)
        report = daemon.reports[0]
        assert (report.outcome, report.account, report.model) == ("limited", "gemini-api/one", "gemini-2.5-flash")


@pytest.mark.parametrize("target", ["openai", "gemini"])
async def test_all_cooling_is_429_with_the_time_to_wait(proxy: MakeProxy, target: str) -> None:
    limited = bad(429, "slow down", "Retry-After: 18000000")
    async with RawUpstream([limited]) as upstream, proxy(two_keys(), upstream.url) as p:
        for _ in range(2):
            if target == "openai":
                got = await p.chat()
                assert got.json()["error"]["type"] == "rate_limit_error"
            else:
                got = await p.ask("POST", "/v1/models/gemini-2.5-flash:generateContent", {"contents": []})
                assert got.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
            assert got.status == 429
            assert 3590 <= int(got.headers["retry-after"]) <= 3600
        assert len(upstream.requests) == 2


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_the_request_s_own_fault_goes_straight_back(proxy: MakeProxy, status: int) -> None:
    daemon = two_keys()
    raw = bad(
        status,
        "contents: must not be empty",
        "X-Kept: yes",
        status="INVALID_ARGUMENT",
        details=[{"@type": "x", "odd": 1}],
    )
    async with RawUpstream([raw]) as upstream, proxy(daemon, upstream.url) as p:
        got = await p.chat()
        assert (got.status, got.json()["error"]["message"]) == (status, "contents: must not be empty")
        untouched = await p.ask("POST", "/v1/models/gemini-2.5-flash:generateContent", {"contents": []})
        assert untouched.status == status
        assert raw.endswith(untouched.body)
        assert untouched.headers["x-kept"] == "yes"
        assert len(upstream.requests) == 2
        assert not daemon.reports


async def test_5xx_moves_on_and_nobody_cools(proxy: MakeProxy) -> None:
    daemon = two_keys()
    async with (
        RawUpstream([bad(503), good(), bad(500), bad(500), good()]) as upstream,
        proxy(daemon, upstream.url) as p,
    ):
        assert (await p.chat()).status == 200
        assert (await p.chat()).status == 200
        assert keys(upstream) == ["fake-key-1", "fake-key-2", "fake-key-1", "fake-key-2", "fake-key-1"]
        assert not daemon.reports


async def test_the_last_error_of_the_upstream_is_told(proxy: MakeProxy) -> None:
    async with RawUpstream([bad(503, "overloaded", "Retry-After: 3")]) as upstream, proxy(one_key(), upstream.url) as p:
        got = await p.chat()
        assert (got.status, got.json()["error"]["message"]) == (503, "overloaded")
        assert got.headers["retry-after"] == "3"
        assert len(upstream.requests) == 3


async def test_redirects_are_not_followed(proxy: MakeProxy) -> None:
    async with (
        RawUpstream([answer(b"", "302 Found", "Location: http://evil.example/")]) as upstream,
        proxy(one_key(), upstream.url) as p,
    ):
        got = await p.chat()
        assert got.status == 502
        assert "location" not in got.headers


async def test_an_upstream_that_is_not_there(proxy: MakeProxy) -> None:
    async with proxy(one_key(), "http://127.0.0.1:1") as p:
        got = await p.chat()
        assert got.status == 502
        assert "cannot connect to 127.0.0.1:1" in got.json()["error"]["message"]


async def test_a_kept_connection_that_died_is_replaced_without_counting(proxy: MakeProxy) -> None:
    async def die(peer: Peer, taken: Taken) -> None:
        peer.cut()

    async with RawUpstream([good(), die, good("again")]) as upstream, proxy(one_key(), upstream.url) as p:
        await p.chat()
        got = await p.chat()
        assert got.json()["choices"][0]["message"]["content"] == "again"
        assert upstream.connections == 2


async def test_an_answer_that_breaks_before_its_first_byte_goes_to_another_account(proxy: MakeProxy) -> None:
    async def head_only(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.writer.close()

    failing = b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\n\n'
    script: list[Script] = [head_only, chunked(failing, headers=(SSE,)), stream("fine")]
    async with RawUpstream(script) as upstream, proxy(two_keys(), upstream.url) as p:
        got = await p.chat(stream=True)
        assert got.status == 200
        assert json.loads(events(got.body)[0])["choices"][0]["delta"]["content"] == "fine"
        assert keys(upstream) == ["fake-key-1", "fake-key-2", "fake-key-1"]


async def test_a_whole_answer_cut_half_way_goes_to_another_account(proxy: MakeProxy) -> None:
    async def half(peer: Peer, taken: Taken) -> None:
        await peer.send(good()[:-20])
        peer.writer.close()

    async with RawUpstream([half, good()]) as upstream, proxy(two_keys(), upstream.url) as p:
        assert (await p.chat()).status == 200
        assert len(upstream.requests) == 2


async def cut_after_one(peer: Peer, taken: Taken) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    await peer.send(b"%x\r\n%b\r\n" % (len(event("one")), event("one")))
    await asyncio.sleep(0.02)
    peer.writer.close()


async def test_a_stream_that_breaks_ends_with_an_error_in_the_client_s_dialect(proxy: MakeProxy) -> None:
    async with RawUpstream([cut_after_one]) as upstream, proxy(two_keys(), upstream.url) as p:
        got = await p.chat(stream=True)
        last = json.loads(events(got.body)[-1])
        assert "middle of its answer" in last["error"]["message"]
        assert "[DONE]" not in got.body.decode()
        got = await p.ask("POST", "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse", {})
        last = json.loads(got.body.rsplit(b"data: ", 1)[1])
        assert (last["error"]["code"], last["error"]["status"]) == (502, "INTERNAL")
        assert len(upstream.requests) == 2


async def test_an_error_event_of_the_upstream_ends_a_translated_stream(proxy: MakeProxy) -> None:
    gone = asyncio.Event()

    async def talk_on(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for data in (event("one"), b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\n\n'):
            await peer.send(b"%x\r\n%b\r\n" % (len(data), data))
            await asyncio.sleep(0.02)
        await peer.gone()
        gone.set()

    async with RawUpstream([talk_on]) as upstream, proxy(two_keys(), upstream.url) as p:
        got = await p.chat(stream=True)
        assert json.loads(events(got.body)[-1])["error"]["message"] == "busy"
        await asyncio.wait_for(gone.wait(), 1)


async def test_an_untouched_answer_with_a_length_is_cut_when_it_breaks(proxy: MakeProxy) -> None:
    async def half(peer: Peer, taken: Taken) -> None:
        await peer.send(good()[:-20])
        await asyncio.sleep(0.02)
        peer.writer.close()

    async with RawUpstream([half]) as upstream, proxy(one_key(), upstream.url) as p:
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/models/gemini-2.5-flash:generateContent", b"{}"))
        got = parse(await reader.read())
        assert int(got.headers["content-length"]) == len(got.body) + 20
        assert len(upstream.requests) == 1


async def hang(peer: Peer, taken: Taken) -> None:
    await peer.gone()


async def head_only(peer: Peer, taken: Taken) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    await peer.gone()


@pytest.mark.parametrize(
    ("script", "setting", "told"),
    [
        (hang, "headers_timeout", "begin its answer"),
        (head_only, "first_byte_timeout", "send the first byte of its answer"),
    ],
)
async def test_heads_and_first_bytes_have_deadlines(proxy: MakeProxy, script: Script, setting: str, told: str) -> None:
    async with RawUpstream([script]) as upstream, proxy(one_key(), upstream.url, **{setting: 0.1}) as p:
        got = await p.chat()
        assert got.status == 504
        assert f"did not {told} within 0.1 s" in got.json()["error"]["message"]
        assert len(upstream.requests) == 1
        while p.worker.pool.open:
            await asyncio.sleep(0.01)


async def test_the_whole_has_a_deadline_before_there_is_an_answer(proxy: MakeProxy) -> None:
    async with RawUpstream([hang]) as upstream, proxy(two_keys(), upstream.url, total_timeout=0.2) as p:
        got = await p.chat()
        assert got.status == 504
        assert got.json()["error"]["message"] == "the request was not answered within 0.2 s"
        assert len(upstream.requests) == 1, "an account more would take longer still"
        while p.worker.pool.open:
            await asyncio.sleep(0.01)


async def test_the_whole_has_a_deadline_within_an_answer(proxy: MakeProxy) -> None:
    async def trickle(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                await peer.send(b"%x\r\n%b\r\n" % (len(event("one")), event("one")))
                await asyncio.sleep(0.02)

    async with RawUpstream([trickle]) as upstream, proxy(one_key(), upstream.url, total_timeout=0.3) as p:
        got = await p.chat(stream=True)
        told = [json.loads(each) for each in events(got.body)]
        assert told[-1]["error"]["message"] == "the request was not answered within 0.3 s"
        assert len(told) > 2
        while p.worker.pool.open:
            await asyncio.sleep(0.01)


async def test_silence_has_a_deadline(proxy: MakeProxy) -> None:
    async def go_silent(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.send(b"%x\r\n%b\r\n" % (len(event("one")), event("one")))
        await peer.gone()

    async with RawUpstream([go_silent]) as upstream, proxy(one_key(), upstream.url, idle_timeout=0.1) as p:
        got = await p.chat(stream=True)
        assert "did not go on with its answer within 0.1 s" in json.loads(events(got.body)[-1])["error"]["message"]


async def test_waiting_streams_are_kept_alive_and_may_still_move_on(proxy: MakeProxy) -> None:
    async def slow_and_bad(peer: Peer, taken: Taken) -> None:
        await asyncio.sleep(0.3)
        await peer.send(bad(503))

    async def slow(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for text in ("one", "two"):
            await asyncio.sleep(0.25)
            await peer.send(b"%x\r\n%b\r\n" % (len(event(text)), event(text)))
        await peer.send(b"0\r\n\r\n")

    async with (
        RawUpstream([slow_and_bad, slow]) as upstream,
        proxy(two_keys(), upstream.url, keepalive_seconds=0.1) as p,
    ):
        for target in ("/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse", ""):
            upstream.requests.clear()
            got = await p.ask("POST", target, {}) if target else await p.chat(stream=True)
            assert got.status == 200
            assert got.headers["content-type"] == "text/event-stream"
            text = got.body.decode()
            assert text.startswith(": keep-alive\n\n")
            assert ": keep-alive\n\n" in text[text.index("one") : text.index("two")]
            assert len(upstream.requests) == 2


async def test_a_failure_after_a_comment_is_told_in_the_stream(proxy: MakeProxy) -> None:
    async def slow_and_bad(peer: Peer, taken: Taken) -> None:
        await asyncio.sleep(0.25)
        await peer.send(bad(400, "no such thing"))

    async with RawUpstream([slow_and_bad]) as upstream, proxy(one_key(), upstream.url, keepalive_seconds=0.1) as p:
        got = await p.chat(stream=True)
        assert got.status == 200
        assert json.loads(events(got.body)[-1])["error"]["message"] == "no such thing"


async def test_no_comment_goes_into_a_half_sent_event_or_a_whole_answer(proxy: MakeProxy) -> None:
    async def halves(peer: Peer, taken: Taken) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (event("one")[:9], event("one")[9:]):
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0.3)
        await peer.send(b"0\r\n\r\n")

    async def slow(peer: Peer, taken: Taken) -> None:
        await asyncio.sleep(0.3)
        await peer.send(good())

    async with RawUpstream([halves, slow]) as upstream, proxy(one_key(), upstream.url, keepalive_seconds=0.1) as p:
        got = await p.ask("POST", "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse", {})
        assert got.body.startswith(event("one"))
        assert got.body.replace(b": keep-alive\n\n", b"") == event("one")
        assert (await p.chat()).json()["choices"]


@pytest.mark.parametrize("begun", [True, False])
async def test_a_client_that_leaves_closes_the_upstream_at_once_and_blames_nobody(
    proxy: MakeProxy, begun: bool
) -> None:
    closed = asyncio.Event()

    async def endless(peer: Peer, taken: Taken) -> None:
        if begun:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            await peer.send(b"%x\r\n%b\r\n" % (len(event("one")), event("one")))
        await peer.gone()
        closed.set()

    daemon = two_keys()
    async with RawUpstream([endless]) as upstream, proxy(daemon, upstream.url) as p:
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse", b"{}"))
        if begun:
            await reader.readuntil(b"one")
        while not upstream.requests:
            await asyncio.sleep(0.005)
        loop = asyncio.get_running_loop()
        left = loop.time()
        writer.transport.abort()
        await asyncio.wait_for(closed.wait(), 1)
        assert loop.time() - left < 0.1
        assert len(upstream.requests) == 1
        assert not daemon.reports
        assert p.worker.pool.idle() == 0


async def test_a_client_that_leaves_while_a_token_is_fetched(proxy: MakeProxy) -> None:
    waiting = asyncio.Event()
    daemon = FakeDaemon()
    daemon.put(account("gemini-api/one", None))

    class Slow(FakeDaemon):
        async def lease(self, account: object, *, min_validity: float = 60.0, max_wait: float = 10.0) -> Lease:
            waiting.set()
            await asyncio.Event().wait()
            raise AssertionError

    slow = Slow(daemon.accounts)
    async with proxy(slow, "http://127.0.0.1:1") as p:
        _, writer = await p.dial()
        writer.write(p.request("POST", "/v1/models/gemini-2.5-flash:generateContent", b"{}"))
        await waiting.wait()
        writer.transport.abort()
        while p.worker.connections:
            await asyncio.sleep(0.01)


async def test_back_pressure_reaches_the_upstream(proxy: MakeProxy) -> None:
    sent = 0
    piece = b"x" * 262_144

    async def flood(peer: Peer, taken: Taken) -> None:
        nonlocal sent
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % (200 * len(piece))
        )
        for _ in range(200):
            await peer.send(piece)
            sent += 1

    async with RawUpstream([flood]) as upstream, proxy(one_key(), upstream.url) as p:
        reader, writer = await p.dial()
        reader._limit = 65536  # type: ignore[attr-defined]
        writer.write(p.request("POST", "/v1/models/gemini-2.5-flash:generateContent", b"{}", connection="close"))
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 150, "the upstream must be held back when the client does not read"
        total = 0
        while data := await reader.read(1 << 20):
            total += len(data)
        assert total == 200 * len(piece)


async def test_a_line_of_25_megabytes_goes_through_untouched_and_translated(proxy: MakeProxy) -> None:
    data = "A" * 25_000_000
    image = {
        "candidates": [
            {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}, "finishReason": "STOP"}
        ]
    }
    raw = b"data: " + json.dumps(image).encode() + b"\n\n"
    async with RawUpstream([chunked(raw, headers=(SSE,))]) as upstream, proxy(one_key(), upstream.url) as p:
        got = await p.ask("POST", "/v1/models/gemini-2.5-flash-image:streamGenerateContent?alt=sse", {})
        assert got.body == raw
        got = await p.chat(model="gemini-2.5-flash-image", stream=True)
        chunk = json.loads(events(got.body)[0])
        assert chunk["choices"][0]["delta"]["images"][0]["image_url"]["url"] == f"data:image/png;base64,{data}"


async def test_tokens_not_at_hand_are_asked_for_and_kept(proxy: MakeProxy) -> None:
    daemon = FakeDaemon()
    daemon.put(account("gemini-api/one", None))
    daemon.renew = lambda name: lease(name, "fake-key-9", 3)
    async with RawUpstream([good()]) as upstream, proxy(daemon, upstream.url) as p:
        for _ in range(3):
            assert (await p.chat()).status == 200
        assert daemon.asked == ["gemini-api/one"]
        assert keys(upstream) == ["fake-key-9"] * 3


async def test_what_cannot_be_sent_moves_on_or_goes_back(proxy: MakeProxy) -> None:
    daemon = FakeDaemon()
    daemon.put(account("gemini/no-project", lease("gemini/no-project")))
    async with proxy(daemon, "http://127.0.0.1:1") as p:
        got = await p.chat()
        assert got.status == 503
        assert "gemini/no-project: has no project_id" in got.json()["error"]["message"]
        got = await p.chat(model="gemini/x", tools=[{"type": "function", "function": {"name": "f"}}], tool_choice=5)
        assert got.status == 400
        assert got.json()["error"]["param"] == "tool_choice"
    odd = FakeDaemon()
    name = "openai-compatible/odd"
    odd.put(account(name, lease(name, facts={"base_url": "http://127.0.0.1:1/a b"})))
    async with proxy(odd) as p:
        got = await p.chat(model="openai-compatible/m")
        assert got.status == 503
        assert "the address of its API is none" in got.json()["error"]["message"]
    image = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    async with proxy(one_key(), "http://127.0.0.1:1") as p:
        got = await p.ask(
            "POST",
            "/v1/chat/completions",
            {"model": "gemini-2.5-pro", "messages": [{"role": "user", "content": image}]},
        )
        assert got.status == 400
        assert "messages[0]" in got.json()["error"]["message"]


async def test_a_base_url_may_have_a_path(proxy: MakeProxy) -> None:
    async with (
        RawUpstream([good()]) as upstream,
        proxy(one_key(), upstreams={"gemini": UpstreamConfig(base_url=upstream.url + "/under/here/")}) as p,
    ):
        assert (await p.chat()).status == 200
        assert upstream.requests[0].line.startswith("POST /under/here/v1beta/models/")


async def test_a_client_of_http_1_0_gets_plain_bytes(proxy: MakeProxy) -> None:
    async with RawUpstream([stream("one")]) as upstream, proxy(one_key(), upstream.url) as p:
        reader, writer = await p.dial()
        head = b"POST /v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse HTTP/1.0\r\nx-api-key: a-test-key\r\ncontent-length: 2\r\n\r\n{}"
        writer.write(head)
        assert (await reader.read()).endswith(b"\r\n\r\n" + event("one"))


async def test_one_connection_carries_many_requests(proxy: MakeProxy) -> None:
    async with (
        RawUpstream([stream("one"), good("two"), bad(400), good("three")]) as upstream,
        proxy(one_key(), upstream.url) as p,
    ):
        reader, writer = await p.dial()
        target = "/v1/models/gemini-2.5-flash:"
        writer.write(p.request("POST", target + "streamGenerateContent?alt=sse", b"{}"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" in head
        assert dechunk(await reader.readuntil(b"0\r\n\r\n")) == event("one")
        for word in ("two", "upstream says 400", "three"):
            writer.write(p.request("POST", target + "generateContent", b"{}"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert word.encode() in await reader.readexactly(int(parse(head).headers["content-length"]))
        assert upstream.connections == 1


async def test_failures_are_noted_without_names_tokens_or_payloads(
    proxy: MakeProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="broker")
    async with RawUpstream([bad(400, "no")]) as upstream, proxy(one_key(), upstream.url) as p:
        got = await p.chat("planted prompt")
    lines = [record for record in caplog.records if getattr(record, "request_id", "") == got.headers["x-request-id"]]
    assert {"refused", "the upstream answered 400", "request"} <= {record.getMessage() for record in lines}
    everything = " ".join(str(vars(record)) for record in caplog.records)
    assert not any(word in everything for word in ("fake-key-1", "a-test-key", "planted prompt", "gemini-api/one"))


async def test_a_fault_of_our_own_is_told_and_not_waited_for(
    proxy: MakeProxy, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeDaemon):
        async def lease(self, account: object, *, min_validity: float = 60.0, max_wait: float = 10.0) -> Lease:
            raise RuntimeError("planted")

    daemon = Broken()
    daemon.put(account("gemini-api/one", None))
    async with proxy(daemon, "http://127.0.0.1:1") as p:
        got = await p.chat()
        assert got.status == 500
        assert "planted" not in got.body.decode()
    assert "request failed" in caplog.text


async def test_answers_without_a_body_are_answers(proxy: MakeProxy) -> None:
    async with (
        RawUpstream([answer(b""), b"HTTP/1.1 204 No Content\r\nX-Kept: yes\r\n\r\n"]) as upstream,
        proxy(one_key(), upstream.url) as p,
    ):
        got = await p.ask("POST", "/v1/models/gemini-2.5-flash:generateContent", {})
        assert (got.status, got.body) == (200, b"")
        got = await p.ask("POST", "/v1/models/gemini-2.5-flash:generateContent", {})
        assert (got.status, got.headers["x-kept"]) == (204, "yes")
        assert upstream.connections == 1


async def test_a_short_limit_is_waited_for_and_served(proxy: MakeProxy) -> None:
    daemon = one_key()
    async with RawUpstream([bad(429, "", "Retry-After: 1"), good()]) as upstream, proxy(daemon, upstream.url) as p:
        assert (await p.chat()).status == 200
        await settled(daemon, 2)
        assert [report.outcome for report in daemon.reports] == ["limited", "ok"]


async def test_where_all_cool_down_for_a_moment_the_request_waits(proxy: MakeProxy) -> None:
    daemon = FakeDaemon()
    until = SystemClock().now().wall + 3
    cooldowns = (Cooldown(None, until, "busy"),)
    daemon.put(account("gemini-api/one", lease("gemini-api/one", "fake-key-1"), cooldowns=cooldowns))
    async with RawUpstream([good()]) as upstream, proxy(daemon, upstream.url) as p:
        assert (await p.chat()).status == 200
    daemon.put(
        account(
            "gemini-api/one", lease("gemini-api/one", "fake-key-1"), cooldowns=(Cooldown(None, until + 60, "busy"),)
        )
    )
    async with RawUpstream([good()]) as upstream, proxy(daemon, upstream.url) as p:
        got = await p.chat()
        assert (got.status, len(upstream.requests)) == (429, 0)
