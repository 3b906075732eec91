"""The side that clients connect to: frames requests, keeps their order and every limit.

Owns: `ServerConnection`, one client's TCP connection. What to answer is the `App`'s business. No task and no queue stands between reading and writing: the
app is called when what was read is framed, at the end of the same turn of the event loop, and writes back in the same call.

Pipelined requests are answered in order; reading pauses while one waits behind another. A client that half-closes is taken to be gone, as nginx does:
it is the only sign a client gives when it leaves.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast, final

import httptools

from broker.proxy.wire import heads
from broker.proxy.wire.exchange import HIGH_WATER, JOINED_BYTES, Exchange, Limits, address_of
from broker.proxy.wire.heads import HeadError, Headers, RequestHead
from broker.proxy.wire.known import Known

if TYPE_CHECKING:
    from broker.proxy.wire.listener import Listener

_MAX_PIPELINED: Final = 16
_FRAMING_SLACK: Final = 524_288  # one read of the event loop can hold parts of several messages
_KNOWN_SECONDS: Final = 1.0  # between requests: a head holds the client's key
_FRAMING_PER_BYTE: Final = 8  # a chunk of one byte is six bytes on the wire
_BARRED: Final = HeadError(403, "connections from this address are not taken here")


@final
class ServerConnection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_active", "_advancing", "_barred", "_begun", "_blocked_since", "_head_since", "_head_size", "_headers", "_idle_since", "_in_head",
        "_known", "_last_read", "_linger_left", "_linger_until", "_listener", "_message_size", "_parser", "_paused", "_poison", "_prompt",
        "_read_head", "_reading", "_ticker", "_transport", "_url", "_waiting", "blocked", "closing", "limits", "local", "peer", "trusted",
    )  # fmt: skip

    def __init__(self, listener: "Listener") -> None:
        """Belongs to `listener`."""
        self._listener = listener
        self.limits = listener.limits
        self._ticker = listener.ticker
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self.peer: tuple[str, int] = ("", 0)
        self.local: tuple[str, int] = ("", 0)
        self.trusted: bool | None = None
        """A note the app keeps here: whether the peer runs as our user (asked once a connection)."""
        self.blocked = False
        self.closing = listener.draining
        self._active: Exchange | None = None
        self._reading: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._poison: HeadError | None = None
        self._known: Known | None = None
        self._begun = 0
        self._barred = False
        self._advancing = False
        self._paused = False
        self._prompt = False
        self._url = b""
        self._headers: Headers = []
        self._read_head: RequestHead | None = None
        self._in_head = False
        self._head_size = 0
        self._message_size = 0
        self._head_since = 0.0
        self._last_read = 0.0
        self._idle_since = 0.0
        self._blocked_since = 0.0
        self._linger_until: float | None = None
        self._linger_left = 0

    # --- asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or turn away when there are too many."""
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self.peer = address_of(transport.get_extra_info("peername"))
        self.local = address_of(transport.get_extra_info("sockname"))
        self._last_read = self._idle_since = self._ticker.now
        admitted = self._listener.admit(self.peer[0])
        if len(self._listener.connections) >= self.limits.connections:
            crowded = HeadError(503, "too many connections; close idle ones and try again")
            self._say(crowded if admitted else _BARRED)
            transport.close()
            return
        self._listener.connections.add(self)
        self._ticker.add(self)
        if not admitted:
            # It is told with its first byte, as clients mistake an answer nobody asked for; one that says nothing is cut.
            self._barred = True
            self._linger_until = self._ticker.now + self.limits.linger_seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go, and tell the call that its client is gone."""
        del exc
        self._listener.connections.discard(self)
        self._listener.left()
        self._ticker.discard(self)
        self._calm()
        self._parser = self._transport = self._known = self._read_head = None
        self._waiting.clear()
        active, self._active, self._reading = self._active, None, None
        if active is not None and active.call is not None:
            unfinished, active.ended = not active.ended, True
            if unfinished:
                active.call.on_gone()
            active.call = None

    def eof_received(self) -> bool:
        """Take the end of the client's bytes for the end of the client."""
        return False

    def pause_writing(self) -> None:
        """Pass back-pressure on."""
        self.blocked = True
        self._blocked_since = self._ticker.now
        if self._active is not None and self._active.call is not None:
            self._active.call.on_blocked(True)

    def resume_writing(self) -> None:
        """Pass relief on."""
        self.blocked = False
        if self._active is not None and self._active.call is not None:
            self._active.call.on_blocked(False)

    def data_received(self, data: bytes) -> None:
        """Have what came framed, in its turn."""
        turn = self._listener.turn
        if turn is None or (turn.streams and not turn.held):
            self.frame(data)
        else:
            turn.request(self, data)

    def frame(self, data: bytes) -> None:
        """Frame what came, and serve it."""
        if self._barred:
            self._turn_away()
            return
        if self._linger_until is not None:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self.abort()
            return
        if self._poison is not None or self._parser is None or self._transport is None or self._transport.is_closing():
            return
        self._last_read = self._ticker.now
        between, begun = self._active is None and not self._in_head, self._begun
        if between:
            again = self._known.read(data) if self._known is not None else None
            if again is None:
                again = self._known_elsewhere(data)
            if again is not None and len(again[1]) <= self.limits.body_bytes:
                self._repeated(*again)
                return
        self._message_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(HeadError(501, "there is nothing to upgrade to"))
            return
        except httptools.HttpParserError as error:
            self._refuse(HeadError(400, f"not valid HTTP: {error}"))
            return
        self._check_sizes()
        if between and self._begun - begun == 1 and self._reading is None and self._read_head is not None:
            self._known = self._listener.alike.learn(data, self._read_head, self._whose())

    # --- llhttp ---

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._begun += 1
        self._read_head = None
        self._url = b""
        self._headers = []
        self._in_head = True
        self._head_size = 0
        self._message_size = 0
        self._head_since = self._ticker.time()

    def on_url(self, url: bytes) -> None:
        """The request target, or a part of it."""
        self._url += url
        self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer is dropped, since nothing we forward has a place for it."""
        if self._in_head and self._poison is None:
            self._head_size += len(name) + len(value) + 4
            if len(self._headers) >= self.limits.headers or self._head_size > self.limits.head_bytes:
                self._refuse(HeadError(431, "too many or too large header fields"))
            else:
                self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """A head is complete: check it, and open the exchange if it is its turn."""
        self._in_head = False
        parser = self._parser
        if self._poison is not None or self._linger_until is not None or parser is None:
            return
        try:
            head = heads.check_request(parser.get_method(), self._url, self._headers, parser.get_http_version())
        except HeadError as fault:
            self._refuse(fault)
            return
        self._read_head = head
        exchange = Exchange(self, head, self._head_since)
        exchange.complete = not head.has_body
        self._reading = exchange
        if self._active is None:
            self._active = exchange
            self._open(exchange)
        elif len(self._waiting) >= _MAX_PIPELINED:
            self._refuse(HeadError(429, "too many requests sent ahead of their answers"))
        else:
            self._waiting.append(exchange)
            self._pause()

    def on_body(self, data: bytes) -> None:
        """Bytes of a request's body."""
        exchange = self._reading
        if exchange is None or exchange.ended or self._poison is not None:
            return
        exchange.received += len(data)
        if exchange.received > self.limits.body_bytes:
            self._refuse(self._too_large())
            return
        exchange.keep(data)

    def on_message_complete(self) -> None:
        """A request is complete: hand it over if it is its turn."""
        exchange, self._reading = self._reading, None
        if exchange is None or self._poison is not None:
            return
        exchange.complete = True
        if exchange is self._active:
            self._deliver(exchange)

    # --- what exchanges use ---

    def send(self, out: list[bytes]) -> None:
        """Write to the client."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if sum(map(len, out)) <= JOINED_BYTES:
            transport.write(b"".join(out))  # of one piece no copy is made
        else:
            transport.writelines(out)

    def write(self, data: bytes) -> None:
        """Write one piece to the client."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def prompt(self) -> None:
        """Write at once until the exchange ends. A transport does so that may hold nothing back; what the client is too slow for is held by the kernel."""
        if self._transport is not None and not self._prompt:
            self._prompt = True
            self._transport.set_write_buffer_limits(high=0)
            if self._listener.turn is not None:
                self._listener.turn.streams += 1

    def exchange_ended(self, exchange: Exchange) -> None:
        """Go on with the next request, or part."""
        if exchange is not self._active:
            return
        if self._prompt:
            self._calm()
        exchange.drop()
        if not exchange.complete:
            self._linger()
        elif not exchange.keep_alive:
            self._finish()
        else:
            self._active = exchange.call = None
            self._idle_since = self._ticker.now
            if self._waiting or self._paused or self._poison is not None:
                self._advance()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def renew(self, limits: Limits) -> None:
        """Keep to other limits from now on."""
        self.limits = limits
        self._known = None

    def drain(self) -> None:
        """Close when the answer under way has ended."""
        self.closing = True
        if self._active is None and self._linger_until is None:
            self._finish()
        elif self._active is not None:
            self._active.keep_alive = False

    def tick(self, now: float) -> None:
        """Keep the deadlines."""
        if self._linger_until is not None:
            if now > self._linger_until:
                self.abort()
            return
        limits = self.limits
        active = self._active
        if self.blocked and now - self._blocked_since > limits.stall_seconds:
            self.abort()
        elif active is not None and active is self._reading and not active.ended:
            stalled = now - self._last_read > limits.stall_seconds
            if stalled or now - active.since > limits.body_seconds:
                self._refuse(HeadError(408, "the request did not arrive in time"))
        elif active is not None and active.call is not None:
            active.guard(active.call.tick, now)
        elif self._in_head and now - self._head_since > limits.head_seconds:
            self._refuse(HeadError(408, "the head of the request did not arrive in time"))
        elif not self._in_head:
            if now - self._idle_since > _KNOWN_SECONDS:
                self._known = self._read_head = None
            if now - self._idle_since > limits.idle_seconds:
                self._finish()

    # --- helpers ---

    def _calm(self) -> None:
        """Take back what `prompt` did."""
        if self._prompt and self._transport is not None:
            self._prompt = False
            self._transport.set_write_buffer_limits(high=HIGH_WATER)
            if self._listener.turn is not None:
                self._listener.turn.streams -= 1

    def _open(self, exchange: Exchange) -> None:
        exchange.call = call = self._listener.app.open(exchange)
        exchange.guard(call.on_head)
        if exchange.ended:
            return
        if exchange.head.length is not None and exchange.head.length > self.limits.body_bytes:
            self._refuse(self._too_large())
        elif exchange.head.expects_continue and not exchange.complete:
            self.send([heads.CONTINUE])

    def _known_elsewhere(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Return head and body where `data` is a whole request whose head is known on another connection of the same peer."""
        known = self._listener.alike.find(data, self._whose())
        if known is None or (again := known.read(data)) is None:
            return None
        self._known = known
        return again

    def _whose(self) -> object:
        """Return what a head must come with for what was made of it to hold: that may depend on the peer's address, and on what is noted of the connection."""
        return self.peer[0], self.trusted

    def _repeated(self, head: RequestHead, body: bytes) -> None:
        """Take a request whose head is known, as a whole."""
        self._active = exchange = Exchange(self, head, self._ticker.time())
        exchange.guard(exchange.whole, self._listener.app.open(exchange), body)

    def _deliver(self, exchange: Exchange) -> None:
        call = exchange.call
        if call is None or exchange.ended:
            return
        exchange.guard(call.on_body, exchange.take())

    def _advance(self) -> None:
        if self._advancing:
            return
        self._advancing = True
        while self._active is None and self._waiting:
            self._active = exchange = self._waiting.popleft()
            self._open(exchange)
            if exchange.complete and not exchange.ended:
                self._deliver(exchange)
        self._advancing = False
        if self._active is None and self._poison is not None:
            self._say(self._poison)
            self._linger()
        elif not self._waiting:
            self._resume()

    def _refuse(self, fault: HeadError) -> None:
        """Tell a fault of the request being read, in its turn, and read no more."""
        if self._poison is not None:
            return
        self._poison = fault
        active = self._active
        if active is None:
            self._say(fault)
            self._linger()
        elif active is self._reading and not active.ended and active.call is not None:
            active.keep_alive = False
            if active.started:
                active.abort()
            else:
                active.call.on_fault(fault.status, fault.text)

    def _say(self, fault: HeadError) -> None:
        headers, body = self._listener.app.refusal(fault.status, fault.text)
        self.send([heads.response_head(fault.status, headers, length=len(body), chunked=False, keep_alive=False), body])

    def _turn_away(self) -> None:
        self._barred = False
        self._linger_until = None
        self._say(_BARRED)
        self._linger()

    def _too_large(self) -> HeadError:
        return HeadError(413, f"the request body is larger than {self.limits.body_bytes} bytes")

    def _check_sizes(self) -> None:
        if self._in_head:
            if self._message_size > self.limits.head_bytes + _FRAMING_SLACK or self._head_size > self.limits.head_bytes:
                self._refuse(HeadError(431, "too many or too large header fields"))
        elif (reading := self._reading) is not None and reading.head.chunked:
            overhead = self._message_size - reading.received
            if overhead > _FRAMING_SLACK + _FRAMING_PER_BYTE * reading.received:
                self._refuse(HeadError(400, "more chunk framing than chunks"))

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _finish(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _linger(self) -> None:
        """Close for writing and drop what the client still sends, so that it can read the answer before a reset would take it away."""
        transport = self._transport
        if transport is None or self._linger_until is not None:
            return
        self._linger_until = self._ticker.now + self.limits.linger_seconds
        self._linger_left = self.limits.body_bytes
        self._resume()
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
