"""One connection of a client: how long it may take, and how it is refused.

Owns: the deadline of a request's head and body, and the problem documents for what aiohttp itself refuses. It must never know what is asked for.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from broker import __version__
from broker.ipc.schema import PROBLEM_JSON, encode, problem_of
from broker.model.errors import BrokerError, ErrorCode

IDLE_SECONDS: Final = 75.0
"""How long a connection may lie idle between two requests."""

_HEAD_BYTES = 8190
_LINGER_SECONDS = 1.0

COMMON_HEADERS: Final = {"Server": f"ccs-broker/{__version__}", "Cache-Control": "no-store"}


class Connection(web.RequestHandler):
    """An aiohttp connection with a deadline from the first byte of a request to the last."""

    __slots__ = ("_busy", "_closed", "_deadline", "_heard", "_now", "_request_seconds", "_timer")

    def __init__(
        self,
        manager: web.Server,
        *,
        request_seconds: float,
        closed: Callable[["Connection"], None],
        now: Callable[[], float],
    ) -> None:
        """A request has `request_seconds` to arrive; `closed` is told when the connection has ended. `now` is a clock that no step moves."""
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_SECONDS,
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]  # None turns it off
            lingering_time=_LINGER_SECONDS,
            max_line_size=_HEAD_BYTES,
            max_field_size=_HEAD_BYTES,
            auto_decompress=False,
        )
        self._request_seconds = request_seconds
        self._closed = closed
        self._now = now
        self._busy = False
        self._deadline = 0.0
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline: whoever connects has something to ask."""
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Start the deadline of a further request with its first byte."""
        self._heard = self._now()  # not the event loop's time, which stands still for a whole turn of it
        if data and self._timer is None and not self._busy:
            self._arm()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clock."""
        self._disarm()
        super().connection_lost(exc)
        self._closed(self)

    def begin(self) -> float:
        """Note that a request's head is here; return the loop time at which its body must be."""
        if self._timer is None:  # pipelined behind another request
            self._heard = self._now()
            self._deadline = self._loop.time() + self._request_seconds
        self._disarm()
        self._busy = True
        return self._deadline

    @property
    def waited(self) -> float:
        """The seconds since the last bytes of the request under way were here: others may have had their turn meanwhile."""
        return self._now() - self._heard

    def end(self) -> None:
        """Note that the request is answered."""
        self._busy = False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote the request
    ) -> web.StreamResponse:
        """Answer what never reached the handler (not HTTP, a head too long), and faults, as a problem document."""
        self._disarm()
        if isinstance(exc, LineTooLong):
            detail = f"the request line or a header is longer than {_HEAD_BYTES} bytes"
            return problem_response(BrokerError(ErrorCode.TOO_LARGE, detail), close=True)
        if status == 400:
            detail = "this is not a valid HTTP/1.1 request"
            return problem_response(BrokerError(ErrorCode.BAD_REQUEST, detail), close=True)
        super().handle_error(request, status, exc)  # logs it
        return problem_response(BrokerError(ErrorCode.INTERNAL, "the log has the details"), close=True)

    def _arm(self) -> None:
        self._deadline = self._loop.time() + self._request_seconds
        self._timer = self._loop.call_at(self._deadline, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport is not None:
            self.transport.write(raw_problem(too_slow(self._request_seconds)))
        self.force_close()


def problem_response(error: BrokerError, extra: dict[str, str] | None = None, *, close: bool = False) -> web.Response:
    """Return the response for an error; `close` where what follows on the connection may not be what it seems."""
    headers = {**COMMON_HEADERS, **(extra or {})}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    body = encode(problem_of(error))
    response = web.Response(status=error.status, body=body, headers=headers, content_type=PROBLEM_JSON)
    if close:
        response.force_close()
    return response


def raw_problem(error: BrokerError) -> bytes:
    """Return the same answer as bytes, for where no request is being handled."""
    body = encode(problem_of(error))
    lines = [
        f"HTTP/1.1 {error.status} {problem_of(error).title}",
        f"Content-Type: {PROBLEM_JSON}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in COMMON_HEADERS.items()),
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def too_slow(seconds: float) -> BrokerError:
    """Return the error for a request that did not arrive in time."""
    return BrokerError(ErrorCode.TOO_SLOW, f"the request did not arrive whole within {seconds:g} s")
