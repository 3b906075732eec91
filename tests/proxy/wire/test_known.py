"""Heads that are known again: only where parsing would have read the same."""

import weakref
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.wire import server
from broker.proxy.wire.exchange import Exchange, Limits
from broker.proxy.wire.heads import Headers, RequestHead, check_request
from broker.proxy.wire.known import Alike, Known, learn
from broker.proxy.wire.listener import Listener
from broker.proxy.wire.server import ServerConnection

HEADERS: Headers = [(b"host", b"x"), (b"content-length", b"5"), (b"x-a", b"b")]
TEXT = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-A: b\r\n\r\n"
HEAD = check_request(b"POST", b"/a", HEADERS, "1.1")
BARE = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def known(text: bytes = TEXT, head: RequestHead = HEAD, body: bytes = b"abcde") -> Known:
    made = learn(text + body, head)
    assert made is not None
    return made


def test_a_head_is_known_again_whatever_the_length_of_the_body() -> None:
    same = known().read(TEXT + b"fghij")
    assert same == (HEAD, b"fghij")
    assert same[0] is HEAD
    HEAD.made["note"] = 1
    head, body = known().read(TEXT.replace(b": 5", b": 11") + b"hello world") or (HEAD, b"")
    assert (head.length, body, head.made) == (11, b"hello world", {"note": 1})
    HEAD.made.clear()
    assert known().read(TEXT.replace(b": 5", b": 0")) is not None


@pytest.mark.parametrize(
    "data",
    [
        TEXT + b"fghi",
        TEXT + b"fghijk",
        TEXT.replace(b": 5", b": 11") + b"hello",
        TEXT.replace(b": 5", b": +5") + b"abcde",
        TEXT.replace(b": 5", b": ") + b"abcde",
        TEXT.replace(b": 5", b": 5 ") + b"abcde",
        TEXT.replace(b": 5", b": 5, 5") + b"abcde",
        TEXT.replace(b": 5", b": 0x5") + b"abcde",
        TEXT.replace(b": 5", b": " + b"0" * 20 + b"5") + b"abcde",
        TEXT.replace(b"X-A: b", b"X-A: c") + b"abcde",
        TEXT.replace(b"X-A: b", b"Content-Length: 5") + b"abcde",
        TEXT.replace(b"/a", b"/b") + b"abcde",
        TEXT[:-2],
        b"",
    ],
)
def test_nothing_else_is(data: bytes) -> None:
    assert known().read(data) is None


def test_empty_lines_around_a_request_are_not_taken_for_a_part_of_its_head() -> None:
    assert learn(TEXT + b"\r\nabc" + b"\r\n", HEAD) is None
    assert learn(b"\r\n\r\n" + TEXT + b"abcde", HEAD) is None
    assert learn(BARE + b"\r\n", check_request(b"GET", b"/a", [(b"host", b"x")], "1.1")) is None


def test_a_head_without_a_body() -> None:
    head = check_request(b"GET", b"/a", [(b"host", b"x")], "1.1")
    found = known(BARE, head, b"")
    assert found.read(BARE) == (head, b"")
    assert found.read(BARE + b"G") is None
    assert found.read(BARE[:-1]) is None


@pytest.mark.parametrize(
    ("text", "headers", "version"),
    [
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            [(b"host", b"x"), (b"connection", b"close")],
            "1.1",
        ),
        (b"GET /a HTTP/1.0\r\n\r\n", [], "1.0"),
        (b"GET /a", [(b"host", b"x")], "1.1"),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            [(b"host", b"x"), (b"transfer-encoding", b"chunked")],
            "1.1",
        ),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
            [(b"host", b"x"), (b"expect", b"100-continue"), (b"content-length", b"0")],
            "1.1",
        ),
        # However it was folded: a length that is not found again is not learnt.
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n 0\r\n\r\n",
            [(b"host", b"x"), (b"content-length", b"0")],
            "1.1",
        ),
    ],
)
def test_heads_that_are_better_read_each_time(text: bytes, headers: Headers, version: str) -> None:
    assert learn(text, check_request(b"POST", b"/a", headers, version)) is None


