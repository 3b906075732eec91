"""What was used, counted in memory: a table of fixed size, and what of it is not written yet.

Owns: `Counts`, one row's numbers; `Table`, a row for each local key, account and model; `Pending`, what waits for the disk. Pure. It must never grow beyond its
bounds, whatever clients ask for: what finds no room is counted under `OTHER`.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

CONFIG: Final = "config"
"""Whoever came in with a key of `proxy.api_keys`."""

INTERNAL: Final = "internal"
"""Whoever came in with the internal key."""

OTHER: Final = "other"
"""What found no room in the table."""

NOBODY: Final = "none"
"""The account of a request that was sent to none."""

RESERVED: Final = frozenset({CONFIG, INTERNAL, OTHER})
"""Names no local key may be given."""

MAX_ROWS: Final = 1024
MAX_PENDING: Final = 8192
MAX_SESSIONS: Final = 1000
_MAX_NAME: Final = 200

Who = tuple[str, str, str]
"""Local key, account, model."""


class Counts(msgspec.Struct):
    """The numbers of a row.

    `requests` are clients' requests that ended; of these `failed` got an error or an answer without its end, `left` were given up by the client. `retried` are
    attempts after which another one was made. Tokens are as `translate.tokens.Tokens` says; `untold` are answers that did not tell them, or not all. `seconds`
    is from a request's first byte to its answer's last, `first_seconds` to the first byte of an upstream's answer, which `answered` requests had.
    """

    requests: int = 0
    failed: int = 0
    left: int = 0
    retried: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    untold: int = 0
    seconds: float = 0.0
    answered: int = 0
    first_seconds: float = 0.0

    def add(self, other: "Counts", times: int = 1) -> None:
        """Add another row's numbers, or with -1 take them away."""
        self.requests += times * other.requests
        self.failed += times * other.failed
        self.left += times * other.left
        self.retried += times * other.retried
        self.prompt += times * other.prompt
        self.completion += times * other.completion
        self.cached += times * other.cached
        self.reasoning += times * other.reasoning
        self.untold += times * other.untold
        self.seconds += times * other.seconds
        self.answered += times * other.answered
        self.first_seconds += times * other.first_seconds

    def copy(self) -> "Counts":
        """Return the same numbers apart."""
        return Counts(*msgspec.structs.astuple(self))


class Seen(msgspec.Struct):
    """A conversation since it was last written: who asked, who served it last, how often."""

    account: str
    model: str
    requests: int


class _Row(msgspec.Struct):
    now: Counts
    taken: Counts
    changed: int  # the number of the take at which it was last seen to have changed


def name_of(text: str) -> str:
    """Return a name as it can be kept: cut, and without halves of characters, which no file takes."""
    return text[:_MAX_NAME].encode(errors="replace").decode()


class Table:
    """The rows of one worker since it began, of which `take` returns what is new."""

    def __init__(self, limit: int = MAX_ROWS) -> None:
        """Begin with none; there are never more than `limit`, and one for the others."""
        self._limit = limit
        self._rows: dict[Who, _Row] = {}
        self._takes = 0
        self._other = self._made((OTHER, OTHER, OTHER))

    def row(self, who: Who) -> Counts:
        """Return the row to count in."""
        known = self._rows.get(who)
        if known is not None:
            return known.now
        if len(self._rows) > self._limit:
            return self._other.now
        key, account, model = who
        return self._made((name_of(key), name_of(account), name_of(model))).now

    def rows(self) -> Iterator[tuple[Who, Counts]]:
        """Yield every row as it stands; the caller changes nothing."""
        for who, row in self._rows.items():
            yield who, row.now

    def take(self) -> list[tuple[Who, Counts]]:
        """Return what was counted since the last time, and make room where there is none."""
        self._takes += 1
        new: list[tuple[Who, Counts]] = []
        for who, row in self._rows.items():
            if row.now != row.taken:
                delta = row.now.copy()
                delta.add(row.taken, -1)
                row.taken, row.changed = row.now.copy(), self._takes
                new.append((who, delta))
        if len(self._rows) > self._limit:
            self._forget()
        return new

    def _made(self, who: Who) -> _Row:
        return self._rows.setdefault(who, _Row(Counts(), Counts(), self._takes))

    def _forget(self) -> None:
        """Give the rows that rested longest to the others, so that the sums stay what they are."""
        resting = sorted((row.changed, who) for who, row in self._rows.items() if row is not self._other)
        for _, who in resting[: self._limit // 4 + 1]:
            row = self._rows.pop(who)
            self._other.now.add(row.now)
            self._other.taken.add(row.now)


class Pending:
    """What is counted and not yet on the disk, by the hour it was counted in (hours since the epoch)."""

    def __init__(self, limit: int = MAX_PENDING) -> None:
        """Begin with nothing; there are never more than `limit` rows, and one for the others."""
        self._limit = limit
        self._overflow: tuple[int, str, str, str] | None = None
        self.rows: dict[tuple[int, str, str, str], Counts] = {}

    def add(self, hour: int, new: list[tuple[Who, Counts]]) -> None:
        """Take what a table returned."""
        for who, counts in new:
            place = (hour, *who)
            if place not in self.rows and len(self.rows) >= self._limit:
                if self._overflow is None:
                    self._overflow = (hour, OTHER, OTHER, OTHER)
                place = self._overflow
            self.rows.setdefault(place, Counts()).add(counts)

    def clear(self) -> None:
        """Forget it: it was written."""
        self.rows = {}
        self._overflow = None
