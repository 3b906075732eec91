"""Framing through a whole worker: nothing is forwarded that could be read in two ways.

An upstream keeps every byte it gets. Whatever a client sends, a strict reader of our own must find there exactly the requests that were accepted, and in what
the client gets exactly one answer for each. What upstreams send is in test_framing_answers.
"""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from tests.fakes.framing_rig import ASKED, CLOSE, HIDDEN, JSON, KEY, PATH, Rig, chat, rigged, said, statuses
from tests.fakes.recording_upstream import Line
from tests.fakes.strict_http import Message
from tests.fakes.upstream import answer
from tests.proxy.conftest import MakeProxy

MakeRig = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def rig(proxy: MakeProxy) -> MakeRig:
    return partial(rigged, proxy)


# --- what a client sends ---

C = b"Transfer-Encoding: chunked\r\n"


def in_chunks(data: bytes, size: bytes = b"%x", end: bytes = b"\r\n") -> bytes:
    return size % len(data) + b"\r\n" + data + end + b"0\r\n\r\n"


REFUSED = {
    "a length and chunks": (b"Content-Length: 4\r\n" + C, in_chunks(ASKED), 400),
    "chunks and a length": (C + b"Content-Length: 4\r\n", in_chunks(ASKED), 400),
    "chunked by another name": (b"Transfer-Encoding: xchunked\r\n", in_chunks(ASKED), 501),
    "chunked with a parameter": (b"Transfer-Encoding: chunked;q=1\r\n", in_chunks(ASKED), 501),
    "chunked, and then something": (b"Transfer-Encoding: chunked, identity\r\n", in_chunks(ASKED), 400),
    "two codings in two fields": (C + b"Transfer-Encoding: identity\r\n", in_chunks(ASKED), 400),
    "an empty coding before a length": (b"Transfer-Encoding:\r\nContent-Length: 4\r\n", ASKED, 400),
    "a folded coding": (b"Transfer-Encoding:\r\n chunked\r\n", in_chunks(ASKED), 400),
    "a coding with white space before its colon": (b"Transfer-Encoding : chunked\r\n", in_chunks(ASKED), 400),
    "two different lengths": (b"Content-Length: 4\r\nContent-Length: %d\r\n" % len(ASKED), ASKED, 400),
    "one length twice": (b"Content-Length: %d\r\n" % len(ASKED) * 2, ASKED, 400),
    "a length with a sign": (b"Content-Length: +%d\r\n" % len(ASKED), ASKED, 400),
    "a length with a space inside": (b"Content-Length: 6 5\r\n", ASKED, 400),
    "a length in hexadecimal": (b"Content-Length: 0x10\r\n", ASKED, 400),
    "a length with a point": (b"Content-Length: 4.0\r\n", ASKED, 400),
    "a length beyond 64 bits": (b"Content-Length: 18446744073709551617\r\n", ASKED, 400),
    "a length of 64 bits": (b"Content-Length: 18446744073709551615\r\n", ASKED, 413),
    "a length of 63 bits": (b"Content-Length: 9223372036854775807\r\n", ASKED, 413),
    "a size with a sign": (C, in_chunks(ASKED, b"+%x"), 400),
    "a size with a space before": (C, in_chunks(ASKED, b" %x"), 400),
    "a size with a space behind": (C, in_chunks(ASKED, b"%x "), 400),
    "a size with 0x": (C, in_chunks(ASKED, b"0x%x"), 400),
    "a size with an underscore": (C, b"4_1\r\n" + ASKED + b"\r\n0\r\n\r\n", 400),
    "a size beyond 64 bits": (C, b"1000000000000000f\r\n" + ASKED + b"\r\n0\r\n\r\n", 400),
    "a chunk without its end": (C, in_chunks(ASKED, end=b""), 400),
    "a chunk that ends with LF": (C, in_chunks(ASKED, end=b"\n"), 400),
    "a chunk that ends with CR": (C, in_chunks(ASKED, end=b"\r"), 400),
    "a size line that ends with LF": (C, b"%x\n%b\n0\n\n" % (len(ASKED), ASKED), 400),
    "an extension with LF": (C, in_chunks(ASKED, b"%x;a\n"), 400),
    "an extension with CR": (C, in_chunks(ASKED, b"%x;a\rb"), 400),
    "an extension without a name": (C, in_chunks(ASKED, b"%x;"), 400),
    "an end of line in a quoted extension": (C, in_chunks(ASKED, b'%x;a="\r\n"'), 400),
    "a length in a trailer": (C, in_chunks(ASKED)[:-2] + b"Content-Length: 5\r\n\r\n", 400),
    "a coding in a trailer": (C, in_chunks(ASKED)[:-2] + C + b"\r\n", 400),
    "a folded trailer": (C, in_chunks(ASKED)[:-2] + b"X: a\r\n b\r\n\r\n", 400),
    "a trailer with LF": (C, in_chunks(ASKED)[:-2] + b"X: a\nY: b\r\n\r\n", 400),
    "a folded field": (b"X: a\r\n b\r\n", ASKED, 400),
    "a folded length": (b"Content-Length:\r\n 4\r\n", ASKED, 400),
    "LF in a value": (b"X: a\nContent-Length: 4\r\n", ASKED, 400),
    "CR in a value": (b"X: a\rContent-Length: 4\r\n", ASKED, 400),
    "NUL in a value": (b"X: a\0b\r\n", ASKED, 400),
    "a control character in a value": (b"X: a\x0bb\r\n", ASKED, 400),
    "DEL in a value": (b"X: a\x7fb\r\n", ASKED, 400),
    "a name outside of ASCII": (b"X\xc3\xa9: a\r\n", ASKED, 400),
    "a name with a space": (b"X Y: a\r\n", ASKED, 400),
    "a name with a separator": (b"X(y): a\r\n", ASKED, 400),
    "a length whose name begins with a space": (b"X: a\r\n Content-Length: 4\r\n", ASKED, 400),
    "a second host": (b"Host: evil\r\n", ASKED, 400),
    "an upgrade to h2c": (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", ASKED, 501),
    "an upgrade nobody named in Connection": (b"Upgrade: websocket\r\n", ASKED, 501),
    "many fields": (b"X: y\r\n" * 129, ASKED, 431),
    "many fields without a value": (b"X:\r\n" * 10_000, ASKED, 431),
    "a huge field": (b"X: " + b"a" * 66_000 + b"\r\n", ASKED, 431),
    "a huge name": (b"X" * 66_000 + b": a\r\n", ASKED, 431),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_could_be_read_in_two_ways_is_refused_and_so_is_all_that_follows(rig: MakeRig, name: str) -> None:
    fields, body, expected = REFUSED[name]
    async with rig() as r:
        heard = await r.say(r.post(fields, body) + r.post(CLOSE, HIDDEN))
        assert statuses(heard) == [expected]
        assert heard.messages[0].closes
        assert r.forwarded == []


TAKEN = {
    "a body in chunks": (C, in_chunks(ASKED)),
    "a size in capitals with zeros": (C, in_chunks(ASKED, b"0000%X")),
    "extensions": (C, in_chunks(ASKED, b'%x;a;b=c;d="; e"')),
    "trailers": (C, in_chunks(ASKED)[:-2] + b"X-Late: 1\r\nAuthorization: Bearer evil\r\n\r\n"),
    "white space around a length": (b"Content-Length: \t %d \t\r\n" % len(ASKED), ASKED),
    "a length with zeros before it": (b"Content-Length: 000%d\r\n" % len(ASKED), ASKED),
    "bytes above ASCII in a value": (b"X: \xc3\xa9\xff\r\n", ASKED),
    "an empty value": (b"X:\r\n", ASKED),
    "as many fields as there may be": (b"X: y\r\n" * 120, ASKED),
    "a quote that stays open": (b'X: "a\r\n', ASKED),
    "TE": (b"TE: trailers\r\nConnection: TE\r\n", ASKED),
    "settings of HTTP/2 alone": (b"HTTP2-Settings: AAMAAABk\r\n", ASKED),
    "framing named by Connection": (b"Connection: content-length, transfer-encoding, host, content-type\r\n", ASKED),
    "credentials named by Connection": (b"Connection: authorization, x-goog-api-key\r\n", ASKED),
    "a length by another spelling": (b"Content_Length: 4\r\nTransfer_Encoding: chunked\r\n", ASKED),
    "a body with lines": (b"", ASKED[:-1] + b"\r\n\r\n}"),
    "empty lines before the next": (b"", ASKED),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
async def test_what_is_taken_arrives_as_one_request_and_the_next_one_as_another(rig: MakeRig, name: str) -> None:
    fields, body = TAKEN[name]
    async with rig() as r:
        between = b"\r\n\r\n" if "empty lines" in name else b""
        heard = await r.say(r.post(fields, body) + between + r.post(CLOSE, chat("second")))
        assert statuses(heard) == [200, 200]
        first, second = r.upstream.requests
        assert first.body == (ASKED if b"chunked\r\n" in fields and b"_" not in fields else body)
        assert second.body == chat("second")
        for each in (first, second):
            assert each.all("content-length") == [b"%d" % len(each.body or b"")]
            assert each.all("host") == [b"127.0.0.1:%d" % r.upstream.port]
            assert each.all("authorization") == [b"Bearer fake-key-1"]
            named = {key.lower().replace(b"_", b"-") for key, _ in each.fields if key.lower() != b"content-length"}
            assert named.isdisjoint(
                {b"transfer-encoding", b"content-length", b"te", b"connection", b"trailer", b"x-late", b"upgrade", b"http2-settings"}
            )  # fmt: skip


async def test_requests_sent_ahead_stay_apart_and_in_order(rig: MakeRig) -> None:
    async def last_first(line: Line, taken: Message) -> None:
        number = json.loads(taken.body or b"")["messages"][0]["content"]
        await asyncio.sleep(0.01 if number == "0" else 0)
        await line.send(answer(said(number), "200 OK", JSON))

    async with rig(last_first) as r:
        sent = [r.post(C if at % 2 else b"", in_chunks(chat(str(at))) if at % 2 else chat(str(at))) for at in range(9)]
        heard = await r.say(b"".join(sent) + r.post(CLOSE, chat("9")))
        told = [json.loads(each.body or b"")["choices"][0]["message"]["content"] for each in heard.messages]
        assert told == [str(at) for at in range(10)]
        assert r.forwarded == [chat(str(at)) for at in range(10)]
        assert len(r.upstream.lines) == 1


async def test_a_request_of_bad_framing_behind_good_ones_is_the_last(rig: MakeRig) -> None:
    async with rig() as r:
        heard = await r.say(r.post() + r.post(b"Content-Length: 4\r\n" + C, in_chunks(ASKED)) + r.post(CLOSE, HIDDEN))
        assert statuses(heard) == [200, 400]
        assert r.forwarded == [ASKED]


async def test_a_body_is_asked_for_once_and_no_expectation_goes_on(rig: MakeRig) -> None:
    async with rig() as r:
        reader, writer = await r.proxy.dial()
        expecting = r.post(b"Expect: 100-continue\r\n")
        writer.write(expecting[: -len(ASKED)])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(ASKED + r.post(b"Expect: 100-Continue\r\n" + CLOSE, chat("second")))
        assert statuses(await r.hear(reader)) == [200, 200]
        assert r.forwarded == [ASKED, chat("second")]
        assert not any(each.all("expect") for each in r.upstream.requests)
        refused = expecting.replace(KEY, b"not-a-key")
        assert statuses(await r.say(refused)) == [401]
        assert statuses(await r.say(r.post(b"Expect: 100-continue, wonders\r\n"))) == [417]
        assert r.forwarded == [ASKED, chat("second")]


@pytest.mark.parametrize("fields", [b"", C])
async def test_an_answer_before_the_body_is_the_last_on_its_connection(rig: MakeRig, fields: bytes) -> None:
    async with rig() as r:
        body = in_chunks(ASKED) if fields else ASKED
        refused = r.post(fields, body).replace(KEY, b"not-a-key")
        for sent in ((refused + r.post(CLOSE, HIDDEN),), (refused[:-70], refused[-70:] + r.post(CLOSE, HIDDEN))):
            heard = await r.say(*sent)
            assert statuses(heard) == [401]
            assert heard.messages[0].closes
        assert r.forwarded == []


TARGETS = {
    "absolute form": (b"http://HOST/v1/chat/completions", 200),
    "absolute form in capitals": (b"HTTP://HOST/v1/chat/completions", 200),
    "absolute form of another host": (b"http://evil/v1/chat/completions", 400),
    "absolute form with a user": (b"http://user@HOST/v1/chat/completions", 400),
    "absolute form of https": (b"https://HOST/v1/chat/completions", 400),
    "absolute form without a path": (b"http://HOST", 400),
    "authority form": (b"HOST", 400),
    "asterisk form": (b"*", 400),
    "a path without its slash": (b"v1/chat/completions", 400),
    "two slashes": (b"//v1/chat/completions", 404),
    "a dot": (b"/v1/./chat/completions", 404),
    "a dot, encoded": (b"/v1/%2e%2e/v1/chat/completions", 404),
    "an end of line, encoded, in the path": (b"/v1/chat/completions%0d%0aHost:%20evil", 404),
    "an end of line, encoded, in the query": (b"/v1/chat/completions?x=%0d%0aHost:%20evil", 200),
    "NUL, encoded, in the query": (b"/v1/chat/completions?x=%00", 200),
    "a space": (b"/v1/chat/completions?x= HTTP/1.1", 400),
    "CR": (b"/v1/chat/completions?x=\rHost:", 400),
    "LF, which ends the line of an HTTP/0.9": (b"/v1/chat/completions?x=\nHost:", 505),
    "NUL": (b"/v1/chat/completions?x=\0", 400),
    "a tab": (b"/v1/chat/completions?x=\t", 400),
    "DEL": (b"/v1/chat/completions?x=\x7f", 400),
    "a byte above ASCII": (b"/v1/chat/completions?x=\xe9", 400),
    "a fragment": (b"/v1/chat/completions?x#y", 400),
    "a backslash": (b"/v1\\chat/completions", 404),
    "a long query": (b"/v1/chat/completions?" + b"x" * 9000, 414),
    "a model with an end of line": (b"/v1beta/models/gemini-2.5-pro%0d%0aHost:%20evil:generateContent", 400),
    "a model with a query": (b"/v1beta/models/gemini-2.5-pro%3fx=y:generateContent", 200),
    "a model that climbs": (b"/v1beta/models/gemini-api%2fgemini-2.5-pro%2f..%2f..%2ffiles:generateContent", 400),
    "a model that climbs at once": (b"/v1beta/models/gemini-api%2f..%2f..%2ffiles%2fx:generateContent", 400),
    "a model that stays": (b"/v1beta/models/gemini-api%2f.%2ffiles:generateContent", 400),
    "a model with a slash": (b"/v1beta/models/gemini-api%2ftuned%2fmine:generateContent", 200),
    "a model that climbs, twice encoded": (b"/v1beta/models/gemini-2.5-pro%252f..%252fx:generateContent", 200),
    "a model outside of ASCII": (b"/v1beta/models/gemini-%c3%a9%ff:generateContent", 200),
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
async def test_a_target_is_one_target_or_refused(rig: MakeRig, name: str) -> None:
    target, expected = TARGETS[name]
    async with rig() as r:
        heard = await r.say(r.post(CLOSE, target=target.replace(b"HOST", b"127.0.0.1:%d" % r.proxy.port)))
        assert statuses(heard) == [expected], heard.messages[0].body
        assert len(r.upstream.requests) == (expected == 200)
        for taken in r.upstream.requests:
            path = taken.first[1].partition(b"?")[0]
            assert path in (PATH.removeprefix(b"/v1"), path)
            assert not re.search(rb"/\.\.?(/|$)|[^!-~]", path)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (b"Host: 127.0.0.1:%d\r\nHost: 127.0.0.1:%d\r\n", 400),
        (b"Host: 127.0.0.1:%d, evil:%d\r\n", 403),
        (b"Host: 127.0.0.1:%d evil:%d\r\n", 403),
        (b"Host: evil@127.0.0.1:%d%.0d\r\n", 403),
        (b"Host: 127.0.0.1:%d%.0d/x\r\n", 403),
        (b"Host:\r\nX: %d%d\r\n", 403),
        (b"X-Host: 127.0.0.1:%d%d\r\n", 400),
    ],
)
async def test_a_host_is_one_host_or_refused(rig: MakeRig, hosts: bytes, expected: int) -> None:
    async with rig() as r:
        assert statuses(await r.say(r.post(CLOSE, host=hosts % (r.proxy.port, r.proxy.port)))) == [expected]
        assert r.forwarded == []


@pytest.mark.parametrize("text", ["a\r\nX: y", "a\0", "é", "a\x7f"])
async def test_what_a_body_says_never_ends_up_as_a_line_of_a_head(rig: MakeRig, text: str) -> None:
    body = {**json.loads(ASKED), "user": text, "session_id": text, "prompt_cache_key": text}
    async with rig() as r:
        seen = 0
        for model in ("gpt-4o", "gpt-4o" + text, "gemini-2.5-pro" + text, "gemini-api/../../files/x"):
            await r.say(r.post(CLOSE, json.dumps({**body, "model": model}).encode()))
            assert len(r.upstream.requests) - seen <= ("/.." not in model)
            seen = len(r.upstream.requests)
        assert r.upstream.requests
        for taken in r.upstream.requests:
            assert not taken.all("x")
            assert not re.search(rb"/\.\.?(/|$)|[^!-~]", taken.first[1])
