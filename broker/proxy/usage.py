"""Counting what is used: a witness for each request, and the thread that writes.

Owns: `Usage`, one a worker, and `Counting`, one a request. A request costs a few microseconds here and waits for nothing: what is counted in memory a thread
adds to the file some seconds later, and at the end. A file that cannot be written costs nothing either: it is told once, and tried again with all there is to
write, within the bounds of `usage_table`. It must never hold what anybody said longer than its request lasts.
"""

import asyncio
import contextlib
import hashlib
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.observe.tasks import spawn
from broker.proxy.headers import Headers
from broker.proxy.keys import LocalKey
from broker.proxy.usage_limits import limits_in
from broker.proxy.usage_store import Batch, Bucket, UsageStore
from broker.proxy.usage_table import MAX_SESSIONS, NOBODY, Counts, Pending, Seen, Table, Who, name_of
from broker.proxy.wire.heads import ResponseHead
from broker.proxy.witness import Attempt
from broker.translate.codecs import Dialect
from broker.translate.tokens import Ends, Tokens, told_in

_log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 10.0
_SESSIONS_EACH: Final = 40  # a flush: to find out which conversation a request belongs to, its body is read
_MAX_KEPT: Final = 1000
_ID_DIGITS: Final = 12

LEFT: Final = 499
"""The status of a request whose client left."""

Session = Callable[[], str | None]
"""Tells which conversation a request belongs to."""


