"""Framing on the client's side: what is served, and all that must not be."""

import asyncio
import random
import re

import pytest

from tests.proxy.wire.conftest import MakeSite

H = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n"
MIB = 1 << 20


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


async def test_answers_and_closes_when_asked(site: MakeSite) -> None:
    async with site() as s:
        answer = await s.talk(b"GET /a HTTP/1.1\r\n" + H + CLOSE + b"\r\n")
        assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/a"


async def test_reads_a_body_in_pieces_of_any_size(site: MakeSite) -> None:
    request = b"POST /a HTTP/1.1\r\n" + H + CLOSE + b"Content-Length: 5\r\n\r\nabcde"
    async with site() as s:
        reader, writer = await s.dial()
        for byte in request:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await reader.read()).endswith(b"\r\n\r\nabcde")
        writer.close()


async def test_reads_chunks_with_extensions_and_trailers(site: MakeSite) -> None:
    body = b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nHost: evil\r\n\r\n"
    async with site() as s:
        answer = await s.talk(b"POST /a HTTP/1.1\r\n" + H + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        assert answer.endswith(b"\r\n\r\nabcde")


async def test_a_body_in_tiny_chunks_takes_the_memory_of_a_body(site: MakeSite) -> None:
    async with site() as s:
        reader, writer = await s.dial()
        writer.write(
            b"POST /a HTTP/1.1\r\n" + H + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 5000
        )
        writer.write(b"800\r\n" + b"c" * 2048 + b"\r\n1\r\nd\r\n")
        while not s.listener.connections or (reading := next(iter(s.listener.connections))._reading) is None:
            await asyncio.sleep(0.001)
        while reading.received < 12_049:
            await asyncio.sleep(0.001)
        assert len(reading.body_parts) == 4
        writer.write(b"0\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n" + b"ab" * 5000 + b"c" * 2048 + b"d")
        writer.close()


@pytest.mark.parametrize("size", [MIB, MIB + 1, 3 * MIB + 7])
async def test_a_large_body_is_whole_and_the_next_one_its_own(site: MakeSite, size: int) -> None:
    body = random.Random(size).randbytes(size)
    chunks = [body[at : at + 70_001] for at in range(0, size - 5, 70_001)] + [bytes([byte]) for byte in b"abc"]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    async with site() as s:
        answer = await s.talk(
            b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % size + body,
            b"POST /b HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
            b"POST /c HTTP/1.1\r\n" + H + CLOSE + b"Content-Length: 1\r\n\r\nc",
        )
    assert statuses(answer) == [200] * 3
    first, second, third = (part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:])
    assert (first == body, second == b"".join(chunks), third) == (True, True, b"c")


async def test_keeps_the_connection_and_the_order(site: MakeSite) -> None:
    async with site() as s:
        answer = await s.talk(
            b"GET /stream HTTP/1.1\r\n" + H + b"\r\nGET /b HTTP/1.1\r\n" + H + b"\r\n",
            b"POST /c HTTP/1.1\r\n" + H + b"Content-Length: 1\r\n\r\nc",
            b"GET /d HTTP/1.1\r\n" + H + CLOSE + b"\r\n",
        )
        assert statuses(answer) == [200] * 4
        assert b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n" in answer
        assert answer.index(b"/b") < answer.index(b"\r\n\r\nc") < answer.index(b"/d")


async def test_pipelined_requests_wait_for_the_one_before(site: MakeSite) -> None:
    async with site() as s:
        reader, writer = await s.dial()
        writer.write(
            b"GET /hang HTTP/1.1\r\n" + H + b"\r\nPOST /b HTTP/1.1\r\n" + H + CLOSE + b"Content-Length: 1\r\n\r\n"
        )
        await asyncio.sleep(0.05)
        assert s.app.log == ["head /hang", "body /hang 0"]
        s.app.hanging[0].reply(200, [], b"first")
        writer.write(b"b")
        answer = await reader.read()
        assert answer.index(b"first") < answer.index(b"\r\n\r\nb")
        writer.close()


