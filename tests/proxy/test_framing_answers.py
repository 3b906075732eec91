"""What upstreams answer, through a whole worker: a client gets one answer of one reading, or its connection ends.

No byte of one answer gets into the next.
"""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from tests.fakes.framing_rig import CLOSE, CUT, JSON, Rig, chat, good, rigged, said, statuses
from tests.fakes.recording_upstream import Answer, Line
from tests.fakes.strict_http import Message
from tests.fakes.upstream import answer, chunked
from tests.proxy.conftest import MakeProxy

MakeRig = Callable[..., AbstractAsyncContextManager[Rig]]
POOR, FINE = said("poor"), said("fine")
POISON = answer(said("poison"), "200 OK", JSON)


@pytest.fixture
def rig(proxy: MakeProxy) -> MakeRig:
    return partial(rigged, proxy)


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((status, b"Content-Type: application/json", *lines)) + b"\r\n\r\n"


def first_with(*steps: bytes | str) -> Answer:
    """Answer the request for "asked" with bytes and steps (`shut`, `cut`, `wait`), all others well."""

    async def reply(line: Line, taken: Message) -> None:
        if b"asked" not in (taken.body or b"asked"):
            await good(line, taken)
            return
        for step in steps:
            if isinstance(step, bytes):
                await line.send(step)
            elif step == "wait":
                await asyncio.sleep(0.01)
            elif step == "shut":
                line.shut()
            else:
                line.cut()

    return reply


L = b"Content-Length: %d" % len(POOR)
T = b"Transfer-Encoding: chunked"
WHOLE = b"%x\r\n%b\r\n0\r\n\r\n" % (len(POOR), POOR)

