"""What is read in a turn is framed one kind after the other, and that of one connection in its order."""

import asyncio
import logging
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.wire.client import UpstreamConnection, UpstreamError
from broker.proxy.wire.exchange import HIGH_WATER, Limits
from broker.proxy.wire.heads import ResponseHead
from broker.proxy.wire.listener import Listener
from broker.proxy.wire.ticker import Ticker
from broker.proxy.wire.turn import Turn
from tests.proxy.wire.test_known import Seen, Wire

REQUEST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxyz"


@dataclass(eq=False)
class Connection:
    """Notes what it is to frame; `deaf` wants nothing after its first."""

    name: str
    log: list[tuple[str, bytes]]
    turn: Turn
    answers: bool = False
    deaf: bool = False
    cut: bool = False
    framed: list[bytes] = field(default_factory=list)

    def data_received(self, data: bytes) -> None:
        if self.deaf and self.framed:
            return
        if self.answers:
            self.turn.answer(self, data)
        else:
            self.turn.request(self, data)

    def frame(self, data: bytes) -> None:
        if data == b"bad":
            raise ZeroDivisionError
        self.framed.append(data)
        self.log.append((self.name, data))

    def abort(self) -> None:
        self.cut = True


async def test_answers_come_first_and_nothing_before_the_turn_is_over() -> None:
    turn, log = Turn(), []  # type: Turn, list[tuple[str, bytes]]
    client, upstream = Connection("client", log, turn), Connection("upstream", log, turn, answers=True)
    client.data_received(b"1")
    upstream.data_received(b"2")
    assert not log
    await asyncio.sleep(0)
    assert log == [("upstream", b"2"), ("client", b"1")]
    client.data_received(b"3")
    await asyncio.sleep(0)
    assert log[2:] == [("client", b"3")]


async def test_of_a_connection_no_more_than_one_read_is_kept() -> None:
    turn, log = Turn(), []  # type: Turn, list[tuple[str, bytes]]
    for answers in (True, False):
        connection = Connection("a", log, turn, answers=answers)
        for data in (b"1", b"2", b"3"):
            connection.data_received(data)
        assert connection.framed == [b"1", b"2"]
        await asyncio.sleep(0)
        assert connection.framed == [b"1", b"2", b"3"]


async def test_who_has_enough_is_not_given_more() -> None:
    turn, log = Turn(), []  # type: Turn, list[tuple[str, bytes]]
    connection = Connection("a", log, turn, answers=True, deaf=True)
    connection.data_received(b"1")
    connection.data_received(b"2")
    await asyncio.sleep(0)
    assert connection.framed == [b"1"]


async def test_what_has_come_can_be_framed_at_once() -> None:
    turn, log = Turn(), []  # type: Turn, list[tuple[str, bytes]]
    Connection("a", log, turn).data_received(b"1")
    turn.take()
    assert log == [("a", b"1")]
    await asyncio.sleep(0)
    assert log == [("a", b"1")]


async def test_a_connection_that_fails_is_cut_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    turn, log = Turn(), []  # type: Turn, list[tuple[str, bytes]]
    one, other = Connection("one", log, turn), Connection("other", log, turn)
    one.data_received(b"bad")
    other.data_received(b"good")
    with caplog.at_level(logging.ERROR):
        await asyncio.sleep(0)
    assert (one.cut, other.cut, log) == (True, False, [("other", b"good")])
    assert "ZeroDivisionError" in caplog.text


