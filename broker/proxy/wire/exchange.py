"""One request and the means to answer it.

Owns: `Exchange`, what an app must offer (`App`, `Call`), what the connection under it offers (`Line`), and the limits a client lives with.
It must never read: `wire.server` frames what comes and calls the `Call`.
"""

import logging
from collections.abc import Callable
from io import BytesIO
from typing import Final, Protocol, TypeVarTuple, final

import msgspec

from broker.proxy.wire import heads
from broker.proxy.wire.heads import Headers, RequestHead

_log = logging.getLogger(__name__)

Given = TypeVarTuple("Given")

HIGH_WATER: Final = 65_536
"""Bytes a transport may hold unsent before the other side is told to stop."""

JOINED_BYTES: Final = 16_384
"""Up to a TLS record a copy costs less than a piece more to write; beyond it the copy costs more. Either way it is one system call."""

_SMALL: Final = 1024  # pieces below this are joined as they come: a list of them would take many times their size
_LARGE: Final = 1 << 20  # bodies above this grow in place: pieces and what is joined of them would be there at once


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may do, in bytes and seconds; docs/proxy.md has the table.

    `head_seconds` from a head's first byte to its last, `body_seconds` the same for a body, `stall_seconds` without a byte either way while
    one is owed, `idle_seconds` between requests, `linger_seconds` for reading an early answer before the connection is reset under it.
    """

    head_bytes: int = 65_536
    headers: int = 128
    body_bytes: int = 64 << 20
    connections: int = 1024
    head_seconds: float = 15.0
    body_seconds: float = 300.0
    stall_seconds: float = 30.0
    idle_seconds: float = 75.0
    linger_seconds: float = 2.0


class Call(Protocol):
    """What the app makes of one exchange. Every method may answer through the exchange; after `on_gone` none may."""

    def on_head(self) -> None:
        """The head is here; to refuse now saves reading the body."""
        ...

    def on_body(self, body: bytes) -> None:
        """The request is complete."""
        ...

    def on_fault(self, status: int, text: str) -> None:
        """The body cannot be read (too large, too slow, ill-framed), or a step went wrong: let go of all, and say so if nothing has been said."""
        ...

    def on_blocked(self, blocked: bool) -> None:
        """The client reads too slowly (True), or keeps up again (False)."""
        ...

    def on_gone(self) -> None:
        """The client left before the answer ended."""
        ...

    def tick(self, now: float) -> None:
        """Time has passed; `now` is seconds on the event loop's clock."""
        ...


class App(Protocol):
    """What is served."""

    def open(self, exchange: "Exchange") -> Call:
        """Begin with a request whose head is here."""
        ...

    def refusal(self, status: int, text: str) -> tuple[Headers, bytes]:
        """Word an error for a client of which nothing is known yet."""
        ...


def address_of(name: object) -> tuple[str, int]:
    """Return address and port of what a transport tells of a socket; nothing of what is none of the internet's."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else ("", 0)


class Line(Protocol):
    """The connection an exchange answers over."""

    peer: tuple[str, int]
    local: tuple[str, int]
    blocked: bool
    closing: bool
    trusted: bool | None

    def send(self, out: list[bytes]) -> None:
        """Write to the client."""
        ...

    def write(self, data: bytes) -> None:
        """Write one piece to the client."""
        ...

    def prompt(self) -> None:
        """Write at once from now on until the exchange ends, instead of at the end of the event loop's turn: each part is waited for."""
        ...

    def exchange_ended(self, exchange: "Exchange") -> None:
        """Go on with the next request, or part."""
        ...

    def abort(self) -> None:
        """Cut the connection at once."""
        ...