REFUSED: dict[str, tuple[bytes | str, ...]] = {
    "a length and chunks": (head(L, T) + WHOLE,),
    "chunks and a length": (head(T, L) + WHOLE,),
    "a length twice": (head(L, L) + POOR,),
    "two lengths": (head(b"Content-Length: 4", L) + POOR,),
    "a list of lengths": (head(b"Content-Length: 4, 4") + POOR,),
    "a length with a sign": (head(b"Content-Length: +4") + POOR,),
    "a length with a space": (head(b"Content-Length: 4 0") + POOR,),
    "a length in hexadecimal": (head(b"Content-Length: 0x4") + POOR,),
    "a negative length": (head(b"Content-Length: -1") + POOR,),
    "an empty length": (head(b"Content-Length:") + POOR,),
    "a length beyond 64 bits": (head(b"Content-Length: 18446744073709551617") + POOR,),
    "chunked twice": (head(T, T) + WHOLE,),
    "chunked and gzip": (head(b"Transfer-Encoding: chunked, gzip") + WHOLE, "shut"),
    "gzip and chunked": (head(b"Transfer-Encoding: gzip, chunked") + WHOLE,),
    "an unknown coding": (head(b"Transfer-Encoding: xchunked") + WHOLE, "shut"),
    "an empty coding": (head(b"Transfer-Encoding:", L) + POOR,),
    "chunked in HTTP/1.0": (head(T, b"Connection: keep-alive", status=b"HTTP/1.0 200 OK") + WHOLE,),
    "a head with bare LF": (head(L).replace(b"\r\n", b"\n") + POOR,),
    "a bare LF in the head": (head(b"X: a\nContent-Length: 4", L) + POOR,),
    "a bare CR in the head": (head(b"X: a\rContent-Length: 4", L) + POOR,),
    "NUL in a value": (head(b"X: a\0b", L) + POOR,),
    "a control character in a value": (head(b"X: a\x0bb", L) + POOR,),
    "a fold": (head(b"X: a", b" b", L) + POOR,),
    "a folded length": (head(b"Content-Length:", b" 4") + POOR,),
    "white space before a colon": (head(b"Content-Length : 4", L) + POOR,),
    "a name outside of ASCII": (head(b"X\xc3\xa9: a", L) + POOR,),
    "a line without a colon": (head(b"nonsense", L) + POOR,),
    "HTTP/2": (head(L, status=b"HTTP/2.0 200 OK") + POOR,),
    "HTTP/0.9": (POOR,),
    "a status of two digits": (head(L, status=b"HTTP/1.1 20 OK") + POOR,),
    "a status of four digits": (head(L, status=b"HTTP/1.1 2000 OK") + POOR,),
    "a status there is not": (head(L, status=b"HTTP/1.1 999 Odd") + POOR,),
    "the status 0": (head(L, status=b"HTTP/1.1 000 Odd") + POOR,),
    "another protocol": (head(b"Upgrade: h2c", b"Connection: upgrade", status=b"HTTP/1.1 101 Go") + POOR,),
    "another protocol with a length": (head(L, b"Upgrade: x", b"Connection: upgrade", status=b"HTTP/1.1 101 Go") + POOR,),
    "many fields, the last of which frames": (head(*[b"X: y"] * 256, L) + POOR,),
    "a huge head": (head(b"X: " + b"a" * 500_000, L) + POOR,),
    "an answer that is not modified": (head(L, status=b"HTTP/1.1 304 Not Modified") + POOR,),
    "an interim answer, and no other": (head(status=b"HTTP/1.1 103 Early Hints"), "shut"),
    "an interim answer with a body": (head(L, status=b"HTTP/1.1 103 Early Hints") + POOR + POISON,),
    "a head without an end": (head(L)[:-2], "shut"),
    "nothing": ("shut",),
    "a reset": ("cut",),
    "a bad size of the first chunk": (head(T) + b"0x" + WHOLE,),
    "a size with a space": (head(T) + WHOLE.replace(b"\r\n", b" \r\n", 1),),
    "a size with a sign": (head(T) + b"+" + WHOLE,),
    "a size beyond 64 bits": (head(T) + b"1000000000000000f\r\n" + POOR,),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_an_answer_that_is_none_is_told_as_such_and_its_connection_is_not_used_again(
    rig: MakeRig, name: str
) -> None:
    async with rig(first_with(*REFUSED[name])) as r:
        heard = await r.say(r.post(body=chat("asked")) + r.post(CLOSE, chat("second")))
        assert statuses(heard) == [502, 200]
        assert heard.messages[1].body == FINE
        assert b"poison" not in (heard.messages[0].body or b"")
        assert len(r.upstream.lines) == len(r.forwarded)


S = b"HTTP/1.1 204 No Content\r\n\r\n"
KEPT: dict[str, tuple[bytes | str, ...]] = {
    "a length": (head(L) + POOR,),
    "chunks": (head(T) + WHOLE,),
    "chunks with extensions": (head(T) + b'%x;a=b;c="d"\r\n%b\r\n00;e\r\n\r\n' % (len(POOR), POOR),),
    "chunks with trailers": (head(T) + WHOLE[:-2] + b"X-Late: 1\r\nSet-Cookie: a=b\r\n\r\n",),
    "an empty line before": (b"\r\n" + head(L) + POOR,),
    "no reason": (head(L, status=b"HTTP/1.1 200") + POOR,),
    "interim answers": (head(status=b"HTTP/1.1 100 Continue") + head(b"X: y", status=b"HTTP/1.1 103 Hints") + head(L) + POOR,),
    "interim answers in pieces": (head(status=b"HTTP/1.1 102 Processing"), "wait", head(L) + POOR[:5], "wait", POOR[5:]),
    "framing named by Connection": (head(L, b"Connection: content-length, x-hop", b"X-Hop: 1") + POOR,),
    "an upgrade that is offered": (head(L, b"Upgrade: h2c") + POOR,),
    "HTTP/1.0 that keeps": (head(L, b"Connection: keep-alive", status=b"HTTP/1.0 200 OK") + POOR,),
}  # fmt: skip
ENDED: dict[str, tuple[bytes | str, ...]] = {
    "a body to the end": (head() + POOR, "shut"),
    "a body to the end that would be kept": (head(b"Connection: keep-alive") + POOR, "shut"),
    "HTTP/1.0 to the end": (head(status=b"HTTP/1.0 200 OK") + POOR, "shut"),
    "a length, and the end": (head(L) + POOR, "shut"),
    "chunks, and the end": (head(T) + WHOLE, "shut"),
    "HTTP/1.0 with a length": (head(L, status=b"HTTP/1.0 200 OK") + POOR,),
    "the last on its connection": (head(L, b"Connection: close") + POOR,),
    "a second answer behind it": (head(L) + POOR + POISON,),
    "a second answer behind chunks": (head(T) + WHOLE + POISON,),
    "a second answer later": (head(L) + POOR, "wait", POISON),
    "a second answer without a length": (head(L) + POOR, "wait", head() + b"poison"),
    "an interim answer behind it": (head(L) + POOR + head(status=b"HTTP/1.1 100 Continue"),),
    "an interim answer later": (head(L) + POOR, "wait", head(status=b"HTTP/1.1 100 Continue")),
    "a body longer than said": (head(L) + POOR + b"poison",),
    "bytes behind the last chunk": (head(T) + WHOLE + b"0\r\n\r\n",),
    "no end of line behind the last chunk": (head(T) + WHOLE + b"poison",),
}


@pytest.mark.parametrize("name", [*KEPT, *ENDED])
async def test_one_answer_arrives_whole_and_the_next_is_the_next(rig: MakeRig, name: str) -> None:
    async with rig(first_with(*(KEPT.get(name) or ENDED[name]))) as r:
        heard = await r.say(r.post(CLOSE, chat("asked")))
        assert statuses(heard) == [200]
        told = heard.messages[0]
        assert told.body == POOR
        assert {key for key, _ in told.fields}.isdisjoint({b"x-late", b"set-cookie", b"x-hop", b"upgrade"})
        await asyncio.sleep(0.02)  # what comes later than the answer has come by now
        heard = await r.say(r.post(CLOSE, chat("second")))
        assert (statuses(heard), heard.messages[0].body) == ([200], FINE)
        assert len(r.upstream.lines) == (1 if name in KEPT else 2)
        assert len(r.forwarded) == 2


@pytest.mark.parametrize("framed", [b"", b"Content-Length: 6\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_an_answer_without_a_body_has_none_whatever_it_says(rig: MakeRig, framed: bytes) -> None:
    async with rig(first_with(S[:-2] + framed + b"\r\n" + (b"poison" if framed else b""))) as r:
        heard = await r.say(r.post(body=chat("asked")) + r.post(CLOSE, chat("second")))
        assert statuses(heard) == [204, 200]
        assert heard.messages[0].body == b""
        assert not heard.messages[0].all("content-length") + heard.messages[0].all("transfer-encoding")
        assert heard.messages[1].body == FINE


BEGUN: dict[str, tuple[bytes | str, ...]] = {
    "less than its length": (head(L) + POOR[:9], "wait", "shut"),
    "a reset in its body": (head(L) + POOR[:9], "wait", "cut"),
    "a reset of a body to the end": (head() + POOR[:9], "wait", "cut"),
    "a chunk without an end": (head(T) + b"9\r\n" + POOR[:9], "wait", WHOLE),
    "a chunk that ends with LF": (head(T) + b"9\r\n" + POOR[:9], "wait", b"\n" + WHOLE),
    "a chunk longer than said": (head(T) + b"9\r\n" + POOR[:9], "wait", b"x\r\n" + WHOLE),
    "no last chunk": (head(T) + b"9\r\n" + POOR[:9] + b"\r\n", "wait", "shut"),
    "a length in a trailer": (head(T) + WHOLE[:-2], "wait", b"Content-Length: 4\r\n\r\n"),
    "a coding in a trailer": (head(T) + WHOLE[:-2], "wait", T + b"\r\n\r\n"),
    "a folded trailer": (head(T) + WHOLE[:-2], "wait", b"X: a\r\n b\r\n\r\n"),
    "a size with a comma": (head(T) + b"9\r\n" + POOR[:9] + b"\r\n", "wait", b"9,\r\n"),
}


@pytest.mark.parametrize("name", BEGUN)
async def test_an_answer_that_stops_half_way_is_cut_and_never_ended(rig: MakeRig, name: str) -> None:
    async with rig(first_with(*BEGUN[name])) as r:
        heard = await r.say(r.post(body=chat("asked")) + r.post(CLOSE, chat("second")))
        assert heard.fault == CUT
        assert heard.whole == []
        heard = await r.say(r.post(CLOSE, chat("second")))
        assert (statuses(heard), heard.messages[0].body) == ([200], FINE)
        assert len(r.upstream.lines) == 2


async def test_head_is_answered_without_a_body_and_the_next_request_after_it(rig: MakeRig) -> None:
    async with rig() as r:
        get = (
            r.post(body=b"")
            .replace(b"POST /v1/chat/completions", b"GET /v1/models")
            .replace(b"Content-Length: 0\r\n", b"")
        )
        asked = (
            get.replace(b"GET", b"HEAD")
            + get
            + get.replace(b"GET", b"HEAD", 1).replace(b"\r\n\r\n", b"\r\n" + CLOSE + b"\r\n")
        )
        heard = await r.say(asked, methods=("HEAD", "GET", "HEAD"))
        assert statuses(heard) == [200, 200, 200]
        assert [bool(each.body) for each in heard.messages] == [False, True, False]
        assert len({tuple(each.all("content-length")) for each in heard.messages}) == 1


@pytest.mark.parametrize("ending", ["keep", "shut", "close", "cut"])
async def test_an_answer_before_the_request_has_gone_out_is_one_answer(rig: MakeRig, ending: str) -> None:
    big = chat("asked" * 1_000_000)
    refusal = answer(
        b'{"error":{"message":"too much"}}', "400 Bad Request", JSON, *["Connection: close"] * (ending == "close")
    )

    async def early(line: Line, taken: Message) -> None:
        if taken.body == chat("second"):
            await good(line, taken)
            return
        await line.send(refusal)
        if ending == "shut":
            line.shut()
        if ending == "cut":
            line.cut()

    async with rig(early, early=True) as r:
        heard = await r.say(r.post(body=big) + r.post(CLOSE, chat("second")))
        # A reset may overtake the answer; then it is told that there was none.
        assert statuses(heard) in ([[400, 200], [502, 200]] if ending == "cut" else [[400, 200]])
        assert heard.messages[1].body == FINE
        last = r.upstream.lines[-1]
        assert last.data.count(b"POST ") == 1
        assert last is not r.upstream.lines[0]


async def test_an_answer_in_events_that_loses_its_framing_ends_with_an_error(rig: MakeRig) -> None:
    event = b'data: {"id":"1","object":"chat.completion.chunk","model":"gpt-4o","choices":[]}\n\n'
    begun = chunked(event, headers=("Content-Type: text/event-stream",))[: -len(b"0\r\n\r\n")]
    async with rig(first_with(begun, "wait", b"zz\r\n" + POISON)) as r:
        heard = await r.say(r.post(CLOSE, chat("asked")[:-1] + b',"stream":true}'))
        assert statuses(heard) == [200]
        assert (heard.messages[0].body or b"").startswith(event)
        assert b"error" in (heard.messages[0].body or b"")
        assert b"poison" not in (heard.messages[0].body or b"")


async def test_a_client_that_shuts_its_side_before_the_end_of_a_request_forwards_nothing(rig: MakeRig) -> None:
    async with rig() as r:
        whole = r.post(body=chat("asked"))
        for cut in (10, whole.index(b"\r\n\r\n") + 2, len(whole) - 1):
            reader, writer = await r.proxy.dial()
            writer.write(whole[:cut])
            writer.write_eof()
            assert (await r.hear(reader)).messages == []
        assert r.forwarded == []
        with contextlib.suppress(ConnectionError):
            assert statuses(await r.say(r.post(CLOSE, chat("second")))) == [200]