async def test_while_there_are_streams_nothing_waits() -> None:
    turn, log = Turn(), []  # type: Turn, list[tuple[str, bytes]]
    client, upstream = Connection("client", log, turn), Connection("upstream", log, turn, answers=True)
    client.data_received(b"1")
    turn.streams += 1
    upstream.data_received(b"2")
    assert log == [("upstream", b"2")]
    client.data_received(b"3")
    assert log[1:] == [("client", b"1"), ("client", b"3")]
    turn.streams -= 1
    client.data_received(b"4")
    assert len(log) == 3
    turn.take()
    assert len(log) == 4


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "take", "stream", "end"])), max_size=30))
async def test_every_connection_s_order_is_kept_and_nothing_is_lost(reads: list[tuple[int, str]]) -> None:
    turn, log = Turn(), []  # type: Turn, list[tuple[str, bytes]]
    connections = [Connection(str(number), log, turn, answers=number % 2 == 0) for number in range(4)]
    sent: list[list[bytes]] = [[], [], [], []]
    for number, (which, then) in enumerate(reads):
        sent[which].append(b"%d" % number)
        connections[which].data_received(b"%d" % number)
        if then == "take":
            turn.take()
        elif then:
            turn.streams = int(then == "stream")
    turn.take()
    assert [connection.framed for connection in connections] == sent


@dataclass
class Stack:
    """A pool's, and the receiver of answers."""

    free: int = 0
    log: list[object] = field(default_factory=list)

    def made(self, connection: UpstreamConnection) -> None:
        pass

    def released(self, connection: UpstreamConnection) -> None:
        self.free += 1

    def lost(self, connection: UpstreamConnection) -> None:
        self.log.append("lost")

    def on_response(self, head: ResponseHead) -> None:
        self.log.append(head.status)

    def on_data(self, parts: list[bytes]) -> None:
        self.log += parts

    def on_done(self, parts: list[bytes]) -> None:
        self.on_data(parts)
        self.log.append("done")

    def on_failed(self, failure: UpstreamError) -> None:
        self.log.append(failure.text)


class Socket(Wire):
    """What an upstream is reached by."""

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass


def asked(turn: Turn) -> tuple[UpstreamConnection, Stack, Socket]:
    stack, socket = Stack(), Socket()
    connection = UpstreamConnection(stack, turn)
    connection.connection_made(socket)  # type: ignore[arg-type]
    connection.send(stack, "POST", b"a head", b"")
    return connection, stack, socket


async def test_bytes_behind_an_answer_never_become_the_next_one() -> None:
    turn = Turn()
    connection, stack, socket = asked(turn)
    connection.data_received(ANSWER)
    connection.data_received(ANSWER)
    await asyncio.sleep(0)
    assert stack.log == [200, b"xyz", "done"]
    assert socket.closed


async def test_what_comes_later_of_an_answer_waits_for_nothing() -> None:
    turn = Turn()
    connection, stack, _ = asked(turn)
    connection.data_received(ANSWER[:-2])
    await asyncio.sleep(0)
    connection.data_received(ANSWER[-2:])
    assert stack.log == [200, b"x", b"yz", "done"]


async def test_an_answer_that_waits_is_not_overtaken_by_its_own_rest_when_streams_begin() -> None:
    turn = Turn()
    connection, stack, _ = asked(turn)
    connection.data_received(ANSWER[:-2])
    turn.streams += 1
    connection.data_received(ANSWER[-2:])
    assert stack.log == [200, b"x", b"yz", "done"]


async def test_a_request_that_waits_is_not_overtaken_by_its_own_rest_when_streams_begin() -> None:
    turn = Turn()
    listener, app = listening(turn)
    connection = listener.protocol()
    connection.connection_made(Wire())  # type: ignore[arg-type]
    connection.data_received(REQUEST[:9])
    turn.streams += 1
    connection.data_received(REQUEST[9:])
    assert len(app.log) == 1


async def test_among_streams_nothing_waits_for_the_turn() -> None:
    turn = Turn()
    turn.streams += 1
    connection, stack, _ = asked(turn)
    connection.data_received(ANSWER)
    assert stack.log == [200, b"xyz", "done"]
    listener, app = listening(turn)
    client = listener.protocol()
    client.connection_made(Wire())  # type: ignore[arg-type]
    client.data_received(REQUEST)
    assert len(app.log) == 1


