"""The side that reaches upstreams: one HTTP/1.1 connection, one request at a time.

Owns: `UpstreamConnection` and how it fails. It calls its `Receiver` from `data_received`, so that a chunk goes out to the client in the same call; it
never retries, never decides and never keeps a body. `pool` makes and keeps these.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Protocol, cast, final

import httptools

from broker.proxy.wire import acks, heads
from broker.proxy.wire.exchange import HIGH_WATER, JOINED_BYTES
from broker.proxy.wire.heads import Headers, ResponseHead
from broker.proxy.wire.turn import Turn

_log = logging.getLogger(__name__)

_MAX_HEAD_BYTES: Final = 131_072
_MAX_HEADERS: Final = 256
_VERSIONS: Final = frozenset({"1.1", "1.0"})
_USUAL: Final = b"HTTP/1.1 2"  # an answer that begins so has no interim one before it, and its version need not be written out by the parser
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class FailureKind(StrEnum):
    """How an upstream failed us."""

    CONNECT = "connect"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect_timeout"
    HEADERS_TIMEOUT = "headers_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    CLOSED = "closed"
    PROTOCOL = "protocol"


class UpstreamError(Exception):
    """No answer, or only a part of one. `text` is one sentence for the client; `stale` says a kept connection had died before we used it."""

    def __init__(self, kind: FailureKind, text: str, *, stale: bool = False) -> None:
        """Carry all three."""
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.stale = stale


class Receiver(Protocol):
    """Who gets the answer: what each read brought of it in one call. Exactly one of `on_done` and `on_failed` comes last."""

    def on_response(self, head: ResponseHead) -> None:
        """The head of the final answer (1xx are skipped)."""
        ...

    def on_data(self, parts: list[bytes]) -> None:
        """What one read brought of the body, without framing, maybe nothing; there is more to come. The list is not the receiver's to keep."""
        ...

    def on_done(self, parts: list[bytes]) -> None:
        """The same of the last read: the answer is complete. The list is the receiver's."""
        ...

    def on_failed(self, failure: UpstreamError) -> None:
        """There will be no more."""
        ...


class Home(Protocol):
    """Where a connection goes when it is free."""

    def made(self, connection: "UpstreamConnection") -> None:
        """It is open."""
        ...

    def released(self, connection: "UpstreamConnection") -> None:
        """It can take another request."""
        ...

    def lost(self, connection: "UpstreamConnection") -> None:
        """It is closed."""
        ...