async def test_too_many_pipelined_requests(site: MakeSite) -> None:
    async with site() as s:
        reader, writer = await s.dial()
        writer.write((b"GET /hang HTTP/1.1\r\n" + H + b"\r\n") * 30)
        while not s.app.hanging:
            await asyncio.sleep(0.01)
        while len(s.app.hanging) < 17:
            s.app.hanging[-1].reply(200, [])
        s.app.hanging[-1].reply(200, [])
        assert statuses(await reader.read()) == [200] * 17 + [429]
        writer.close()


async def test_a_broken_request_behind_a_good_one(site: MakeSite) -> None:
    async with site() as s:
        answer = await s.talk(b"GET /a HTTP/1.1\r\n" + H + b"\r\nGET /b HTTP/1.1\r\nHost : x\r\n\r\n")
        assert statuses(answer) == [200, 400]
        reader, writer = await s.dial()
        writer.write(b"GET /hang HTTP/1.1\r\n" + H + b"\r\nnonsense\r\n\r\n")
        while not s.app.hanging:
            await asyncio.sleep(0.01)
        s.app.hanging[-1].reply(200, [])
        assert statuses(await reader.read()) == [200, 400]
        writer.close()


async def test_bytes_after_the_last_request_are_dropped(site: MakeSite) -> None:
    async with site() as s:
        answer = await s.talk(b"GET /a HTTP/1.1\r\n" + H + CLOSE + b"\r\nGET /b HTTP/1.1\r\n" + H + b"\r\n")
        assert statuses(answer) == [200]
        assert b"/b" not in answer


async def test_expect_continue(site: MakeSite) -> None:
    head = b"POST %s HTTP/1.1\r\n" + H + CLOSE + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    async with site() as s:
        reader, writer = await s.dial()
        writer.write(head % b"/a")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert status(await reader.read()) == 200
        writer.close()
        assert statuses(await s.talk(head % b"/early")) == [401]
        assert statuses(await s.talk(head % b"/a" + b"abc")) == [100, 200]


async def test_head_has_the_headers_of_get_and_no_body(site: MakeSite) -> None:
    async with site() as s:
        answer = await s.talk(b"HEAD /a HTTP/1.1\r\n" + H + b"\r\n", b"HEAD /stream HTTP/1.1\r\n" + H + CLOSE + b"\r\n")
        first, second = answer.split(b"HTTP/1.1 ")[1:]
        assert b"content-length: 2" in first
        assert first.endswith(b"\r\n\r\n")
        assert second.endswith(b"\r\n\r\n")
        answer = await s.talk(b"GET /204 HTTP/1.1\r\n" + H + CLOSE + b"\r\n")
        assert answer == b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


async def test_http_1_0_gets_a_body_that_ends_with_the_connection(site: MakeSite) -> None:
    async with site() as s:
        answer = await s.talk(b"GET /stream HTTP/1.0\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nonetwo")
        assert b"chunked" not in answer


async def test_absolute_form_for_the_same_host(site: MakeSite) -> None:
    async with site() as s:
        assert (await s.talk(b"GET http://x/a HTTP/1.1\r\n" + H + CLOSE + b"\r\n")).endswith(b"/a")


