"""An exchange by itself, over a line that only remembers; `test_server` has it over sockets."""

from broker.proxy.wire.exchange import Exchange
from broker.proxy.wire.heads import RequestHead


class Remembering:
    def __init__(self) -> None:
        self.peer = ("127.0.0.1", 5)
        self.local = ("127.0.0.1", 6)
        self.blocked = self.closing = False
        self.trusted: bool | None = None
        self.sent: list[bytes] = []
        self.prompted = 0
        self.ended = 0
        self.aborted = 0

    def write(self, data: bytes) -> None:
        self.send([data])

    def send(self, out: list[bytes]) -> None:
        self.sent.append(b"".join(out))

    def prompt(self) -> None:
        self.prompted += 1

    def exchange_ended(self, exchange: Exchange) -> None:
        self.ended += 1

    def abort(self) -> None:
        self.aborted += 1


def made(method: str = "GET", *, http11: bool = True) -> tuple[Exchange, Remembering]:
    line = Remembering()
    exchange = Exchange(line, RequestHead(method, "/", "", [], http11, http11), 0.0)
    exchange.complete = True
    return exchange, line


def test_head_and_body_go_out_in_one_write() -> None:
    exchange, line = made()
    exchange.start(200, [])
    exchange.write(b"abc")
    exchange.write(b"")
    exchange.flush()
    exchange.flush()
    exchange.write(b"d")
    exchange.end()
    assert line.sent == [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"1\r\nd\r\n0\r\n\r\n",
    ]
    assert (line.ended, line.prompted) == (1, 1)
    exchange.end()
    assert line.ended == 1
    assert (exchange.peer, exchange.local, exchange.blocked, exchange.connection) == (
        line.peer,
        line.local,
        False,
        line,
    )


def test_an_answer_of_a_known_length_waits_for_the_end_of_the_turn() -> None:
    exchange, line = made()
    exchange.reply(200, [], b"abc")
    assert (line.ended, line.prompted) == (1, 0)


def test_an_answer_before_the_end_of_the_request_closes() -> None:
    exchange, line = made()
    exchange.complete = False
    exchange.reply(401, [], b"no")
    assert not exchange.keep_alive
    assert b"connection: close" in line.sent[0]


def test_an_answer_while_draining_closes() -> None:
    exchange, line = made()
    line.closing = True
    exchange.reply(200, [], b"x")
    assert b"connection: close" in line.sent[0]


def test_without_chunks_the_connection_ends_the_body() -> None:
    exchange, line = made(http11=False)
    exchange.start(200, [])
    exchange.write(b"abc")
    exchange.end()
    assert line.sent == [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc"]


def test_head_answers_are_mute() -> None:
    exchange, line = made("HEAD")
    exchange.start(200, [], 3)
    exchange.write(b"abc")
    exchange.end()
    assert line.sent == [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"]


def test_abort_drops_what_was_queued() -> None:
    exchange, line = made()
    exchange.start(200, [])
    exchange.abort()
    exchange.flush()
    assert line.sent == []
    assert line.aborted == 1
