"""One connection of a client: framing requests, answering them in order, and how long everything may take.

Owns: the parser (llhttp), the deadline of a request's head and body, and the limits on both. It must never know what is asked for, read on while a
request waits behind another, or keep a client that does not read.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, cast

import httptools
import msgspec

from broker.daemon.replies import Reply, problem, too_slow
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.tasks import spawn

_log = logging.getLogger(__name__)

IDLE_SECONDS: Final = 75.0
"""How long a connection may lie idle between two requests."""

_FIELD_BYTES: Final = 8190
_HEAD_BYTES: Final = 64 << 10
_HEADERS: Final = 100
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 4 << 20
_OF_BODIES: Final = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_VERSIONS: Final = ("1.0", "1.1")
_NOT_HTTP: Final = "this is not a valid HTTP/1.1 request"


@dataclass(slots=True)
class Request:
    """One request, whole, or what is wrong with it.

    Names of `headers` are in lower case; `heard` is when its last bytes were here; `number` goes into its answer.
    `raw` is the request as it came, where it came alone, in one piece and without a body.
    """

    method: str = ""
    target: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)  # it may hold a key or a pasted code
    version: str = "1.1"
    keep_alive: bool = False
    heard: float = 0.0
    number: str = ""
    fault: BrokerError | None = None
    raw: bytes = field(default=b"", repr=False)

    def values(self, name: bytes) -> list[bytes]:
        """Return all values of a header."""
        return [value for each, value in self.headers if each == name]


class Limits(msgspec.Struct, frozen=True):
    """A request has `request_seconds` to arrive, and so has a client to read its answer; a body has at most `body_bytes`."""

    request_seconds: float
    body_bytes: int


Check = Callable[[Request], None]
"""Looks at a request's head before its body is read; raises `BrokerError`."""

Known = Callable[[bytes], bytes | None]
"""Returns the response to a request that was handled before in the same bytes (`Request.raw`); None where it has to be handled."""

Handler = Callable[["Connection", Request], Awaitable[Reply | None]]
"""Answers a request; None where it took the connection over, and is done with it. `BrokerError` is its own business."""