@final
class UpstreamConnection(asyncio.Protocol):
    """One connection to an upstream."""

    __slots__ = (
        "_complete", "_ended", "_got_bytes", "_head_size", "_headers", "_home", "_in_head", "_interim", "_keep", "_last", "_method", "_parser", "_parts",
        "_paused", "_prompt", "_reads", "_reads_since", "_receiver", "_refused", "_time", "_transport", "_turn", "_until_close", "_uses", "_usual",
        "idle_since", "on_body",
    )  # fmt: skip

    def __init__(self, home: Home, turn: Turn | None = None, time: Callable[[], float] | None = None) -> None:
        """Belongs to `home`. What is read is framed when `turn` has it so; without one, at once. `time` is a clock in seconds: without, no stream is quick."""
        self._home = home
        self._turn = turn
        self._time = time
        self._reads = 0
        self._reads_since = 0.0
        self._parser: httptools.HttpResponseParser | None = None
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._method = ""
        self._uses = 0
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._last: list[bytes] = []
        self.on_body = self._parts.append
        """llhttp: bytes of the body, kept until the read is framed. A method of a list costs no step of the interpreter."""
        self._in_head = False
        self._head_size = 0
        self._got_bytes = False
        self._usual = False
        self._until_close = False
        self._complete = False
        self._keep = False
        self._interim = False
        self._paused = False
        self._prompt = False
        self._ended = False
        self._refused = ""
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether it can take a request now."""
        return self._transport is not None and not self._transport.is_closing() and self._receiver is None

    def send(self, receiver: Receiver, method: str, head: bytes, body: bytes) -> None:
        """Send a request; the answer goes to `receiver`."""
        transport = self._transport
        assert transport is not None
        self._receiver = receiver
        self._method = method
        self._uses += 1
        self._got_bytes = self._until_close = self._complete = self._keep = self._interim = False
        self._reads, self._reads_since = 0, -acks.SECONDS
        self._in_head, self._head_size = True, 0
        self._parser = httptools.HttpResponseParser(self) if self._parser is None else self._parser
        if self._turn is not None and (self._turn.streams > 0) is not self._prompt:
            # Among streams a request is written at once: the end of the turn is behind all of their parts.
            self._prompt = not self._prompt
            transport.set_write_buffer_limits(high=0 if self._prompt else HIGH_WATER)
        if len(body) > JOINED_BYTES:
            transport.writelines((head, body))
        else:
            transport.write(head + body)

    def hand_over(self, receiver: Receiver) -> None:
        """Give what is still to come of the answer to another receiver."""
        self._receiver = receiver

    def cancel(self) -> None:
        """Close at once; the receiver hears nothing more."""
        self._receiver = None
        self.close()

    def close(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.abort()

    abort = close

    def pause(self) -> None:
        """Read no more until `resume`: the client is slower than the upstream."""
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    @property
    def paused(self) -> bool:
        """Whether reading is held back."""
        return self._paused

    # --- asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._home.made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer that had no other end; anything else under way has failed."""
        if self._turn is not None:
            self._turn.take()
        self._transport = self._parser = None
        if self._until_close and self._ended and exc is None and self._receiver is not None:
            self._finish()
        else:
            reason = "reset the connection" if exc is not None else "closed the connection"
            when = "in the middle of its answer" if self._got_bytes else "without an answer"
            self._fail(FailureKind.CLOSED, f"the upstream {reason} {when}")
        self._home.lost(self)

    def frame(self, data: bytes) -> None:
        """Frame the first read of an answer, and hand it over. What comes later is waited for, each part by itself."""
        if not self._got_bytes:
            self._first(data)
        self.data_received(data)

    def data_received(self, data: bytes) -> None:
        """Frame what came and hand it over; the first read of an answer in its turn."""
        parser = self._parser
        if self._receiver is None or parser is None:
            self.close()  # nothing was asked, or it was cancelled since: whatever this is, it must not become the next answer
            return
        if not self._got_bytes:
            turn = self._turn
            if turn is not None and (turn.held or not turn.streams):
                turn.answer(self, data)
                return
            self._first(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._misread(error)
            return
        if self._refused or self._in_head:
            self._look(len(data))
        elif self._complete:
            self._finish()
        else:
            self._give()

    def eof_received(self) -> bool:
        """Close as well. Over TLS it is the other side's word that it has said all: a connection that ends without was cut (RFC 9112 section 9.8)."""
        self._ended = True
        return False

    # --- llhttp ---

    def on_message_begin(self) -> None:
        """A response's first byte; one that follows the answer is not ours."""
        if self._complete:
            self._keep = False
            return
        self._headers = []
        self._in_head = True
        self._head_size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are dropped, but for those that would frame the body anew."""
        if self._in_head and not self._complete:
            if len(self._headers) < _MAX_HEADERS:
                self._headers.append((name.lower(), value.strip(b" \t")))
            else:
                # One that is left out could be the one that frames the body.
                self._refused = "the upstream's answer has too many header fields"
        elif not self._complete and name.lower() in _FRAMING:
            self._refused = "the upstream's answer has framing in a trailer"  # RFC 9110 section 6.5.1

    def on_headers_complete(self) -> None:
        """A head is complete: a final one is handed over, 1xx are skipped (RFC 9110 section 15.2)."""
        self._in_head = False
        parser, receiver = self._parser, self._receiver
        if self._complete or self._refused or parser is None or receiver is None:
            return
        status, version = parser.get_status_code(), "1.1" if self._usual else parser.get_http_version()
        if not 100 <= status < 600 or version not in _VERSIONS:
            self._refused = "the upstream's answer is not one of HTTP/1.1"
            return
        self._interim = 100 <= status < 200
        if self._interim and status != 101:
            if any(name in _FRAMING for name, _ in self._headers):
                self._refused = "the upstream's interim answer announces a body"  # RFC 9112 section 6: it has none
            return
        length, chunked = _framing(self._headers)
        if chunked and version == "1.0":
            chunked = None  # RFC 9112 section 6.1: such framing is faulty
        if status == 101 or chunked is None:
            self._refused = "the upstream switched to a protocol or a transfer coding that was not asked for"
            return
        bodiless = heads.bodiless(self._method, status)
        self._until_close = length is None and not chunked and not bodiless
        receiver.on_response(ResponseHead(status, self._headers, 0 if bodiless and length is None else length))
        if self._method == "HEAD":
            # llhttp would wait for the body the headers announce, so such a connection is not used again.
            self._complete = True

    def on_message_complete(self) -> None:
        """The answer, or an interim one, is complete. `should_keep_alive` is only right inside this call."""
        if self._interim:
            self._interim = False
            self._in_head = True  # another one is to come
        elif not self._complete and self._parser is not None:
            self._complete = True
            self._last = self._parts.copy()
            self._keep = self._parser.should_keep_alive()

    # --- helpers ---

    def _first(self, data: bytes) -> None:
        """Note what begins an answer."""
        self._got_bytes = True
        self._usual = data.startswith(_USUAL)

    def _give(self) -> None:
        """Hand over what was read of the body."""
        self._reads += 1
        if self._reads == acks.READS:
            self._look_at_pace()
        try:
            if self._receiver is not None:
                self._receiver.on_data(self._parts)
        except Exception as error:  # noqa: BLE001 - the receiver's fault, whatever it is, and not the upstream's
            self._untaken(error)
        self._parts.clear()

    def _look_at_pace(self) -> None:
        """Have a quick stream acknowledged less often, once it is known to be one."""
        if self._time is None or self._transport is None:
            return
        now, since = self._time(), self._reads_since
        if now - since < acks.SECONDS:
            acks.spare(self._transport)
        else:
            self._reads, self._reads_since = 0, now

    def _look(self, size: int) -> None:
        """Judge a head that has no end yet, or one that is refused."""
        self._head_size += size
        if self._refused:
            self._parts.clear()  # it belongs to no answer
            self._fail(FailureKind.PROTOCOL, self._refused)
        elif self._head_size > _MAX_HEAD_BYTES:
            self._fail(FailureKind.PROTOCOL, "the head of the upstream's answer is too large")

    def _misread(self, error: Exception) -> None:
        """End what cannot be framed; behind the end of an answer it does that no harm."""
        if isinstance(error, httptools.HttpParserCallbackError):
            self._untaken(error.__context__)
        elif self._refused:
            self._look(0)
        elif self._complete:
            self._keep = False
            self._finish()
        else:
            if self._parts:
                self._give()  # what came before the fault
            self._fail(FailureKind.PROTOCOL, f"the upstream's answer is not valid HTTP: {error}")

    def _untaken(self, error: BaseException | None) -> None:
        """End an answer that the receiver could not take. A connection in this state is of no use."""
        _log.error("an answer could not be taken", exc_info=error)
        self._parts.clear()
        self._fail(FailureKind.PROTOCOL, "the upstream's answer could not be taken")

    def _finish(self) -> None:
        receiver, self._receiver = self._receiver, None
        parts, self._last = self._last, []
        self._parts.clear()  # what is behind the end is nobody's
        transport = self._transport
        # An answer that overtook its own request leaves bytes of it behind; they must not run into the next one.
        if (
            self._keep
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            if self._paused:
                self.resume()
            self._home.released(self)
        else:
            self.close()
        if receiver is not None:
            receiver.on_done(parts)

    def _fail(self, kind: FailureKind, text: str) -> None:
        receiver, self._receiver = self._receiver, None
        self.close()
        if receiver is not None:
            stale = kind is FailureKind.CLOSED and self._uses > 1 and not self._got_bytes
            receiver.on_failed(UpstreamError(kind, text, stale=stale))


def _framing(headers: Headers) -> tuple[int | None, bool | None]:
    """Return length and whether chunked; None for the latter where the coding is not one we understand."""
    length: int | None = None
    chunked: bool | None = False
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = True if value.lower() == b"chunked" and chunked is False else None
    return length, chunked
