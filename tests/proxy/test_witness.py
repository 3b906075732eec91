"""What a witness is told of a request, in which order, however it ends."""

import asyncio
from collections.abc import Callable

import pytest

from broker.proxy.call import ClientCall
from broker.proxy.headers import Headers
from broker.proxy.wire.heads import ResponseHead
from broker.proxy.witness import Attempt, Both, Nobody, Witness
from tests.fakes.broker_socket import lease
from tests.fakes.upstream import Peer, RawUpstream, Taken
from tests.proxy.conftest import MakeProxy
from tests.proxy.test_job import SSE, bad, event, good, one_key, stream, two_keys


class Recording:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.received_bytes = b""
        self.given_bytes = b""

    def sent(self, attempt: Attempt) -> None:
        assert attempt.head.startswith(b"POST ")
        assert attempt.body
        self.told.append(f"sent {attempt.account} {attempt.model} {attempt.kind}")
        self.received_bytes = b""

    def answered(self, head: ResponseHead) -> None:
        self.told.append(f"answered {head.status}")

    def received(self, data: bytes) -> None:
        self.received_bytes += data
        self._once("received")

    def started(self, status: int, headers: Headers) -> None:
        assert any(name == b"content-type" for name, _ in headers)
        self.told.append(f"started {status}")

    def given(self, data: bytes) -> None:
        self.given_bytes += data
        self._once("given")

    def ended(self, status: int, *, cut: bool = False) -> None:
        self.told.append(f"ended {status}{' cut' if cut else ''}")

    def _once(self, word: str) -> None:
        if not self.told or self.told[-1] != word:
            self.told.append(word)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Recording:
    """A witness of every request, put where the gateway makes them."""
    witness = Recording()

    def both(call: ClientCall, work: object) -> Witness:
        return Both(witness, Nobody())

    monkeypatch.setattr(ClientCall, "_witness", both)
    return witness


ONE = "sent gemini-api/one gemini-2.5-flash gemini"
TWO = "sent gemini-api/two gemini-2.5-flash gemini"


async def test_a_whole_answer(proxy: MakeProxy, seen: Recording) -> None:
    async with RawUpstream([good("Hello")]) as upstream, proxy(one_key(), upstream.url) as p:
        got = await p.chat()
        assert seen.told == [ONE, "answered 200", "received", "started 200", "given", "ended 200"]
        assert seen.given_bytes == got.body
        assert b'"text": "Hello"' in seen.received_bytes


async def test_a_streamed_answer(proxy: MakeProxy, seen: Recording) -> None:
    async with RawUpstream([stream("one", "two")]) as upstream, proxy(one_key(), upstream.url) as p:
        got = await p.chat(stream=True)
        assert seen.told[:4] == [ONE, "answered 200", "received", "started 200"]
        assert seen.told[-1] == "ended 200"
        assert seen.received_bytes == event("one") + event("two")
        assert seen.given_bytes == got.body


async def test_a_failover_begins_again(proxy: MakeProxy, seen: Recording) -> None:
    async with RawUpstream([bad(429), good()]) as upstream, proxy(two_keys(), upstream.url) as p:
        assert (await p.chat()).status == 200
        assert seen.told == [
            ONE,
            "answered 429",
            "received",
            TWO,
            "answered 200",
            "received",
            "started 200",
            "given",
            "ended 200",
        ]
        assert b"candidates" in seen.received_bytes


async def test_a_renewed_token_is_another_attempt(proxy: MakeProxy, seen: Recording) -> None:
    daemon = one_key()
    daemon.renew = lambda name: lease(name, "fake-key-new", 2)
    async with RawUpstream([bad(401), good()]) as upstream, proxy(daemon, upstream.url) as p:
        assert (await p.chat()).status == 200
        assert seen.told.count(ONE) == 2