class Connection(asyncio.Protocol):
    """A client's connection: one request at a time is handled, in a task that ends with the connection."""

    def __init__(
        self,
        limits: Limits,
        check: Check,
        handler: Handler,
        known: Known,
        *,
        closed: Callable[["Connection"], None],
        late: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        """`closed` is told when the connection has ended, `late` when a request did not arrive in time. `now` is a clock that no step moves."""
        self._limits = limits
        self._check = check
        self._handler = handler
        self._known = known
        self._closed = closed
        self._late = late
        self._now = now
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        """The request under way."""
        self._parser = httptools.HttpRequestParser(self)
        self._reading: Request | None = None
        self._in_head = False
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._heard = 0.0
        self._deaf = False  # what comes is not looked at any more
        self._linger: int | None = (
            None  # and so many bytes of it are taken, so that the client sees our answer and no reset
        )
        self._waiting: deque[Request] = deque()
        self._full = False  # the client does not read
        self._paused = False  # we do not read
        self._resting = False  # nothing is expected of the client
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def drain(self) -> None:
        """Take no further request; hang up once those that are here are answered."""
        self._deaf, self._reading = True, None
        if self.task is None and not self._waiting:
            self.hang_up()

    def hang_up(self) -> None:
        """Close, once the client has read what was said; one that does not is cut off."""
        self._deaf = True
        self._waiting.clear()
        if self.transport is None or self.transport.is_closing():
            return
        if self._linger is None:
            self._expect(self._limits.request_seconds)
            self.transport.close()
        else:
            self._hold_back()
            self._expect(_LINGER_SECONDS)
            self.transport.write_eof()

    def abort(self) -> None:
        """Cut it off."""
        if self.transport is not None:
            self.transport.abort()

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline: whoever connects has something to ask."""
        self.transport = cast("asyncio.Transport", transport)
        self._expect(self._limits.request_seconds)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go: nobody is there to take an answer."""
        del exc
        self.transport, self._deaf = None, True
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self.task is not None:
            self.task.cancel()
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        """Frame what came."""
        if self._deaf:
            self._discard(len(data))
            return
        # Between two messages the parser has no memory: the same bytes are the same request.
        alone = self._reading is None and self.task is None and not self._waiting
        if alone and not self._full and (answer := self._known(data)) is not None:
            self._write(answer)
            self._rest()
            return
        self._heard = self._now()  # not the event loop's time, which may stand still for a whole turn of it
        begun = self._reading
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True  # an offer we don't take (RFC 9110 section 7.8); what follows may not be HTTP
        except httptools.HttpParserError:
            self._refuse(BrokerError(ErrorCode.BAD_REQUEST, _NOT_HTTP))
        if alone and len(self._waiting) == 1 and self._reading is None and _is_bare(self._waiting[0]):
            self._waiting[0].raw = data
        if self._in_head and begun is not None and self._reading is begun:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self._refuse(_head_too_long())
        self._advance()

    def pause_writing(self) -> None:
        """Give the client a while to read."""
        self._full = True
        if self.task is None:
            self._rest()

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        if self.task is None:
            self._rest()
            self._advance()

    # -- llhttp

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._reading, self._in_head, self._head_bytes = Request(), True, 0
        self._body, self._body_bytes = [], 0

    def on_url(self, url: bytes) -> None:
        """The request target, or a part of it."""
        if self._reading is not None:
            self._reading.target += url.decode("latin-1")
            if len(self._reading.target) > _FIELD_BYTES:
                self._refuse(_head_too_long())

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer is nobody's business."""
        if self._reading is not None and self._in_head:
            self._reading.headers.append((name.lower(), value))
            if len(name) + len(value) > _FIELD_BYTES or len(self._reading.headers) > _HEADERS:
                self._refuse(_head_too_long())

    def on_headers_complete(self) -> None:
        """A head is complete: refuse what needs no body to be refused."""
        self._in_head = False
        request = self._reading
        if request is None:
            return
        request.method = self._parser.get_method().decode("latin-1")
        request.version = self._parser.get_http_version()
        request.keep_alive = self._parser.should_keep_alive()
        length = request.values(b"content-length")
        has_body = bool(length or request.values(b"transfer-encoding"))
        try:
            self._check_head(request, length)
        except BrokerError as error:
            if has_body:
                self._refuse(error)
            else:
                request.fault = error
            return
        if has_body and self.task is None and not self._waiting and _expects_continue(request):
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Bytes of a request's body."""
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse(self._body_too_long())

    def on_message_complete(self) -> None:
        """A request is whole."""
        request, self._reading = self._reading, None
        if request is not None and not self._deaf:
            request.body, request.heard = b"".join(self._body), self._heard
            self._waiting.append(request)

    def _check_head(self, request: Request, length: list[bytes]) -> None:
        if request.version not in _VERSIONS:
            raise BrokerError(ErrorCode.BAD_REQUEST, _NOT_HTTP)
        self._check(request)
        if length and int(length[0]) > self._limits.body_bytes:  # llhttp lets nothing but digits through
            raise self._body_too_long()

    def _body_too_long(self) -> BrokerError:
        return BrokerError(ErrorCode.TOO_LARGE, f"the body is longer than {self._limits.body_bytes} bytes")

    def _refuse(self, error: BrokerError) -> None:
        """Answer with an error when it is its turn, and hear no more."""
        if not self._deaf:
            self._deaf, self._reading, self._linger = True, None, _LINGER_BYTES
            self._waiting.append(Request(fault=error, heard=self._heard))

    def _discard(self, size: int) -> None:
        if self._linger is not None:
            self._linger -= size
            if self._linger < 0:
                self.abort()

    # -- one after another

    def _advance(self) -> None:
        """Begin with the next request where it is its turn; read on where none waits."""
        if self.task is None and self.transport is not None:
            if self._waiting and not self._full:
                self._deadline, self._resting = None, False
                self.task = spawn(self._serve(self._waiting.popleft()), name="request")
            elif self._resting and self._reading is not None:
                self._rest()
        self._hold_back()

    def _hold_back(self) -> None:
        if self.transport is None or self.transport.is_closing() or self._paused == bool(self._waiting):
            return
        self._paused = not self._paused
        if self._paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    async def _serve(self, request: Request) -> None:
        try:
            reply = await self._handler(self, request)
        except Exception:  # noqa: BLE001 - the client must learn of a fault of ours
            _log.exception("a request broke off", extra={"method": request.method})
            reply = problem(BrokerError(ErrorCode.INTERNAL, "the log has the details"), close=True)
        self.task = None
        if reply is None:
            self.hang_up()
        else:
            self._answer(request, reply)

    def _answer(self, request: Request, reply: Reply) -> None:
        last = reply.close or not request.keep_alive or (self._deaf and not self._waiting)
        kept = "keep-alive" if request.version == "1.0" else ""
        self._write(reply.encode("close" if last else kept, request.number, head_only=request.method == "HEAD"))
        if last:
            self.hang_up()
            return
        if self._waiting:
            self._waiting[0].heard = self._now()  # its turn begins now
        self._rest()
        self._advance()

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    # -- how long

    def _rest(self) -> None:
        """Nothing is handled: the client has to read on, to send the rest of a request, or nothing to do."""
        self._resting = self._reading is None and not self._full
        self._expect(IDLE_SECONDS if self._resting else self._limits.request_seconds)

    def _expect(self, seconds: float) -> None:
        """Have a look in so many seconds."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        """See whether the deadline has come: it moves with every request, and the timer does not follow at once."""
        self._timer = None
        if self._deadline is not None and self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
        elif self._deadline is not None and self.transport is not None:
            self._give_up(self.transport)

    def _give_up(self, transport: asyncio.Transport) -> None:
        if self._full or self._linger is not None or transport.is_closing():
            transport.abort()
            return
        if not self._resting:
            self._late()
            self._linger = _LINGER_BYTES
            self._write(problem(too_slow(self._limits.request_seconds)).encode("close"))
        self.hang_up()


def _is_bare(request: Request) -> bool:
    return request.fault is None and not any(name in _OF_BODIES for name, _ in request.headers)


def _expects_continue(request: Request) -> bool:
    return request.version == "1.1" and [each.lower() for each in request.values(b"expect")] == [b"100-continue"]


def _head_too_long() -> BrokerError:
    return BrokerError(ErrorCode.TOO_LARGE, f"the request line or a header is longer than {_FIELD_BYTES} bytes")
