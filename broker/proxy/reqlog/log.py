"""The request log of one worker: a witness for each request, and the thread that writes.

Owns: `RequestLog` and `Recording`. On the way of a request nothing is done but to keep bytes, within bounds: they are masked, cut and written by a thread. When
it falls behind requests go unlogged, which is counted and told; when it cannot write, that is told once. A request never waits for it, and never fails for it.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from broker.config import RequestLogConfig
from broker.model.account import AccountId
from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.observe.logs import log_id
from broker.paths import expand
from broker.proxy.headers import Headers
from broker.proxy.reqlog.capture import Capture, Captured, ends_of
from broker.proxy.reqlog.entry import Entry, Try
from broker.proxy.reqlog.folder import Folder
from broker.proxy.wire.exchange import Exchange
from broker.proxy.wire.heads import ResponseHead
from broker.proxy.witness import Attempt

_log = logging.getLogger(__name__)

MAX_WAITING: Final = 256
MAX_WAITING_BYTES: Final = 64 << 20
MAX_TRIES: Final = 8
"""Attempts of one request that are kept: the first and the last."""

_FIRST_TRIES: Final = 4
_PRUNE_SECONDS: Final = 600.0
_CLOSE_SECONDS: Final = 5.0

Count = Callable[[str], None]
"""Told `written`, `dropped` or `failed`, from any thread."""


class RequestLog:
    """What one worker writes down. Made inside a running loop."""

    def __init__(self, default: Path, clock: Clock, time: Callable[[], float], count: Count) -> None:
        """Be off until `apply`. `default` is the directory where the config names none; `time` reads the event loop's clock."""
        self._default = default
        self._clock = clock
        self.time = time
        self._count = count
        self._settings = RequestLogConfig()
        self._keys: tuple[Secret, ...] = ()
        self._folder: Folder | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._lock = Lock()
        self._waiting = 0
        self._waiting_bytes = 0
        self._dropped = 0
        self._told = ""

    def apply(self, settings: RequestLogConfig, keys: tuple[Secret, ...] = ()) -> "RequestLog | None":
        """Go by other settings from the next request on; return itself, or None where nothing is to be written. `keys` open the proxy."""
        self._keys = keys
        if settings != self._settings:
            self._settings = settings
            self._stop_timer()
            self._folder = self._folder_of(settings) if settings.enabled else None
            if self._folder is not None:
                self._prune_later(0.0)
        return self if self._folder is not None else None

    def begin(self, exchange: Exchange, body: bytes, request_id: str, route: str) -> "Recording | None":
        """Return who keeps a request whose body is here."""
        if self._folder is None:
            return None
        return Recording(self, self._folder, self._settings, self._keys, exchange, body, request_id, route)

    def put(self, entry: Entry, folder: Folder) -> None:
        """Have an entry written, if there is room for one to wait."""
        size = entry.size
        with self._lock:
            full = self._waiting >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES
            if not full:
                self._waiting += 1
                self._waiting_bytes += size
        if full:
            self._drop()
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="request-log")
        self._thread.submit(self._write, entry, folder, size)

    def began(self, exchange: Exchange) -> float:
        """Return the wall-clock time of a request's first byte."""
        return self._clock.now().wall - (self.time() - exchange.since)

    async def close(self) -> None:
        """Write what waits, for some seconds at most."""
        self._stop_timer()
        self._folder = None
        thread, self._thread = self._thread, None
        if thread is None:
            return
        done = self._loop.run_in_executor(thread, _nothing)
        await asyncio.wait([done], timeout=_CLOSE_SECONDS)
        thread.shutdown(wait=False, cancel_futures=True)

    def _folder_of(self, settings: RequestLogConfig) -> Folder:
        return Folder(
            expand(settings.directory) if settings.directory is not None else self._default,
            lambda: self._clock.now().wall,
            max_bytes=settings.max_megabytes << 20,
            max_age_days=settings.max_age_days,
            max_string_bytes=settings.max_string_bytes,
        )

    def _drop(self) -> None:
        self._count("dropped")
        if not self._dropped:
            _log.warning("the request log cannot keep up: requests go unlogged until it does")
        self._dropped += 1

    # --- on the thread ---

    def _write(self, entry: Entry, folder: Folder, size: int) -> None:
        try:
            self._guarded(lambda: folder.write(entry), "written")
        finally:
            with self._lock:
                self._waiting -= 1
                self._waiting_bytes -= size
                idle = not self._waiting
            if idle and self._dropped:
                _log.warning("the request log keeps up again", extra={"unlogged": self._dropped})
                self._dropped = 0

    def _guarded(self, work: Callable[[], None], outcome: str | None) -> None:
        try:
            work()
        except (OSError, BrokerError) as error:
            why = error.detail if isinstance(error, BrokerError) else error.strerror or type(error).__name__
            if not self._told:
                _log.error("the request log cannot be written", extra={"reason": why})
            self._told = why
        except Exception:  # noqa: BLE001 - a thread's error is seen by nobody else
            _log.exception("the request log failed")
        else:
            if outcome is not None:
                self._count(outcome)
                if self._told:
                    _log.info("the request log is written again")
                self._told = ""
            return
        if outcome is not None:
            self._count("failed")

    # --- age, also while nothing is asked ---

    def _prune_later(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._prune)

    def _prune(self) -> None:
        folder = self._folder
        if folder is not None:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="request-log")
            self._thread.submit(self._guarded, folder.prune, None)
            self._prune_later(_PRUNE_SECONDS)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Recording:
    """Keeps one request (see `witness.Witness`)."""

    __slots__ = (
        "_answer", "_body", "_exchange", "_first", "_folder", "_id", "_key", "_keys", "_left_out", "_limit", "_log", "_model", "_number", "_only_errors",
        "_open", "_route", "_told", "_tries",
    )  # fmt: skip

    def __init__(
        self,
        log: RequestLog,
        folder: Folder,
        settings: RequestLogConfig,
        keys: tuple[Secret, ...],
        exchange: Exchange,
        body: bytes,
        request_id: str,
        route: str,
    ) -> None:
        """Nothing but the client's request is known yet."""
        self._log = log
        self._folder = folder
        self._limit = settings.max_body_bytes
        self._only_errors = settings.only == "errors"
        self._keys = keys
        self._exchange = exchange
        self._body = ends_of(body, self._limit)
        self._id = request_id
        self._route = route
        self._model: str | None = None
        self._key: str | None = None
        self._tries: list[Try] = []
        self._number = 0
        self._left_out = 0
        self._open: _Open | None = None
        self._told: tuple[int, Headers] | None = None
        self._answer = Capture(self._limit)
        self._first: float | None = None

    def asked(self, model: str, key: str | None) -> None:
        """Learn which model was asked for, and the name of the local key that opened."""
        self._model, self._key = model, key

    def sent(self, attempt: Attempt) -> None:
        """Begin with an attempt."""
        self._close_open()
        self._number += 1
        body = ends_of(attempt.body, self._limit)
        self._open = _Open(self._number, attempt, body, self._seconds(), Capture(self._limit))

    def answered(self, head: ResponseHead) -> None:
        """Keep the head of its answer."""
        if self._open is not None:
            self._open.head = head

    def received(self, data: bytes) -> None:
        """Keep a part of its answer."""
        tried = self._open
        if tried is not None:
            if tried.first is None:
                tried.first = self._seconds()
            tried.answer.feed(data)

    def started(self, status: int, headers: Headers) -> None:
        """Keep the head of the client's answer."""
        self._told = status, headers

    def given(self, data: bytes) -> None:
        """Keep a part of the client's answer."""
        if self._first is None:
            self._first = self._seconds()
        self._answer.feed(data)

    def ended(self, status: int, *, cut: bool = False) -> None:
        """Have it written."""
        self._close_open()
        head, log = self._exchange.head, self._log
        entry = Entry(
            self._id, log.began(self._exchange), self._seconds(), self._route, head.method, head.path, head.query, head.headers, self._body,
            status, cut, self._model, self._key, self._told, self._answer.captured(), self._first, tuple(self._tries), self._left_out,
            self._keys,
        )  # fmt: skip
        if entry.failed or not self._only_errors:
            log.put(entry, self._folder)

    def refused(self, status: int, headers: Headers, body: bytes) -> None:
        """Have a request written that was answered here."""
        self.started(status, headers)
        self.given(body)
        self.ended(status)

    def _seconds(self) -> float:
        return self._log.time() - self._exchange.since

    def _close_open(self) -> None:
        if self._open is None:
            return
        self._tries.append(self._open.closed(self._seconds()))
        self._open = None
        if len(self._tries) > MAX_TRIES:
            del self._tries[_FIRST_TRIES]
            self._left_out += 1


class _Open(msgspec.Struct):
    """An attempt under way."""

    number: int
    attempt: Attempt
    body: Captured
    sent: float
    answer: Capture
    head: ResponseHead | None = None
    first: float | None = None

    def closed(self, now: float) -> Try:
        made, head = self.attempt, self.head
        return Try(
            self.number, log_id(AccountId.parse(made.account)), made.provider, made.kind, made.dialect, made.model, made.url, made.token, made.head, self.body,
            self.sent, now, None if head is None else head.status, [] if head is None else head.headers, self.answer.captured(), self.first,
        )  # fmt: skip


def _nothing() -> None:
    """Be done after all that was given to the thread before."""
