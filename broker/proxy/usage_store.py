"""Usage on the disk: what workers add and the command line reads.

Owns: `usage.db` (SQLite, WAL) in the proxy's state directory, which several workers write and others read at once. Everything is added to what is there, so
no worker knows of another. It must never hold a key, a token, or what anybody said: only names, numbers, digests of conversations' ids, and headers on limits.

A file that is damaged is set aside and begun anew; one that is not ours, or of another format, is left alone.
"""

import contextlib
import errno
import fcntl
import os
import sqlite3
import stat
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from broker.ipc.unix import private_folder
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.usage_table import MAX_SESSIONS, Counts, Seen

FILE_NAME: Final = "usage.db"
KEEP_DAYS: Final = 400
MAX_ROWS: Final = 200_000
SESSION_SECONDS: Final = 86_400.0
_LIMIT_SECONDS: Final = 30 * 86_400.0
_MAX_LIMITS: Final = 1000
_PRUNE_HOURS: Final = 1
_BUSY_SECONDS: Final = 5.0
_VERSION: Final = 1
_MAX_ASIDE: Final = 9

_NUMBERS: Final = Counts.__struct_fields__
_TABLES: Final = f"""
CREATE TABLE usage (
    hour INTEGER NOT NULL, key TEXT NOT NULL, account TEXT NOT NULL, model TEXT NOT NULL,
    {", ".join(f"{name} {'REAL' if 'seconds' in name else 'INTEGER'} NOT NULL" for name in _NUMBERS)},
    PRIMARY KEY (hour, key, account, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    session TEXT NOT NULL, key TEXT NOT NULL, account TEXT NOT NULL, model TEXT NOT NULL, requests INTEGER NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
    PRIMARY KEY (session, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE limits (account TEXT PRIMARY KEY, at REAL NOT NULL, headers TEXT NOT NULL) STRICT;
CREATE TABLE buckets (key TEXT PRIMARY KEY, rpm INTEGER NOT NULL, full_at REAL NOT NULL) STRICT;
"""
_ADD_USAGE: Final = (
    f"INSERT INTO usage VALUES ({', '.join('?' * (4 + len(_NUMBERS)))}) ON CONFLICT DO UPDATE SET "  # noqa: S608 - names of our own
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _NUMBERS)
)
_ADD_SESSION: Final = (
    "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET account = excluded.account, model = excluded.model, "
    "requests = requests + excluded.requests, last = excluded.last"
)


class Bucket(msgspec.Struct, frozen=True):
    """How far a local key's rate is used up: it is full again at `full_at`, in wall-clock seconds."""

    rpm: int
    full_at: float


class Batch(msgspec.Struct, frozen=True):
    """What is to be added: counts by hour, key, account and model; conversations by id and key; headers by account; buckets by key.

    `now` is wall-clock seconds.
    """

    now: float
    usage: Mapping[tuple[int, str, str, str], Counts]
    sessions: Mapping[tuple[str, str], Seen]
    limits: Mapping[str, Mapping[str, str]]
    buckets: Mapping[str, Bucket]


class Session(msgspec.Struct, frozen=True):
    """A conversation lately seen: its id is the digest of what names it. Times are wall-clock seconds."""

    session: str
    key: str
    account: str
    model: str
    requests: int
    first: float
    last: float


class Told(msgspec.Struct, frozen=True):
    """What the provider's headers said of an account's limits when it was last asked, at a wall-clock second."""

    account: str
    at: float
    headers: dict[str, str]


class UsageStore:
    """The file, for one thread that writes."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._pruned_at = float("-inf")
        self.note = ""

    def write(self, batch: Batch) -> None:
        """Add a batch, all of it or nothing. `note` then says where a damaged file was set aside, if one was.

        Raises:
            OSError: the disk refuses.
            sqlite3.Error: it is full, held too long by others, or of another format; or it turned out to be damaged, and the next write begins anew.
            BrokerError: the file or its folder is not ours.
        """
        db = self._connect()
        try:
            self._add(db, batch)
        except sqlite3.OperationalError:
            self.close()
            raise
        except sqlite3.DatabaseError:
            self.close()
            self._connect()  # which looks whether it is as bad as it seems
            raise

    def close(self) -> None:
        """Close the file."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _connect(self) -> sqlite3.Connection:
        if self._db is not None:
            return self._db
        private_folder(self._path.parent)
        with _locked(self._path):
            _claim(self._path)
            try:
                self._db = _open(self._path)
            except sqlite3.OperationalError:
                raise  # locked, full, or of another format: not damage
            except sqlite3.DatabaseError as error:
                aside = _set_aside(self._path)
                self.note = f"the usage database was damaged ({error}) and begun anew; the old one is {aside}"
                _claim(self._path)
                self._db = _open(self._path)
        return self._db

    def _add(self, db: sqlite3.Connection, batch: Batch) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(
                _ADD_USAGE, ((*place, *msgspec.structs.astuple(counts)) for place, counts in batch.usage.items())
            )
            db.executemany(
                _ADD_SESSION,
                (
                    (*who, seen.account, seen.model, seen.requests, batch.now, batch.now)
                    for who, seen in batch.sessions.items()
                ),
            )
            db.executemany(
                "INSERT OR REPLACE INTO limits VALUES (?, ?, ?)",
                (
                    (account, batch.now, msgspec.json.encode(headers).decode())
                    for account, headers in batch.limits.items()
                ),
            )
            db.executemany(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)",
                ((key, bucket.rpm, bucket.full_at) for key, bucket in batch.buckets.items()),
            )
            _prune_sessions(db, batch.now)
            if batch.now - self._pruned_at >= _PRUNE_HOURS * 3600 or batch.now < self._pruned_at:
                _prune(db, batch.now)
                self._pruned_at = batch.now
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise


class UsageReader:
    """The file, for who only looks. A file that is not there holds nothing."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            BrokerError: `misconfigured`: it cannot be read, or makes no sense.
        """
        self._path = path
        self._db: sqlite3.Connection | None = None
        with _told(path):
            if path.exists():
                self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
                if not _version(self._db):
                    self.close()

    def usage(
        self, hours: tuple[int, int], globs: Mapping[str, str], *, hourly: bool
    ) -> Iterator[tuple[int, str, str, str, Counts]]:
        """Yield hour, key, account, model and counts, of hours from the first up to and without the second; without `hourly`, all at hour 0.

        `globs` says what key, account or model must be like.
        """
        where = "".join(f" AND {name} GLOB ?" for name in globs)
        hour = "hour" if hourly else "0"
        sums = ", ".join(f"sum({name})" for name in _NUMBERS)
        order = f"SELECT {hour}, key, account, model, {sums} FROM usage WHERE hour >= ? AND hour < ?{where} GROUP BY 1, 2, 3, 4"  # noqa: S608 - names of our own
        for at, key, account, model, *numbers in self._rows(order, (*hours, *globs.values())):
            counts = msgspec.convert(dict(zip(_NUMBERS, numbers, strict=True)), Counts)
            yield (*msgspec.convert((at, key, account, model), tuple[int, str, str, str]), counts)

    def sessions(self, since: float) -> list[Session]:
        """Return the conversations seen since a wall-clock second, the latest first."""
        rows = self._rows("SELECT * FROM sessions WHERE last >= ? ORDER BY last DESC", (since,))
        return [msgspec.convert(dict(zip(Session.__struct_fields__, row, strict=True)), Session) for row in rows]

    def limits(self) -> list[Told]:
        """Return what headers told of each account."""
        rows = self._rows("SELECT account, at, headers FROM limits ORDER BY account", ())
        found = msgspec.convert(rows, list[tuple[str, float, str]])
        return [Told(account, at, msgspec.json.decode(headers, type=dict[str, str])) for account, at, headers in found]

    def buckets(self) -> dict[str, Bucket]:
        """Return the buckets that were used lately, by key."""
        rows = self._rows("SELECT key, rpm, full_at FROM buckets ORDER BY key", ())
        found = msgspec.convert(rows, list[tuple[str, int, float]])
        return {key: Bucket(rpm, full_at) for key, rpm, full_at in found}

    def close(self) -> None:
        """Close the file."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _rows(self, order: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        if self._db is None:
            return []
        with _told(self._path):
            return self._db.execute(order, values).fetchall()


@contextlib.contextmanager
def _told(path: Path) -> Generator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, msgspec.DecodeError) as error:
        raise BrokerError(
            ErrorCode.MISCONFIGURED, f"{path}: {error}", hint="docs/usage.md says what the file is."
        ) from None


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Let one process at a time judge and replace the file. Never unlinked: a lock on a file that is gone excludes nobody."""
    fd = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _claim(path: Path) -> None:
    """Make the file, private from its first moment, or see that it is ours. SQLite gives its journal files the mode of the database."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
            raise BrokerError(
                ErrorCode.MISCONFIGURED, f"{path} is no file of this user", hint="Move it out of the way."
            )
        if info.st_mode & 0o077:
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        known = _version(db)  # before anything is changed
        db.execute("PRAGMA journal_mode=WAL")
        # A crash of the machine may lose the last seconds; it cannot damage the file.
        db.execute("PRAGMA synchronous=NORMAL")
        if not known:
            db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
        _check(db)
    except BaseException:
        db.close()
        raise
    return db


def _version(db: sqlite3.Connection) -> int:
    """Return 0 for a file that was just made."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version not in (0, _VERSION):
        raise sqlite3.OperationalError(f"written by another version of the program (format {version})")
    return int(version)


def _check(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("damaged")


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    if number > _MAX_ASIDE:
        raise OSError(errno.EEXIST, f"damaged again; {_MAX_ASIDE} older ones lie beside it")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside


def _prune_sessions(db: sqlite3.Connection, now: float) -> None:
    db.execute("DELETE FROM sessions WHERE last < ? OR last > ?", (now - SESSION_SECONDS, now + SESSION_SECONDS))
    db.execute(
        "DELETE FROM sessions WHERE (session, key) IN (SELECT session, key FROM sessions ORDER BY last DESC LIMIT -1 OFFSET ?)",
        (MAX_SESSIONS,),
    )


def _prune(db: sqlite3.Connection, now: float) -> None:
    db.execute("DELETE FROM usage WHERE hour < ?", (int(now // 3600) - 24 * KEEP_DAYS,))
    # Whole hours, so that no hour is told in part.
    db.execute(
        "DELETE FROM usage WHERE hour <= (SELECT hour FROM usage ORDER BY hour DESC LIMIT 1 OFFSET ?)", (MAX_ROWS,)
    )
    db.execute("DELETE FROM limits WHERE at < ?", (now - _LIMIT_SECONDS,))
    db.execute(
        "DELETE FROM limits WHERE account IN (SELECT account FROM limits ORDER BY at DESC LIMIT -1 OFFSET ?)",
        (_MAX_LIMITS,),
    )
    db.execute("DELETE FROM buckets WHERE full_at < ?", (now - 3600,))
