"""What clients see of upstreams that misbehave: the table in docs/faults.md, row by row, for every dialect.

Each row is played to each client dialect, to an upstream of the same dialect and to upstreams of others, whole and streamed; what the client got is told in
a few words, which must be those of the table.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from broker.config import UpstreamConfig
from broker.system import SystemClock
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import Peer, RawUpstream, Script, Taken
from tests.fakes.vendor_words import HALF, error_of, event_of, events_of, response_of, whole_of
from tests.proxy.conftest import MakeProxy, Proxy, dechunk

DOC = Path(__file__).parents[2] / "docs" / "faults.md"
TEXT = "Grüße from upstream"
LIMIT = 20


# --- upstreams ---


@dataclass(frozen=True)
class Vendor:
    """An API: where it is configured, who is logged in there, its model, and what it says."""

    name: str
    account: str
    model: str


OPENAI = Vendor("openai", "openai-api/key", "gpt-4o")
ANTHROPIC = Vendor("anthropic", "anthropic-api/key", "claude-sonnet-4-5")
GEMINI = Vendor("gemini", "gemini-api/key", "gemini-2.5-flash")


# --- faults ---

Play = Callable[[Peer, str, bool], Awaitable[None]]
"""Answers a request for a path, streamed or not."""


def path_of(taken: Taken) -> str:
    return taken.line.split()[1].partition("?")[0]


def script(play: Play) -> Script:
    async def run(peer: Peer, taken: Taken) -> None:
        path = path_of(taken)
        asked = json.loads(taken.body)
        streamed = "streamGenerateContent" in path or bool(asked.get("stream"))
        await play(peer, path, streamed)

    return run


def head(streamed: bool, length: int | None) -> bytes:
    kind = "text/event-stream" if streamed else "application/json"
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def good(peer: Peer, path: str, streamed: bool) -> None:
    await send(peer, path, streamed, TEXT)


async def send(peer: Peer, path: str, streamed: bool, text: str) -> None:
    if streamed:
        await peer.send(head(True, None) + b"".join(map(chunk, events_of(path, text))) + b"0\r\n\r\n")
    else:
        body = whole_of(path, text)
        await peer.send(head(False, len(body)) + body)


def begun(path: str) -> list[bytes]:
    """Return the events up to the first half of the text."""
    said = events_of(path, TEXT)
    at = next(number for number, each in enumerate(said) if TEXT[:HALF].encode() in each)
    return said[: at + 1]


async def trickle(peer: Peer, path: str, streamed: bool) -> None:
    """A byte at a time, so that every boundary there is gets cut."""
    data = b"".join(events_of(path, TEXT)) if streamed else whole_of(path, TEXT)
    await peer.send(head(streamed, None))
    for at in range(len(data)):
        peer.writer.write(chunk(data[at : at + 1]))
        if at % 16 == 0:
            await asyncio.sleep(0)
    await peer.send(b"0\r\n\r\n")


async def closed(peer: Peer, path: str, streamed: bool) -> None:
    peer.writer.close()


async def cut_in_head(peer: Peer, path: str, streamed: bool) -> None:
    await peer.send(head(streamed, None)[:HALF])
    peer.writer.close()


async def cut_after_head(peer: Peer, path: str, streamed: bool) -> None:
    await peer.send(head(streamed, None))
    peer.writer.close()


async def cut_in_body(peer: Peer, path: str, streamed: bool) -> None:
    """After the first half of the text."""
    if streamed:
        await peer.send(head(True, None) + b"".join(map(chunk, begun(path))))
    else:
        body = whole_of(path, TEXT)
        await peer.send(head(False, len(body)) + body[: len(body) // 2])
    peer.writer.close()


async def cut_in_event(peer: Peer, path: str, streamed: bool) -> None:
    """Within an event, in the middle of a character: the half of an umlaut is all that comes of it."""
    data = b"".join(events_of(path, TEXT)) if streamed else whole_of(path, TEXT)
    at = data.index("ü".encode()) + 1
    await peer.send(head(streamed, None) + chunk(data[:at]))
    peer.writer.close()


async def ended_in_character(peer: Peer, path: str, streamed: bool) -> None:
    """The same, but the answer ends as if all were well."""
    data = b"".join(events_of(path, TEXT)) if streamed else whole_of(path, TEXT)
    at = data.index("ü".encode()) + 1
    await peer.send(head(streamed, None) + chunk(data[:at]) + b"0\r\n\r\n")


async def ended_early(peer: Peer, path: str, streamed: bool) -> None:
    """A stream that ends well-framed after the first half of the text, without the dialect's own end."""
    said = begun(path)
    await peer.send(head(True, None) + b"".join(map(chunk, said)) + b"0\r\n\r\n")


