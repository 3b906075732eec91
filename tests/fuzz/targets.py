"""What is fuzzed, and what must hold: one function a reader of foreign bytes, which takes any bytes and raises AssertionError where a promise is broken.

HTTP is read twice, by the program and by a strict reader of our own: the program may refuse more, but what it takes it must take the same way. All is fed whole
and in pieces, which must make no difference. Whatever else is raised is a finding too.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast
from zlib import crc32

from broker.model.errors import BrokerError
from broker.proxy.headers import to_client
from broker.proxy.wire.client import UpstreamConnection, UpstreamError
from broker.proxy.wire.exchange import Exchange, Limits
from broker.proxy.wire.heads import Headers, ResponseHead
from broker.proxy.wire.listener import Listener
from broker.proxy.wire.server import ServerConnection
from broker.proxy.wire.ticker import Ticker
from broker.translate.eventstream import Frame, FrameError, FrameParser
from broker.translate.multipart import split_form, with_value
from broker.translate.sse import SseEvent, SseParser
from tests.fakes.strict_http import answers, requests

LIMITS = Limits(head_bytes=2048, headers=16, body_bytes=4096)


class Wire(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.out: list[bytes] = []
        self.over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.out.append(bytes(data))

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        self.over = True

    abort = close

    def write_eof(self) -> None:
        self.over = True

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Still:
    """A ticker whose time stands still."""

    now = 0.0

    def time(self) -> float:
        return 0.0

    def add(self, member: object) -> None:
        pass

    discard = add


STILL = cast("Ticker", Still())


def pieces(data: bytes) -> list[list[bytes]]:
    """Return the ways in which bytes are fed: whole, and in pieces of a size that the bytes themselves decide."""
    size = 1 + (sum(data[:8]) + len(data)) % 7
    return [[data], [data[at : at + size] for at in range(0, len(data), size)]]


# --- requests ---


@dataclass
class App:
    """Answers each request at once, and keeps what it was asked."""

    heads: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)

    def open(self, exchange: Exchange) -> "Call":
        return Call(self, exchange)

    def refusal(self, status: int, text: str) -> tuple[Headers, bytes]:
        self.faults.append(status)
        return [], text.encode()


@dataclass
class Call:
    app: App
    exchange: Exchange

    def on_head(self) -> None:
        head = self.exchange.head
        self.app.heads.append((head.method, f"{head.path}?{head.query}" if head.query else head.path))

    def on_body(self, body: bytes) -> None:
        self.app.bodies.append(body)
        if self.exchange.head.path == "/stream":
            self.exchange.start(200, [])
            self.exchange.write(body)
            self.exchange.end()
        else:
            self.exchange.reply(200, [], body)

    def on_fault(self, status: int, text: str) -> None:
        self.app.faults.append(status)
        self.exchange.reply(status, [], text.encode())

    def on_blocked(self, blocked: bool) -> None:
        pass

    def on_gone(self) -> None:
        pass

    def tick(self, now: float) -> None:
        pass


def server(data: bytes) -> None:
    """Requests: the strict reader sees the same ones in the same order, and each gets one answer."""
    # A read for each request, and all of them twice: a head may be known again.
    requested = [each for each in re.split(rb"(?=POST |GET |HEAD )", data) if each]
    for way in [*pieces(data), requested, requested * 2]:
        strict = requests(b"".join(way), lenient=True)
        app, wire = App(), Wire()
        connection = ServerConnection(Listener(app, LIMITS, STILL))
        connection.connection_made(wire)
        for piece in way:
            if not wire.over:
                connection.data_received(piece)
            assert len(connection._headers) <= LIMITS.headers
            assert len(connection._waiting) <= 16
        connection.connection_lost(None)
        assert not [status for status in app.faults if status >= 500 and status not in (501, 505)], app.faults
        assert len(app.heads) <= len(strict.messages), "more requests than there are"
        assert len(app.bodies) <= len(strict.whole), "a body that has no end"
        for (method, target), seen in zip(app.heads, strict.messages, strict=False):
            absolute = re.sub(rb"^[Hh][Tt][Tt][Pp]://[^/]*", b"", seen.first[1])
            assert method.encode() == seen.first[0]
            assert target.encode() in (absolute, absolute.removesuffix(b"?"))
        for body, seen in zip(app.bodies, strict.whole, strict=False):
            assert body == seen.body
        check = answers(b"".join(wire.out), [method for method, _ in app.heads], closed=True)
        assert check.exact, (check.fault, check.rest[:99])
        told = check.whole
        assert len(told) <= len(app.heads) + 1, "more answers than requests"
        assert not any(each.closes for each in told[:-1]), "an answer behind the last"


# --- answers ---


class Home:
    def __init__(self) -> None:
        self.free = False

    def made(self, connection: UpstreamConnection) -> None:
        pass

    def released(self, connection: UpstreamConnection) -> None:
        self.free = True

    def lost(self, connection: UpstreamConnection) -> None:
        self.free = False


@dataclass
class Receiver:
    """Passes an answer on to a client, as a job does, and keeps it."""

    exchange: Exchange
    head: ResponseHead | None = None
    body: bytes = b""
    ends: list[UpstreamError | None] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """What must not happen; an exception would be taken for a fault of the receiver, and be dealt with."""

    def on_response(self, head: ResponseHead) -> None:
        if self.head is not None:
            self.odd.append("a second head")
        self.head = head
        self.exchange.start(head.status, to_client(head.headers, b"1"), head.length)

    def on_data(self, parts: list[bytes]) -> None:
        if self.head is None or self.ends:
            self.odd.append("a body without a head, or behind the end")
            return
        for part in parts:
            self.body += part
            self.exchange.write(part)
        self.exchange.flush()

    def on_done(self, parts: list[bytes]) -> None:
        assert not self.ends
        self.on_data(parts)
        self.ends.append(None)
        self.exchange.end()

    def on_failed(self, failure: UpstreamError) -> None:
        assert not self.ends
        self.ends.append(failure)
        if self.exchange.started:
            self.exchange.abort()
        else:
            self.exchange.reply(502, [], b"bad")


class Asking:
    """A client that waits for one answer: a request that an upstream is to answer, over the server's side of the wire."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.exchanges: list[Exchange] = []
        connection = ServerConnection(Listener(self, LIMITS, STILL))  # type: ignore[arg-type]
        connection.connection_made(self.wire)
        connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        self.receiver = Receiver(self.exchanges[0])

    def open(self, exchange: Exchange) -> "Asking":
        self.exchanges.append(exchange)
        return self

    def on_head(self) -> None:
        pass

    def on_body(self, body: bytes) -> None:
        pass

    def on_gone(self) -> None:
        pass


NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"


def client(data: bytes) -> None:
    """Answers: what is taken is what the strict reader takes, a client gets it whole or is cut, and the next answer is the next."""
    strict = answers(data, ["POST"], lenient=True)
    for way in pieces(data):
        home, asking = Home(), Asking()
        wire, connection = Wire(), UpstreamConnection(home)
        connection.connection_made(wire)
        got = asking.receiver
        connection.send(got, "POST", b"POST / HTTP/1.1\r\n\r\n", b"")
        for piece in way:
            if not wire.over:
                connection.data_received(piece)
            assert len(connection._headers) <= 256
        if home.free and connection.usable:
            assert len(strict.messages) == 1
            assert strict.messages[0].body is not None
            assert not strict.rest, "kept, with something behind the answer"
            home.free = False
            second = Asking().receiver
            connection.send(second, "POST", b"POST / HTTP/1.1\r\n\r\n", b"")
            connection.data_received(NEXT)
            assert (second.body, second.ends) == (b"next", [None])
        connection.connection_lost(None)
        assert not got.odd
        assert len(got.ends) == 1
        _check_answer(data, got)
        _check_told(asking, got)


def _check_answer(data: bytes, got: Receiver) -> None:
    if got.ends != [None]:
        return
    seen = answers(data, ["POST"], closed=True, lenient=True).messages
    assert seen, "an answer that is none"
    assert got.head is not None
    assert (got.head.status, got.body) == (seen[0].status, seen[0].body)