class Clock:
    """A ticker that stands still."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def add(self, member: object) -> None:
        pass

    def discard(self, member: object) -> None:
        pass


@dataclass
class Wire:
    """A transport that keeps what is written; what llhttp says of a bad request is not compared."""

    out: bytes = b""
    closed: bool = False

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> object:
        return None

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        self.out += data

    def writelines(self, data: list[bytes]) -> None:
        self.out += b"".join(data)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    abort = close


@dataclass
class Seen:
    """An app that notes every request and answers it."""

    log: list[object] = field(default_factory=list)
    exchange: Exchange | None = None

    def open(self, exchange: Exchange) -> "Seen":
        self.exchange = exchange
        return self

    def refusal(self, status: int, text: str) -> tuple[Headers, bytes]:
        return [], b""

    def on_head(self) -> None:
        pass

    def on_body(self, body: bytes) -> None:
        assert self.exchange is not None
        head = self.exchange.head
        self.log.append((head.method, head.path, head.query, tuple(head.headers), head.length, head.keep_alive, body))
        self.exchange.reply(200, [], body)

    def on_fault(self, status: int, text: str) -> None:
        assert self.exchange is not None
        self.log.append(status)
        self.exchange.reply(status, [])


MESSAGES = st.sampled_from([
    TEXT + b"abcde",
    TEXT + b"fghij",
    TEXT.replace(b": 5", b": 3") + b"abc",
    TEXT.replace(b": 5", b": 3") + b"abcde",
    TEXT.replace(b": 5", b":5") + b"abcde",
    TEXT.replace(b": 5", b": 05") + b"abcde",
    TEXT.replace(b": 5", b": 5x") + b"abcde",
    TEXT.replace(b": 5", b": 5000") + b"a" * 5000,
    TEXT.replace(b"X-A: b", b"X-A: c") + b"abcde",
    TEXT.replace(b"X-A: b", b"Connection: close") + b"abcde",
    TEXT.replace(b"X-A: b", b"Transfer-Encoding: chunked") + b"abcde",
    b"\r\n" + TEXT + b"abcde",
    TEXT + b"abcde\r\n",
    TEXT + b"abcde" + TEXT + b"fghij",
    TEXT + b"abcde" + BARE[:9],
    TEXT[:30],
    BARE,
    BARE[:12],
    BARE[12:],
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    TEXT[30:] + b"abcde",
    b"abcde",
])  # fmt: skip


def listening(app: Seen, limits: Limits) -> Listener:
    listener = Listener.__new__(Listener)
    listener.app, listener.limits, listener.ticker = app, limits, Clock()  # type: ignore[assignment]
    listener.admit, listener.connections, listener.draining = (lambda _: True), set(), False
    listener.alike, listener.turn = Alike(), None
    return listener


def connected(listener: Listener, wire: Wire) -> ServerConnection:
    connection = ServerConnection(listener)
    connection.connection_made(wire)  # type: ignore[arg-type]
    return connection


def served(messages: list[tuple[int, bytes]], *, knowing: bool) -> tuple[list[object], list[bytes], list[bool]]:
    app, wires = Seen(), [Wire(), Wire()]
    listener = listening(app, Limits(body_bytes=4000))
    connections = [connected(listener, wire) for wire in wires]
    for number, message in messages:
        if not knowing:
            connections[number]._known, listener.alike = None, Alike()
        connections[number].data_received(message)
    return app.log, [wire.out for wire in wires], [wire.closed for wire in wires]


@given(st.lists(st.tuples(st.integers(0, 1), MESSAGES), min_size=1, max_size=12))
def test_what_is_known_again_is_served_as_what_is_read(messages: list[tuple[int, bytes]]) -> None:
    assert served(messages, knowing=True) == served(messages, knowing=False)


def test_what_was_made_of_a_head_is_made_once_for_all_connections_of_a_peer() -> None:
    alike = Alike()
    mine, same = alike.learn(TEXT + b"abcde", HEAD, ("::1", None)), alike.learn(TEXT + b"fghij", HEAD, ("::1", None))
    assert mine is same is not None
    longer = alike.learn(TEXT.replace(b": 5", b": 3") + b"abc", msgspec.structs.replace(HEAD, length=3), ("::1", None))
    assert longer is mine  # the length does not tell heads apart
    assert alike.learn(TEXT + b"abcde", HEAD, ("::2", None)) is not mine
    assert alike.learn(TEXT + b"abcde", HEAD, ("::1", True)) is not mine
    assert alike.learn(TEXT.replace(b"X-A: b", b"X-A: c") + b"abcde", HEAD, ("::1", None)) is not mine
    assert alike.learn(BARE + b"\r\n", check_request(b"GET", b"/a", [(b"host", b"x")], "1.1"), ("::1", None)) is None


@pytest.mark.parametrize(
    ("data", "whose", "found"),
    [
        (TEXT + b"fghij", "a peer", True),
        (TEXT.replace(b": 5", b": 11") + b"hello world", "a peer", True),
        (TEXT.replace(b": 5", b": 11") + b"hel", "a peer", True),
        (TEXT + b"fghij", "another", False),
        (TEXT.replace(b"X-A: b", b"X-A: c") + b"abcde", "a peer", False),
        (TEXT.replace(b": 5", b": x") + b"abcde", "a peer", False),
        (b"\r\n\r\n" + TEXT + b"abcde", "a peer", False),
        (TEXT[:-2], "a peer", False),
        (BARE, "a peer", False),
        (b"", "a peer", False),
    ],
)
def test_what_one_connection_knows_is_found_by_the_bytes_of_the_head(data: bytes, whose: str, found: bool) -> None:
    alike = Alike()
    assert alike.find(data, whose) is None
    mine = alike.learn(TEXT + b"abcde", HEAD, "a peer")
    assert (alike.find(data, whose) is mine is not None) is found


def test_a_new_connection_knows_what_another_one_of_its_peer_does() -> None:
    app = Seen()
    listener = listening(app, Limits(body_bytes=8))

    def head_of(*messages: bytes) -> RequestHead:
        connection = connected(listener, Wire())
        for message in messages:
            connection.data_received(message)
        assert app.exchange is not None
        return app.exchange.head

    first = head_of(TEXT + b"abcde")
    assert head_of(TEXT + b"fghij") is first
    assert head_of(BARE, TEXT + b"fghij") is first
    longer = head_of(TEXT.replace(b": 5", b": 3") + b"abc")
    assert longer is not first
    assert longer.made is first.made
    wire = Wire()
    connected(listener, wire).data_received(TEXT.replace(b": 5", b": 9") + b"too long.")
    assert b" 413 " in wire.out


def test_nobody_knows_a_head_that_no_connection_knows() -> None:
    alike = Alike()
    head = check_request(b"POST", b"/a", HEADERS, "1.1")
    known = alike.learn(TEXT + b"abcde", head, "a peer")
    before = weakref.ref(known) if known is not None else None
    del known
    assert before is not None
    assert before() is None
    assert alike.learn(TEXT + b"abcde", head, "a peer") is not None


def test_a_head_is_forgotten_when_the_client_rests_and_when_limits_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_KNOWN_SECONDS", 1.0)
    wire = Wire()
    connection = connected(listening(Seen(), Limits()), wire)
    connection.data_received(TEXT + b"abcde")
    connection.tick(0.5)
    assert connection._known is not None
    connection.tick(1.5)
    assert connection._known is None
    connection.data_received(TEXT + b"abcde")
    assert connection._known is not None
    connection.renew(Limits(headers=1))
    connection.data_received(TEXT + b"abcde")
    assert wire.out.count(b"HTTP/1.1 200 ") == 2
    assert wire.out.count(b"HTTP/1.1 431 ") == 1


def test_other_rules_end_what_all_connections_know() -> None:
    """What was made of a head may hold whom the rules let in, so nothing of it is left once they change."""
    app = Seen()
    listener = listening(app, Limits())
    listener.alike = Alike()
    connections = [connected(listener, Wire()) for _ in range(2)]
    listener.connections = set(connections)
    for connection in connections * 2:
        connection.data_received(TEXT + b"abcde")
    assert app.exchange is not None
    app.exchange.head.made["whom"] = "a note"
    listener.renew(Limits(), lambda _: True)
    for connection in connections:
        connection.data_received(TEXT + b"abcde")
        assert "whom" not in app.exchange.head.made