async def long_line(peer: Peer, path: str, streamed: bool) -> None:
    await send(peer, path, streamed, TEXT + "x" * (LIMIT << 20))


async def html(peer: Peer, path: str, streamed: bool) -> None:
    page = b"<html><body>Bad Gateway</body></html>"
    await peer.send(b"HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page) + page)


async def html_as_answer(peer: Peer, path: str, streamed: bool) -> None:
    page = b"<html><body>Please log in to this hotel's network</body></html>"
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page) + page)


async def moved(peer: Peer, path: str, streamed: bool) -> None:
    await peer.send(b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n")


async def never(peer: Peer, path: str, streamed: bool) -> None:
    await peer.gone()


async def head_only(peer: Peer, path: str, streamed: bool) -> None:
    await peer.send(head(streamed, None))
    await peer.gone()


async def silent(peer: Peer, path: str, streamed: bool) -> None:
    """Says the first half of the text, then nothing more."""
    if streamed:
        await peer.send(head(True, None) + b"".join(map(chunk, begun(path))))
    else:
        body = whole_of(path, TEXT)
        await peer.send(head(False, len(body)) + body[: len(body) // 2])
    await peer.gone()


async def not_http(peer: Peer, path: str, streamed: bool) -> None:
    await peer.send(b"+OK ready\r\n\r\n")
    await peer.gone()


async def error_event(peer: Peer, path: str, streamed: bool) -> None:
    """An error of the vendor's own, after the first half of the text."""
    said = begun(path)
    if path.endswith("/messages"):
        last = event_of("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    elif path.endswith("/responses"):
        failed = response_of("", "failed") | {"error": {"code": "server_error", "message": "Overloaded"}}
        last = event_of("response.failed", {"type": "response.failed", "sequence_number": 9, "response": failed})
    elif path.endswith("/chat/completions"):
        last = event_of("", {"error": {"message": "Overloaded", "type": "server_error", "code": None}})
    else:
        last = event_of("", {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}})
    await peer.send(head(True, None) + b"".join(map(chunk, [*said, last])) + b"0\r\n\r\n")


def refused(status: int, *headers: str, **google: object) -> Play:
    async def play(peer: Peer, path: str, streamed: bool) -> None:
        body = error_of(path, status, f"upstream says {status}", **google)
        lines = [f"HTTP/1.1 {status} Bad", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
        await peer.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return play


def delayed(seconds: str) -> dict[str, object]:
    return {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": seconds}]}


@dataclass(frozen=True)
class Row:
    """What the upstream does with its first requests; the last entry is for all further ones."""

    name: str
    plays: tuple[Play, ...]
    modes: tuple[bool, ...] = (False, True)
    vendors: tuple[Vendor, ...] = (OPENAI, ANTHROPIC, GEMINI)


STREAMED = (True,)
ROWS = (
    Row("comes a byte at a time", (trickle,)),
    Row("a line of 20 MB", (long_line,), STREAMED),
    Row("closes without an answer", (closed,)),
    Row("closes without an answer, twice", (closed, closed, good)),
    Row("cut within its head", (cut_in_head,)),
    Row("cut after its head", (cut_after_head,)),
    Row("cut half-way through its body", (cut_in_body,)),
    Row("cut within a character", (cut_in_event,)),
    Row("ends within a character", (ended_in_character,)),
    Row("ends without its last event", (ended_early,), STREAMED),
    Row("an error event half-way", (error_event,), STREAMED),
    Row("never answers", (never,)),
    Row("a head, then nothing", (head_only,)),
    Row("falls silent half-way", (silent,)),
    Row("no HTTP", (not_http,)),
    Row("401, once", (refused(401), good)),
    Row("401, always", (refused(401),)),
    Row("403", (refused(403),)),
    Row("404", (refused(404),)),
    Row("400", (refused(400),)),
    Row("429, `Retry-After: 2`, once", (refused(429, "Retry-After: 2"), good)),
    Row("429, `Retry-After: 60`", (refused(429, "Retry-After: 60"),)),
    Row("429, `Retry-After` as a date a minute away", (refused(429, "Retry-After: DATE"),)),
    Row("429, `Retry-After` of 18 days", (refused(429, "Retry-After: 1555200"),)),
    Row("429, `RetryInfo.retryDelay` of 60 s", (refused(429, **delayed("60s")),), vendors=(GEMINI,)),
    Row("429 without a hint", (refused(429),)),
    Row("500", (refused(500),)),
    Row("503, twice", (refused(503), refused(503), good)),
    Row("503, `Retry-After: 60`", (refused(503, "Retry-After: 60"),)),
    Row("529", (refused(529),)),
    Row("502 with a page of HTML", (html,)),
    Row("200 with a page of HTML", (html_as_answer,)),
    Row("302", (moved,)),
)


# --- clients ---


@dataclass(frozen=True)
class Client:
    """A dialect of clients: the vendor that speaks it too, and how a request is written."""

    name: str
    own: Vendor

    def request(self, model: str, streamed: bool) -> tuple[str, dict[str, Any]]:
        if self.name == "gemini":
            action = "streamGenerateContent?alt=sse" if streamed else "generateContent"
            return f"/v1beta/models/{model}:{action}", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        body: dict[str, Any] = {"model": model, "stream": streamed}
        if self.name == "responses":
            return "/v1/responses", body | {"input": "hi"}
        said = body | {"messages": [{"role": "user", "content": "hi"}]}
        if self.name == "messages":
            return "/v1/messages", said | {"max_tokens": 100}
        return "/v1/chat/completions", said


CLIENTS = (
    Client("chat", OPENAI),
    Client("responses", OPENAI),
    Client("messages", ANTHROPIC),
    Client("gemini", GEMINI),
)


def texts(value: object) -> str:
    """Join every text an answer says, of whichever dialect."""
    if isinstance(value, dict):
        kind = str(value.get("type", ""))
        if kind.startswith("response.") and kind != "response.output_text.delta":
            return ""
        keys = ("content", "text", "delta", "message", "choices", "candidates", "parts", "output")
        return "".join(
            value[key] if isinstance(value.get(key), str) and key != "message" else texts(value.get(key))
            for key in keys
        )
    return "".join(map(texts, value)) if isinstance(value, list) else ""


def datas(body: bytes) -> list[Any]:
    found = []
    for block in re.split(rb"\r?\n\r?\n", body):
        lines = [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]
        if lines:
            joined = b"\n".join(lines).strip()
            found.append("[DONE]" if joined == b"[DONE]" else json.loads(joined))
    return found


def own_error(client: Client, value: Any) -> bool:
    """Tell whether an error has the client's own shape."""
    if not isinstance(value, dict):
        return False
    if client.name == "responses" and value.get("type") in ("response.failed", "error"):
        return True
    error = value.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return False
    if client.name == "messages":
        return value.get("type") == "error" and isinstance(error.get("type"), str)
    if client.name == "gemini":
        return isinstance(error.get("code"), int) and isinstance(error.get("status"), str)
    return isinstance(error.get("type"), str)


def complete(client: Client, told: list[Any]) -> bool:
    """Tell whether a stream has its dialect's own end."""
    last = told[-1] if told else None
    if client.name == "chat":
        return last == "[DONE]"
    if client.name == "gemini":
        return isinstance(last, dict) and "finishReason" in last.get("candidates", [{}])[0]
    ends = {"responses": "response.completed", "messages": "message_stop"}
    return isinstance(last, dict) and last.get("type") == ends[client.name]


async def seen(p: Proxy, client: Client, vendor: Vendor, streamed: bool) -> str:
    """Ask once, and say in a few words what came."""
    path, body = client.request(vendor.model, streamed)
    reader, writer = await p.dial()
    extra = {"anthropic_version": "2023-06-01"} if client.name == "messages" else {}
    writer.write(p.request("POST", path, json.dumps(body).encode(), connection="close", **extra))
    raw = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    top, _, rest = raw.partition(b"\r\n\r\n")
    status = int(top.split()[1])
    lines = dict(line.lower().split(b": ", 1) for line in top.split(b"\r\n")[1:])
    try:
        got = dechunk(rest) if lines.get(b"transfer-encoding") == b"chunked" else rest
        whole = len(got) == int(lines.get(b"content-length", len(got)))
    except (AssertionError, ValueError):
        return "answer, cut" if status == 200 else f"{status}, cut"
    if not whole:
        return "answer, cut"
    if status != 200:
        assert own_error(client, json.loads(got)), got
        wait = lines.get(b"retry-after")
        return f"{status}" + (f", `Retry-After: {wait.decode()}`" if wait else "")
    return streamed_words(client, got) if lines[b"content-type"].startswith(b"text/event-stream") else words(got)


def words(got: bytes) -> str:
    try:
        said = texts(json.loads(got))
    except ValueError:
        return "as it came"
    return "answer" if said == TEXT else f"answer of {len(said)} characters"


def streamed_words(client: Client, got: bytes) -> str:
    try:
        told = datas(got)
    except ValueError:
        return "as it came"
    said = "".join(texts(each) for each in told)
    if told and own_error(client, told[-1]) and (client.name != "responses" or "type" in told[-1]):
        return "part, then an error event" if said else "an error event"
    if not complete(client, told):
        return "part, no end"
    return "answer" if said.startswith(TEXT) else "part, as if whole"


def daemon_of(vendor: Vendor) -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(account(vendor.account, lease(vendor.account, "fake-key-1")))
    daemon.renew = lambda name: lease(name, "fake-key-2", 2)
    return daemon


async def played(proxy: MakeProxy, row: Row, client: Client, vendor: Vendor, streamed: bool) -> str:
    date = formatdate(SystemClock().now().wall + 60, usegmt=True)
    plays = [refused(429, f"Retry-After: {date}") if "date" in row.name else each for each in row.plays]
    quick = {"headers_timeout": 0.3, "first_byte_timeout": 0.3, "idle_timeout": 0.3} if _waits(row) else {}
    async with RawUpstream([script(each) for each in plays]) as upstream:
        there = {vendor.name: UpstreamConfig(base_url=upstream.url)}
        async with proxy(daemon_of(vendor), upstreams=there, **quick) as p:
            told = await seen(p, client, vendor, streamed)
        times = len(upstream.requests)
        # Of a date less is left with each second that passes.
        told = re.sub(r"Retry-After: [45]\d\b", "Retry-After: 60", told)
        return told + (f" ({times} requests)" if times > 1 else "")


def _waits(row: Row) -> bool:
    return any(play in (never, head_only, silent) for play in row.plays)


COLUMNS = [(False, True), (False, False), (True, True), (True, False)]
"""Streamed, untouched."""


def table() -> dict[str, list[str]]:
    found = {}
    for line in DOC.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 1 + len(COLUMNS):
            found[cells[0]] = cells[1:]
    return found


def test_the_table_has_these_rows() -> None:
    assert [name for name in table() if name != "the upstream"] == [row.name for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_what_each_client_sees(proxy: MakeProxy, row: Row) -> None:
    expected = dict(zip(COLUMNS, table()[row.name], strict=True))
    cases = [
        (client, vendor, streamed)
        for client in CLIENTS
        for vendor in row.vendors
        for streamed in row.modes
        if row.plays != (long_line,) or client.name == "chat"
    ]
    told = await asyncio.gather(*(played(proxy, row, *case) for case in cases))
    wrong = [
        f"{client.name} at {vendor.name}, {'streamed' if streamed else 'whole'}: {each!r}"
        for (client, vendor, streamed), each in zip(cases, told, strict=True)
        if each != expected[streamed, vendor is client.own]
    ]
    assert not wrong, "\n".join(wrong)