@final
class Exchange:
    """One request and the means to answer it.

    `start` once, then `write` any number of times, then `end`; or `reply` for all of it; or `abort` when the answer cannot be finished.
    Bytes go out at `flush` (`give`, `end` and `reply` flush).
    """

    __slots__ = (
        "_chunked", "_large", "_mute", "_out", "body_parts", "call", "complete", "connection", "ended", "head", "keep_alive", "received",
        "since", "started", "status",
    )  # fmt: skip

    def __init__(self, connection: Line, head: RequestHead, since: float) -> None:
        """Belongs to `connection`; `since` is when its first byte came, in seconds on the event loop's clock."""
        self.connection = connection
        """The connection it came over."""
        self.head = head
        self.since = since
        self.call: Call | None = None
        self.body_parts: list[bytes | bytearray] = []
        self._large: BytesIO | None = None
        self.received = 0
        self.complete = False
        self.started = False
        self.ended = False
        self.keep_alive = head.keep_alive
        self.status = 0
        self._chunked = False
        self._mute = False
        self._out: list[bytes] = []

    @property
    def peer(self) -> tuple[str, int]:
        """The client's address and port."""
        return self.connection.peer

    @property
    def local(self) -> tuple[str, int]:
        """The address and port the client connected to."""
        return self.connection.local

    @property
    def blocked(self) -> bool:
        """Whether the client reads too slowly at present."""
        return self.connection.blocked

    def keep(self, data: bytes) -> None:
        """Keep a piece of the request's body."""
        parts, large = self.body_parts, self._large
        if large is None and self.received > _LARGE:
            large = self._large = BytesIO()
            large.writelines(parts)
            parts.clear()
        if large is not None:
            large.write(data)
        elif not parts or len(data) >= _SMALL:
            parts.append(data)
        elif isinstance(last := parts[-1], bytearray):
            last += data
        else:
            parts.append(bytearray(data))

    def take(self) -> bytes:
        """Return the request's body, and keep it no longer."""
        parts, self.body_parts = self.body_parts, []
        large, self._large = self._large, None
        if large is not None:
            return large.getvalue()  # not a copy
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def whole(self, call: Call, body: bytes) -> None:
        """Take the steps of a request that is here from its head to its end."""
        self.call = call
        self.complete = True
        call.on_head()
        if not self.ended:
            call.on_body(body)

    def drop(self) -> None:
        """Keep the request's body no longer."""
        if self.body_parts or self._large is not None:
            self.body_parts, self._large = [], None

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """Begin the answer. `headers` hold no framing; `length` None means not known: chunked, or to the end of the connection for HTTP/1.0."""
        self.started = True
        self.begin(status, heads.lines(headers), length)

    def begin(self, status: int, fields: bytes, length: int | None = None) -> None:
        """Begin the answer as `start` does, with header fields that `heads.lines` made."""
        self.started = True
        self.status = status
        self._mute = heads.bodiless(self.head.method, status)
        framed = length is not None or self._mute
        self._chunked = not framed and self.head.http11
        if not framed:
            self.connection.prompt()
        if not (framed or self._chunked) or not self.complete or self.connection.closing:
            self.keep_alive = False
        self._out.append(
            heads.begun_head(status, fields, length=length, chunked=self._chunked, keep_alive=self.keep_alive)
        )

    def write(self, data: bytes) -> None:
        """Queue bytes of the body."""
        if not data or self._mute:
            return
        if self._chunked:
            self._out += (heads.chunk(data), data, b"\r\n")
        else:
            self._out.append(data)

    def give(self, data: bytes) -> None:
        """Write bytes of the body, and flush."""
        if self._chunked and not self._out and 0 < (size := len(data)) <= JOINED_BYTES:
            self.connection.write(b"%x\r\n%b\r\n" % (size, data))
        else:
            self.write(data)
            self.flush()

    def flush(self) -> None:
        """Hand what is queued to the transport."""
        if self._out:
            out, self._out = self._out, []
            self.connection.send(out)

    def end(self) -> None:
        """Finish the answer."""
        if self.ended:
            return
        if self._chunked:
            self._out.append(heads.LAST_CHUNK)
        self.ended = True
        self.flush()
        self.connection.exchange_ended(self)

    def reply(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Answer as a whole."""
        self.start(status, headers, len(body))
        self.write(body)
        self.end()

    def pass_on(self, status: int, fields: bytes, body: bytes) -> None:
        """Answer a POST as a whole, with a body and header fields that `heads.lines` made."""
        self.started = self.ended = True
        self.status = status
        connection = self.connection
        if connection.closing or not self.complete:
            self.keep_alive = False
        head = heads.whole_head(status, fields, len(body), keep_alive=self.keep_alive)
        if len(body) <= JOINED_BYTES:
            connection.write(head + body)
        else:
            connection.send([head, body])
        connection.exchange_ended(self)

    def guard(self, step: Callable[[*Given], None], *given: *Given) -> None:
        """Take a step of the call. Whatever it does wrong, the client gets an answer and the others stay."""
        try:
            step(*given)
        except Exception:  # noqa: BLE001 - a step is the app's
            _log.exception("request failed", extra={"path": self.head.path})
            if self.ended:
                return
            if self.started:
                self.abort()
            if self.call is not None:
                self.call.on_fault(500, "a fault of the proxy; its log has the details")

    def abort(self) -> None:
        """Cut the connection: the only way to tell that a started answer has no end."""
        self.ended = True
        self._out.clear()
        self.connection.abort()