@pytest.mark.parametrize("status", [400, 503])
async def test_an_upstream_s_refusal(proxy: MakeProxy, seen: Recording, status: int) -> None:
    async with RawUpstream([bad(status)] * 9) as upstream, proxy(one_key(), upstream.url) as p:
        got = await p.chat()
        assert got.status == status
        assert seen.told[:3] == [ONE, f"answered {status}", "received"]
        assert seen.told[-3:] == [f"started {status}", "given", f"ended {status}"]
        assert seen.given_bytes == got.body


async def test_a_refusal_without_an_attempt(proxy: MakeProxy, seen: Recording) -> None:
    async with proxy(two_keys()) as p:
        p.daemon.remove("gemini-api/one")
        p.daemon.remove("gemini-api/two")
        await asyncio.sleep(0)
        got = await p.chat()
        assert got.status == 503
        assert seen.told == ["started 503", "given", "ended 503"]


def cut(*parts: bytes) -> Callable[[Peer, Taken], object]:
    """An upstream that breaks off after some bytes."""

    async def script(peer: Peer, taken: Taken) -> None:
        head = b"HTTP/1.1 200 OK\r\n" + SSE.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        await peer.send(head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts))
        peer.cut()

    return script


async def test_a_stream_that_is_cut(proxy: MakeProxy, seen: Recording) -> None:
    async with RawUpstream([cut(event("one"))]) as upstream, proxy(one_key(), upstream.url) as p:
        got = await p.chat(stream=True)
        assert got.status == 200
        assert seen.told[-1] == "ended 200 cut"
        assert seen.given_bytes == got.body
        assert b"error" in got.body


async def test_a_stream_that_tells_its_own_failure(proxy: MakeProxy, seen: Recording) -> None:
    begun = asyncio.Event()

    async def fails(peer: Peer, taken: Taken) -> None:
        failed = b'data: {"error": {"code": 503, "message": "overloaded"}}\r\n\r\n'
        await peer.send(b"HTTP/1.1 200 OK\r\n" + SSE.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.send(b"%x\r\n%b\r\n" % (len(event("one")), event("one")))
        await begun.wait()
        await peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(failed), failed))

    async with RawUpstream([fails]) as upstream, proxy(one_key(), upstream.url) as p:
        body = b'{"model":"gemini-2.5-flash","stream":true,"messages":[{"role":"user","content":"x"}]}'
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/chat/completions", body, connection="close"))
        await reader.readuntil(b"one")
        begun.set()
        assert b"overloaded" in await reader.read()
        assert seen.told[-1] == "ended 200 cut"


async def test_a_client_that_leaves(proxy: MakeProxy, seen: Recording) -> None:
    gone = asyncio.Event()

    async def slow(peer: Peer, taken: Taken) -> None:
        head = b"HTTP/1.1 200 OK\r\n" + SSE.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        await peer.send(head + b"%x\r\n%b\r\n" % (len(event("one")), event("one")))
        await gone.wait()

    async with RawUpstream([slow]) as upstream, proxy(one_key(), upstream.url) as p:
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse", b"{}"))
        await reader.readuntil(b"one")
        writer.transport.abort()
        async with asyncio.timeout(10):
            while seen.told[-1] != "ended 499":
                await asyncio.sleep(0.01)
        gone.set()
        assert seen.told.count("ended 499") == 1


def test_nobody_and_both_are_told_everything() -> None:
    one, other = Recording(), Recording()
    attempt = Attempt("a/b", "a", "gemini", "gemini", "m", "http://x", b"POST /", b"{}")  # type: ignore[arg-type]
    for witness in (Both(one, other), Nobody()):
        witness.sent(attempt)
        witness.answered(ResponseHead(200, []))
        witness.received(b"x")
        witness.started(200, [(b"content-type", b"a/b")])
        witness.given(b"y")
        witness.ended(200, cut=True)
    assert (
        one.told
        == other.told
        == ["sent a/b m gemini", "answered 200", "received", "started 200", "given", "ended 200 cut"]
    )