HOSTILE = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + H + b"Host: y\r\n\r\n", 400),
    "length and chunked": (
        b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
    ),
    "chunked and length": (
        b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400,
    ),
    "two lengths": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "two equal lengths": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    "list of lengths": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1, 1\r\n\r\na", 400),
    "signed length": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: +1\r\n\r\na", 400),
    "negative length": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: -1\r\n\r\n", 400),
    "hex length": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0x1\r\n\r\na", 400),
    "empty length": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length:\r\n\r\n", 400),
    "length that overflows": (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "obs-fold": (b"GET / HTTP/1.1\r\n" + H + b"X: a\r\n b\r\n\r\n", 400),
    "fold on the first header": (b"GET / HTTP/1.1\r\n X: a\r\n" + H + b"\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "bare LF in the headers": (b"GET / HTTP/1.1\r\n" + H + b"X: a\nY: b\r\n\r\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\n" + H + b"X: a\rY: b\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\n" + H + b"X: a\0\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "header without name": (b"GET / HTTP/1.1\r\n" + H + b": x\r\n\r\n", 400),
    "header without colon": (b"GET / HTTP/1.1\r\n" + H + b"nocolon\r\n\r\n", 400),
    "other coding": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "identity coding": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "chunked twice": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "disguised chunked": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "chunked in 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunk size with 0x": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400),
    "chunk size negative": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n", 400),
    "chunk size overflow": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n", 400),
    "chunk size missing": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n\r\na\r\n", 400),
    "chunk with LF": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", 400),
    "chunk longer than said": (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
    "length in a trailer": (
        b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n", 400,
    ),
    "tunnel": (b"CONNECT evil:443 HTTP/1.1\r\n" + H + b"\r\n", 501),
    "upgrade": (b"GET / HTTP/1.1\r\n" + H + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
    "upgrade to h2c": (b"POST / HTTP/1.1\r\n" + H + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\na", 501),
    "http/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "http/0.9": (b"GET /\r\n\r\n", 505),
    "http/3.7": (b"GET / HTTP/3.7\r\n" + H + b"\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\n" + H + b"\r\n", 400),
    "absolute form elsewhere": (b"GET http://evil/ HTTP/1.1\r\n" + H + b"\r\n", 400),
    "high bytes in the target": (b"GET /\xc3\xa9 HTTP/1.1\r\n" + H + b"\r\n", 400),
    "unknown method": (b"BREW / HTTP/1.1\r\n" + H + b"\r\n", 400),
    "unknown expectation": (b"POST / HTTP/1.1\r\n" + H + b"Expect: wonders\r\nContent-Length: 1\r\n\r\na", 417),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
    "huge header": (b"GET / HTTP/1.1\r\n" + H + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    "huge target": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + H + b"\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + H + b"X: a\r\n" * 200 + b"\r\n", 431),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_framing_is_refused_and_nothing_after_it_is_read(site: MakeSite, name: str) -> None:
    request, expected = HOSTILE[name]
    async with site(linger_seconds=0.05) as s:
        answer = await s.talk(request + b"GET /smuggled HTTP/1.1\r\n" + H + b"\r\n")
        assert statuses(answer) == [expected], answer
        assert not any("smuggled" in line for line in s.app.log)
        assert not any(line.startswith("body") for line in s.app.log)


async def test_a_header_without_end_is_cut_short(site: MakeSite) -> None:
    async with site() as s:
        answer = await s.talk(b"GET / HTTP/1.1\r\nX: ", *[b"a" * 100_000] * 12)
        assert statuses(answer) == [431]


async def test_chunk_framing_without_chunks_is_cut_short(site: MakeSite) -> None:
    start = b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n1;"
    async with site() as s:
        answer = await s.talk(start, *[b"a" * 200_000] * 5)
        assert statuses(answer) == [400]


async def test_bodies_that_are_too_large(site: MakeSite) -> None:
    async with site(body_bytes=10, linger_seconds=0.05) as s:
        answer = await s.talk(b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: 11\r\n\r\n")
        assert statuses(answer) == [413]
        answer = await s.talk(b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: 11\r\nExpect: 100-continue\r\n\r\n")
        assert statuses(answer) == [413]
        chunks = b"8\r\nabcdefgh\r\n3\r\nijk\r\n0\r\n\r\n"
        answer = await s.talk(b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert statuses(answer) == [413]
        assert s.app.log == ["head /a", "fault 413"] * 3


async def test_an_early_answer_can_be_read_while_the_body_is_still_sent(site: MakeSite) -> None:
    async with site(linger_seconds=2) as s:
        reader, writer = await s.dial()
        writer.write(b"POST /early HTTP/1.1\r\n" + H + b"Content-Length: 1000000\r\n\r\n")
        for _ in range(10):
            writer.write(b"a" * 100_000)
            await writer.drain()
        assert status(await reader.read()) == 401
        writer.close()


async def test_lingering_ends(site: MakeSite) -> None:
    async with site(body_bytes=100_000, linger_seconds=0.1) as s:
        reader, writer = await s.dial()
        writer.write(b"POST /early HTTP/1.1\r\n" + H + b"Content-Length: 90000\r\n\r\n")
        assert status(await reader.read()) == 401
        while s.listener.connections:
            await asyncio.sleep(0.01)
        writer.close()
    async with site(body_bytes=100_000, linger_seconds=60) as s:
        reader, writer = await s.dial()
        writer.write(b"POST /early HTTP/1.1\r\n" + H + b"Content-Length: 90000\r\n\r\n")
        await reader.read()
        writer.write(b"a" * 300_000)
        while s.listener.connections:
            await asyncio.sleep(0.01)
        writer.close()


async def test_lingering_reads_on_although_more_was_sent_ahead(site: MakeSite) -> None:
    async with site(linger_seconds=60) as s:
        reader, writer = await s.dial()
        writer.write(b"POST /early HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\nabcGET /a HTTP/1.1\r\n" + H + b"\r\n")
        assert statuses(await reader.read()) == [401]
        writer.close()
        async with asyncio.timeout(5):
            while s.listener.connections:
                await asyncio.sleep(0.01)
        assert s.app.log == ["head /early"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HT",
        b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n\r\nab",
        b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n",
        b"POST /a HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab\r\n0\r\n\r\n",
    ],
)
async def test_slow_requests(site: MakeSite, sent: bytes) -> None:
    async with site(head_seconds=0.1, stall_seconds=0.1, linger_seconds=0.05) as s:
        assert statuses(await s.talk(sent)) == [408]


async def test_a_body_that_trickles(site: MakeSite) -> None:
    async with site(body_seconds=0.2, stall_seconds=5, linger_seconds=0.05) as s:
        head = b"POST /a HTTP/1.1\r\n" + H + b"Content-Length: 500\r\n\r\n"
        reader, writer = await s.dial()
        writer.write(head)
        answering = asyncio.get_running_loop().create_task(reader.read())
        while not answering.done():
            writer.write(b"a")
            await asyncio.sleep(0.02)
        assert statuses(await answering) == [408]
        writer.close()


async def test_idle_connections_are_closed(site: MakeSite) -> None:
    async with site(idle_seconds=0.1) as s:
        assert await s.talk() == b""
        answer = await s.talk(b"GET /a HTTP/1.1\r\n" + H + b"\r\n")
        assert statuses(answer) == [200]


async def test_too_many_connections(site: MakeSite) -> None:
    async with site(connections=1) as s:
        _, first = await s.dial()
        while not s.listener.connections:
            await asyncio.sleep(0.01)
        assert statuses(await s.talk()) == [503]
        first.close()
        while s.listener.connections:
            await asyncio.sleep(0.01)
        assert statuses(await s.talk(b"GET /a HTTP/1.1\r\n" + H + CLOSE + b"\r\n")) == [200]


@pytest.mark.parametrize("sent", [b"GET /a HTTP/1.1\r\n" + H + b"\r\n", b"no HTTP at all\r\n\r\n", b"G"])
async def test_an_address_that_is_not_admitted_is_told_so_whatever_it_says(site: MakeSite, sent: bytes) -> None:
    async with site() as s:
        s.listener.admit = lambda address: address != "127.0.0.1"
        answer = await s.talk(sent, b"x" * 100_000)
        assert statuses(answer) == [403]
        assert b"connection: close\r\n" in answer
        assert s.app.log == ["refusal 403"]
        while s.listener.connections:
            await asyncio.sleep(0.01)


async def test_an_address_that_is_not_admitted_and_says_nothing_is_cut(site: MakeSite) -> None:
    async with site(linger_seconds=0.05) as s:
        s.listener.admit = lambda _address: False
        assert await s.talk() == b""
        assert not s.app.log


async def test_an_address_that_is_not_admitted_is_told_so_in_a_crowd_too(site: MakeSite) -> None:
    async with site(connections=1) as s:
        _, first = await s.dial()
        while not s.listener.connections:
            await asyncio.sleep(0.01)
        s.listener.admit = lambda _address: False
        assert statuses(await s.talk()) == [403]
        first.close()


@pytest.mark.parametrize("half", [True, False])
async def test_a_client_that_leaves_is_noticed(site: MakeSite, half: bool) -> None:
    async with site() as s:
        _, writer = await s.dial()
        writer.write(b"GET /hang HTTP/1.1\r\n" + H + b"\r\n")
        while not s.app.hanging:
            await asyncio.sleep(0.01)
        if half:
            writer.write_eof()
        else:
            writer.transport.abort()
        await asyncio.wait_for(s.app.gone.wait(), 1)
        s.app.hanging[0].write(b"into the void")
        s.app.hanging[0].flush()
        writer.close()


async def test_a_slow_reader_is_held_back_and_then_cut(site: MakeSite) -> None:
    async with site(stall_seconds=0.2) as s:
        _, writer = await s.dial()
        writer.write(b"GET /flood HTTP/1.1\r\n" + H + b"\r\n")
        while not s.app.hanging:
            await asyncio.sleep(0.01)
        exchange = s.app.hanging[0]
        while not s.app.gone.is_set():
            if not exchange.blocked:
                exchange.write(b"a" * 1_000_000)
                exchange.flush()
            await asyncio.sleep(0.01)
        assert s.app.log[-2:] == ["blocked", "gone"]
        writer.close()


async def test_a_reader_that_catches_up(site: MakeSite) -> None:
    async with site() as s:
        reader, writer = await s.dial()
        writer.write(b"GET /flood HTTP/1.1\r\n" + H + CLOSE + b"\r\n")
        while not s.app.hanging:
            await asyncio.sleep(0.01)
        exchange = s.app.hanging[0]
        while not exchange.blocked:
            exchange.write(b"a" * 1_000_000)
            exchange.flush()
            await asyncio.sleep(0)
        while exchange.blocked:
            await reader.read(1_000_000)
        assert s.app.log[-1] == "unblocked"
        exchange.end()
        exchange.end()
        while await reader.read(1_000_000):
            pass
        writer.close()


async def test_a_fault_of_the_app_is_told_and_the_connection_lives(
    site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    async with site() as s:
        answer = await s.talk(b"GET /boom HTTP/1.1\r\n" + H + b"\r\nGET /a HTTP/1.1\r\n" + H + CLOSE + b"\r\n")
        assert statuses(answer) == [500, 200]
        answer = await s.talk(b"GET /boom-late HTTP/1.1\r\n" + H + b"\r\n")
        assert answer == b""
        assert s.app.log.count("fault 500") == 2  # the call is to let go of what it has, though nothing can be told
    assert "request failed" in caplog.text


async def test_draining(site: MakeSite) -> None:
    async with site() as s:
        idle_reader, idle = await s.dial()
        reader, writer = await s.dial()
        writer.write(b"GET /hang HTTP/1.1\r\n" + H + b"\r\n")
        while not s.app.hanging or len(s.listener.connections) < 2:
            await asyncio.sleep(0.01)
        s.listener.drain()
        assert await idle_reader.read() == b""
        s.app.hanging[0].reply(200, [], b"last")
        answer = await reader.read()
        assert b"connection: close" in answer
        assert answer.endswith(b"last")
        idle.close()
        writer.close()


async def test_calls_hear_the_ticks(site: MakeSite) -> None:
    async with site() as s:
        _, writer = await s.dial()
        writer.write(b"GET /hang HTTP/1.1\r\n" + H + b"\r\n")
        while s.app.ticks < 3:
            await asyncio.sleep(0.01)
        assert s.app.hanging[0].peer[0] == "127.0.0.1"
        assert s.app.hanging[0].local[1] == s.port
        assert s.app.hanging[0].connection.trusted is None
        writer.close()