def _check_told(asking: Asking, got: Receiver) -> None:
    told = answers(b"".join(asking.wire.out), ["POST"], closed=True)
    if got.ends == [None]:
        assert told.exact, (told.fault, told.rest[:99])
        assert [each.body for each in told.messages] == [got.body]
    else:
        assert asking.wire.over or told.exact
        assert got.head is None or not told.whole or told.whole[0].to_the_end or asking.wire.over


# --- what lies in bodies ---


def multipart(data: bytes) -> None:
    """Forms: a boundary, LF, and the body. The parts are those between the boundaries, and one can be exchanged without touching the others."""
    boundary, _, body = data.partition(b"\n")
    content_type = f"multipart/form-data; boundary={boundary.decode('latin-1')}"
    try:
        parts = split_form(body, content_type)
    except BrokerError:
        return
    named = re.search(r'boundary="?([^";]*)', content_type)
    assert named is not None
    between = (b"\r\n" + body).split(b"\r\n--" + named[1].rstrip().encode())
    assert len(parts) == len(between) - 2
    end = 0
    for part, text in zip(parts, between[1:-1], strict=True):
        assert end <= part.start <= part.end <= len(body)
        assert text.endswith(b"\r\n\r\n" + body[part.start : part.end])
        end = part.end
    for part in parts:
        changed = with_value(body, part, b"new")
        again = split_form(changed, content_type)
        assert [changed[each.start : each.end] for each in again] == [
            b"new" if each is part else body[each.start : each.end] for each in parts
        ]


def eventstream(data: bytes) -> None:
    """Frames: cuts change nothing, and no byte belongs to two of them. A first byte below 128 says that the checksums are to be put right."""
    if data[:1] < b"\x80":
        data = _summed(data[1:])
    seen: list[tuple[list[Frame], bool]] = []
    for way in pieces(data):
        parser, frames, fault = FrameParser(), [], False
        for piece in way:
            try:
                frames += parser.feed(piece)
            except FrameError as error:
                frames += error.before
                fault = True
                break
            assert parser._held <= len(data)
        seen.append((frames, fault))
    assert seen[0] == seen[1]
    assert sum(len(frame.payload) + 16 for frame in seen[0][0]) <= len(data)


def _summed(data: bytes) -> bytes:
    out, at = bytearray(data), 0
    while len(out) - at >= 16:
        whole = int.from_bytes(out[at : at + 4])
        out[at + 8 : at + 12] = crc32(out[at : at + 8]).to_bytes(4)
        if not 16 <= whole <= len(out) - at:
            break
        out[at + whole - 4 : at + whole] = crc32(out[at : at + whole - 4]).to_bytes(4)
        at += whole
    return bytes(out)


def sse(data: bytes) -> None:
    """Events: those a plain reading of the standard finds, however the bytes are cut."""
    expected = _events(data)
    for way in pieces(data):
        parser = SseParser()
        found: list[SseEvent] = []
        for piece in way:
            found += parser.feed(piece)
        assert [(each.name, each.data) for each in found] == expected
        assert parser._held <= 2 * len(data)


def _events(data: bytes) -> list[tuple[str, bytes]]:
    """Read as the standard says, line by line; what has no blank line behind it does not count."""
    *lines, _ = re.split(rb"\r\n|\r|\n", data.removeprefix(b"\xef\xbb\xbf"))
    out: list[tuple[str, bytes]] = []
    name, held = "", []
    for line in lines:
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if held:
                out.append((name, b"\n".join(held)))
            name, held = "", []
        elif key == b"data":
            held.append(value)
        elif key == b"event":
            name = value.decode("utf-8", "replace")
    return out


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (server, client, multipart, eventstream, sse)
}