async def test_an_upstream_that_answers_and_is_gone_has_answered() -> None:
    turn = Turn()
    connection, stack, _ = asked(turn)
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nxyz")
    connection.eof_received()
    connection.connection_lost(None)
    assert stack.log == [200, b"xyz", "done", "lost"]


async def test_an_answer_nobody_waits_for_any_more_is_dropped() -> None:
    turn = Turn()
    connection, stack, socket = asked(turn)
    connection.data_received(ANSWER)
    connection.cancel()
    await asyncio.sleep(0)
    assert (stack.log, socket.closed) == ([], True)


def listening(turn: Turn) -> tuple[Listener, Seen]:
    app = Seen()
    return Listener(app, Limits(), Ticker(1000.0, turn=turn), turn=turn), app


async def test_who_asked_before_the_end_is_answered() -> None:
    turn = Turn()
    listener, app = listening(turn)
    wire, connection = Wire(), listener.protocol()
    connection.connection_made(wire)  # type: ignore[arg-type]
    connection.data_received(REQUEST)
    listener.drain()
    assert len(app.log) == 1
    assert wire.out.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_who_left_before_its_turn_is_not_served() -> None:
    turn = Turn()
    listener, app = listening(turn)
    wire, connection = Wire(), listener.protocol()
    connection.connection_made(wire)  # type: ignore[arg-type]
    connection.data_received(REQUEST)
    wire.close()
    await asyncio.sleep(0)
    connection.connection_lost(None)
    connection.frame(REQUEST)
    assert app.log == []


async def test_deadlines_are_judged_by_all_that_has_come() -> None:
    turn = Turn()
    listener, app = listening(turn)
    connection = listener.protocol()
    connection.connection_made(Wire())  # type: ignore[arg-type]
    connection.data_received(REQUEST)
    listener.ticker._sweep()
    assert len(app.log) == 1
    listener.ticker.close()


async def test_a_stream_is_written_at_once_and_the_next_answer_is_not() -> None:
    limits: list[int] = []

    class Told(Wire):
        def set_write_buffer_limits(self, high: int) -> None:
            limits.append(high)

    turn = Turn()
    listener, app = listening(turn)
    connection = listener.protocol()
    connection.connection_made(Told())  # type: ignore[arg-type]
    app.on_body = lambda _: None  # type: ignore[method-assign]
    connection.data_received(REQUEST)
    await asyncio.sleep(0)
    assert app.exchange is not None
    app.exchange.start(200, [])
    assert (limits, turn.streams) == ([HIGH_WATER, 0], 1)
    app.exchange.end()
    assert (limits, turn.streams) == ([HIGH_WATER, 0, HIGH_WATER], 0)
    connection.data_received(REQUEST)
    await asyncio.sleep(0)
    app.exchange.reply(200, [], b"whole")
    assert limits == [HIGH_WATER, 0, HIGH_WATER]


async def test_a_stream_whose_client_left_is_none() -> None:
    turn = Turn()
    listener, app = listening(turn)
    connection = listener.protocol()
    connection.connection_made(Wire())  # type: ignore[arg-type]
    app.on_body = lambda _: None  # type: ignore[method-assign]
    app.on_gone = lambda: None  # type: ignore[attr-defined]
    connection.data_received(REQUEST)
    turn.take()
    assert app.exchange is not None
    app.exchange.start(200, [])
    assert turn.streams == 1
    connection.connection_lost(None)
    assert turn.streams == 0


async def test_a_request_among_streams_is_written_at_once() -> None:
    limits: list[int] = []

    class Told(Socket):
        def set_write_buffer_limits(self, high: int) -> None:
            limits.append(high)

    turn, stack = Turn(), Stack()
    connection = UpstreamConnection(stack, turn)
    connection.connection_made(Told())  # type: ignore[arg-type]
    for streams in (0, 1, 2, 0):
        turn.streams = streams
        connection.send(stack, "POST", b"a head", b"")
        connection.data_received(ANSWER)
        turn.take()
    assert limits == [HIGH_WATER, 0, HIGH_WATER]
    assert stack.free == 4