class Usage:
    """What one worker counts."""

    def __init__(
        self,
        path: Path | None,
        clock: Clock,
        time: Callable[[], float],
        used_until: Callable[[LocalKey], float],
        *,
        enabled: bool,
    ) -> None:
        """Count for the file at `path`, without it in memory alone; must be called inside a running loop.

        `time` reads the event loop's clock; `used_until` tells when a local key's bucket is full, on the clock's own.
        """
        self.enabled = enabled
        self.time = time
        self.table = Table()
        self.heads: dict[str, Headers] = {}
        """By account, those of its last answer."""
        self._clock = clock
        self._used_until = used_until
        self._store = UsageStore(path) if path is not None else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="usage-db")
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        self._pending = Pending()
        self._sessions: dict[tuple[str, str], Seen] = {}
        self._limits: dict[str, dict[str, str]] = {}
        self._limited: dict[str, LocalKey] = {}
        self._looks = _SESSIONS_EACH
        self._told = ""
        self._closed = False

    def witness(
        self, name: str, key: LocalKey | None, model: str, since: float, session: Session, *, free: bool
    ) -> "Counting | None":
        """Return who counts a request; None where nothing is counted.

        `name` is whose key it came with, `key` that key where it is a local one, `model` what was asked for. `since` is when its first byte came. `free`
        requests have no tokens to be told.
        """
        if not self.enabled:
            return None
        if key is not None and key.rpm is not None and len(self._limited) < _MAX_KEPT:
            self._limited[name] = key
        return Counting(self, name, model, since, session, free=free)

    def passed(
        self,
        who: Who,
        headers: Headers,
        dialect: Dialect | None,
        parts: list[bytes],
        seconds: float,
        session: Session,
    ) -> None:
        """Count a request that was answered at once, as a whole and well: what a witness of it would have come to, in one step.

        `headers` and `parts` are the answer's; what it cost is told in its `dialect`, None where there is nothing to be told.
        """
        if not self.enabled:
            return
        key, account, model = who
        if account in self.heads or len(self.heads) < _MAX_KEPT:
            self.heads[account] = headers
        row = self.table.row(who)
        row.requests += 1
        row.answered += 1
        row.seconds += seconds
        row.first_seconds += seconds
        if dialect is not None:
            _spend(row, told_in(dialect, b"".join(parts)), whole=True)
        self.noted(key, account, model, session)

    def noted(self, key: str, account: str, model: str, session: Session) -> None:
        """Note the conversation of a request, and that there is something to write."""
        if self._looks > 0:
            self._looks -= 1
            said = session()
            if said is not None:
                digest = hashlib.sha256(said.encode(errors="backslashreplace")).hexdigest()
                self._see((digest[:_ID_DIGITS], key), Seen(name_of(account), name_of(model), 1))
        if self._timer is None:
            self._arm(FLUSH_SECONDS)

    async def flush(self) -> bool:
        """Write what is counted; tell whether nothing is left. Never raises for the file."""
        async with self._lock:
            batch = self._gathered()
            if self._store is None:
                self._pending.clear()
            elif batch.usage or batch.sessions or batch.limits or batch.buckets:
                try:
                    await self._loop.run_in_executor(self._thread, self._store.write, batch)
                except (OSError, sqlite3.Error, BrokerError, ValueError) as error:
                    self._keep(batch)
                    self._tell(str(error) or type(error).__name__)
                    return False
                self._pending.clear()
                self._tell("")
            return True

    async def close(self) -> None:
        """Write what is left, and end."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._store is not None:
            self._thread.submit(self._store.close)
        self._thread.shutdown(wait=False)

    def _arm(self, seconds: float) -> None:
        if not self._closed:
            self._timer = self._loop.call_later(seconds, self._due)

    def _due(self) -> None:
        self._timer = None
        spawn(self._flush_or_later(), name="proxy-usage")

    async def _flush_or_later(self) -> None:
        if self._closed:
            return  # `close` writes what is left
        if not await self.flush() and self._timer is None:
            self._arm(_RETRY_SECONDS)

    def _see(self, who: tuple[str, str], seen: Seen) -> None:
        known = self._sessions.get(who)
        if known is not None:
            known.account, known.model = seen.account, seen.model
            known.requests += seen.requests
        elif len(self._sessions) < MAX_SESSIONS:
            self._sessions[who] = seen

    def _gathered(self) -> Batch:
        """Return all that is not written. Its mappings are nobody else's, but for the counts, which change under the lock only."""
        now = self._clock.now()
        self._looks = _SESSIONS_EACH
        self._pending.add(int(now.wall // 3600), self.table.take())
        heads, self.heads = self.heads, {}
        limits, self._limits = self._limits, {}
        for name, headers in heads.items():
            account, found = name_of(name), limits_in(headers)
            if found and (account in limits or len(limits) < _MAX_KEPT):
                limits[account] = found
        limited, self._limited = self._limited, {}
        buckets = {
            name: Bucket(key.rpm, now.wall + max(0.0, self._used_until(key) - now.boot))
            for name, key in limited.items()
            if key.rpm is not None
        }
        sessions, self._sessions = self._sessions, {}
        return Batch(now.wall, self._pending.rows, sessions, limits, buckets)

    def _keep(self, batch: Batch) -> None:
        """Take back what was not written, but for the buckets: those fill up within a minute."""
        newer, self._sessions = self._sessions, dict(batch.sessions)
        for who, seen in newer.items():
            self._see(who, seen)
        self._limits = {account: dict(told) for account, told in batch.limits.items()}

    def _tell(self, why: str) -> None:
        if self._store is not None and self._store.note:
            _log.error("usage: %s", self._store.note)
            self._store.note = ""
        if why and not self._told:
            _log.error("usage cannot be written, and is kept in memory", extra={"reason": why})
        elif self._told and not why:
            _log.info("usage is written again")
        self._told = why


class Counting:
    """Counts one request (see `witness.Witness`)."""

    __slots__ = ("_account", "_dialect", "_ends", "_first", "_free", "_key", "_model", "_session", "_since", "_usage")

    def __init__(self, usage: Usage, key: str, model: str, since: float, session: Session, *, free: bool) -> None:
        """Nothing has happened yet."""
        self._usage = usage
        self._key = key
        self._account = NOBODY
        self._model = model
        self._since = since
        self._session = session
        self._free = free
        self._dialect = Dialect.OPENAI_CHAT
        self._ends: Ends | None = None
        self._first = 0.0

    def sent(self, attempt: Attempt) -> None:
        """Count an earlier attempt as one that brought nothing."""
        if self._account != NOBODY:
            self._row().retried += 1
        self._account, self._model = attempt.account, attempt.model
        self._dialect = attempt.dialect
        self._ends = None
        self._first = 0.0

    def answered(self, head: ResponseHead) -> None:
        """Keep its headers, and look at the body where it is an answer."""
        heads = self._usage.heads
        if self._account in heads or len(heads) < _MAX_KEPT:
            heads[self._account] = head.headers
        if 200 <= head.status < 300:
            self._ends = Ends(self._dialect)

    def received(self, data: bytes) -> None:
        """Look at a part of the answer."""
        ends = self._ends
        if ends is not None:
            if not self._first:
                self._first = self._usage.time()
            ends.feed(data)

    def started(self, status: int, headers: Headers) -> None:
        """What the client is told does not count."""

    def given(self, data: bytes) -> None:
        """What the client is told does not count."""

    def ended(self, status: int, *, cut: bool = False) -> None:
        """Add it all up."""
        usage, row = self._usage, self._row()
        row.requests += 1
        row.seconds += usage.time() - self._since
        failed = cut or (status >= 400 and status != LEFT)
        row.failed += failed
        row.left += status == LEFT
        if self._ends is not None:
            if self._first:
                row.answered += 1
                row.first_seconds += self._first - self._since
            if not self._free:
                _spend(row, self._ends.tokens(), whole=not failed and status != LEFT)
        usage.noted(self._key, self._account, self._model, self._session)

    def _row(self) -> Counts:
        return self._usage.table.row((self._key, self._account, self._model))


def _spend(row: Counts, tokens: Tokens, *, whole: bool) -> None:
    row.prompt += tokens.prompt or 0
    row.completion += tokens.completion or 0
    row.cached += tokens.cached or 0
    row.reasoning += tokens.reasoning or 0
    row.untold += whole and (tokens.prompt is None or tokens.completion is None)
