"""What must survive a restart besides the files: generations, verdicts, chosen defaults.

Owns: `state.db` (SQLite, WAL, synchronous=FULL) in the state directory, used by one thread of its own. It is written behind the truth, which is in
memory: a fault of it is reported and retried and never stops a token from being served. It must never hold a secret: digests only.
"""

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from broker.model.account import AccountId, Generation, NeedsLogin
from broker.model.errors import BrokerError
from broker.model.secret import Digest
from broker.observe.tasks import spawn

T = TypeVar("T")

_Values = tuple[str, str, str, int, str, str | None, str | None, float | None, str | None, int]
"""A row as SQLite gives it: the tables are STRICT."""

_VERSION = 1
_BUSY_SECONDS = 2.0
_TABLES = """
CREATE TABLE accounts (
    account TEXT PRIMARY KEY, directory TEXT NOT NULL, file TEXT NOT NULL, generation INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    digest TEXT, reason TEXT, since REAL, verdict_digest TEXT, sealed INTEGER NOT NULL
) STRICT;
CREATE TABLE defaults (provider TEXT PRIMARY KEY, account TEXT NOT NULL) STRICT;
"""


class Row(msgspec.Struct, frozen=True):
    """What is remembered of an account, also after its file is gone, so that a generation is never given twice.

    `digest` is the refresh token's at `generation`; `sealed` the highest generation seen inside a sealed file of it.
    """

    account: AccountId
    directory: str
    file: str
    generation: Generation
    fingerprint: str
    digest: Digest | None = None
    terminal: NeedsLogin | None = None
    sealed: int = 0


class Remembered(msgspec.Struct, frozen=True):
    """All there is. `notes` say what had to be given up."""

    rows: Mapping[AccountId, Row] = msgspec.field(default_factory=dict)
    defaults: Mapping[str, AccountId] = msgspec.field(default_factory=dict)
    notes: tuple[str, ...] = ()


class StateDb:
    """The file, behind one thread."""

    def __init__(self, folder: Path) -> None:
        """Use `state.db` in `folder`, which is made when missing."""
        self._path = folder / "state.db"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state-db")
        self._db: sqlite3.Connection | None = None
        self._rows: dict[AccountId, Row] = {}
        self._defaults: dict[str, AccountId | None] = {}
        self._known = Remembered()  # all of it, should the file have to be made anew
        self._anew = False
        self._flushing: asyncio.Task[None] | None = None
        self.problem: str | None = None

    async def open(self) -> Remembered:
        """Read everything; a damaged file is moved aside. Never raises: what cannot be had is empty, with a note."""
        self._known = await self._call(self._open) or Remembered()
        return self._known

    def remember(self, rows: Iterable[Row] = (), defaults: Mapping[str, AccountId | None] | None = None) -> None:
        """Note changes and have them written soon. Costs nothing here."""
        changed = {row.account: row for row in rows}
        self._rows |= changed
        self._defaults |= defaults or {}
        chosen = {**self._known.defaults, **(defaults or {})}
        kept = {provider: account for provider, account in chosen.items() if account is not None}
        self._known = Remembered({**self._known.rows, **changed}, kept)
        if self.dirty and (self._flushing is None or self._flushing.done()):
            self._flushing = spawn(self._drain(), name="state-db")

    @property
    def dirty(self) -> bool:
        """Whether something is unwritten."""
        return bool(self._rows or self._defaults)

    async def flush(self) -> None:
        """Write what is unwritten, once. Never raises: `problem` says why it failed."""
        if self._flushing is None or self._flushing.done():
            self._flushing = spawn(self._drain(), name="state-db")
        await asyncio.shield(self._flushing)

    def forget(self) -> None:
        """Drop what is unwritten: a test's way of pulling the plug."""
        self._rows.clear()
        self._defaults.clear()

    async def close(self) -> None:
        """Write and close."""
        await self.flush()
        await self._call(self._close)
        self._thread.shutdown(wait=False)

    async def _drain(self) -> None:
        while self.dirty:
            if self._anew:
                self._anew = False
                self._rows = {**self._known.rows}
                self._defaults = {**self._known.defaults}
            rows, self._rows = self._rows, {}
            defaults, self._defaults = self._defaults, {}
            done = await self._call(lambda: self._save(tuple(rows.values()), dict(defaults)))  # noqa: B023
            if done is None:
                self._rows = rows | self._rows
                self._defaults = defaults | self._defaults
                return
            self.problem = None

    async def _call(self, work: Callable[[], T]) -> T | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            self.problem = (
                f"state database {self._path}: {_reason(error)}; generations and verdicts may not survive a restart"
            )
            return None

    # --- in the thread ---

    def _open(self) -> Remembered:
        notes: tuple[str, ...] = ()
        try:
            self._connect()
            rows, defaults = self._load()
        except sqlite3.OperationalError:
            raise  # locked, unreadable or full: not the file's fault
        except (sqlite3.DatabaseError, ValueError) as error:
            notes = (self._set_aside(error),)
            self._connect()
            rows, defaults = {}, {}
        return Remembered(rows, defaults, notes)

    def _connect(self) -> sqlite3.Connection:
        if self._db is not None:
            return self._db
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its journal files the mode of the database.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        db = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            _migrate(db)
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _load(self) -> tuple[dict[AccountId, Row], dict[str, AccountId]]:
        db = self._connect()
        if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
        rows = {row.account: row for row in map(_row, db.execute("SELECT * FROM accounts"))}
        found = db.execute("SELECT provider, account FROM defaults")
        return rows, {str(provider): _account(account) for provider, account in found}

    def _save(self, rows: tuple[Row, ...], defaults: Mapping[str, AccountId | None]) -> bool:
        try:
            self._write(rows, defaults)
        except sqlite3.OperationalError:
            self._close()
            raise
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            self._anew = True
            raise
        return True

    def _write(self, rows: tuple[Row, ...], defaults: Mapping[str, AccountId | None]) -> None:
        db = self._connect()
        db.execute("BEGIN IMMEDIATE")
        try:
            places = ",".join("?" * 10)
            db.executemany(f"INSERT OR REPLACE INTO accounts VALUES ({places})", map(_values, rows))  # noqa: S608
            gone = [(provider,) for provider, account in defaults.items() if account is None]
            db.executemany("DELETE FROM defaults WHERE provider = ?", gone)
            chosen = [(provider, str(account)) for provider, account in defaults.items() if account is not None]
            db.executemany("INSERT OR REPLACE INTO defaults VALUES (?, ?)", chosen)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _set_aside(self, error: Exception) -> str:
        with contextlib.suppress(sqlite3.Error):
            self._close()
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.corrupt-{number}")).exists():
            number += 1
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        return f"the state database was damaged ({_reason(error)}) and begun anew; the old one is {aside}"


def _migrate(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
    elif version != _VERSION:
        raise sqlite3.OperationalError(f"written by another version of the program (format {version})")


def _values(row: Row) -> tuple[object, ...]:
    told = row.terminal
    verdict = (told.reason, told.since, told.digest.text if told.digest else None) if told else (None, None, None)
    digest = row.digest.text if row.digest else None
    file = row.file.encode(errors="backslashreplace").decode()
    directory = row.directory.encode(errors="backslashreplace").decode()
    return (str(row.account), directory, file, row.generation, row.fingerprint, digest, *verdict, row.sealed)


def _row(values: _Values) -> Row:
    account, directory, file, generation, fingerprint, digest, reason, since, verdict_digest, sealed = values
    terminal = None
    if reason is not None and since is not None:
        terminal = NeedsLogin(reason, since, Digest(verdict_digest) if verdict_digest else None)
    held = Digest(digest) if digest else None
    # One directory's name for all its accounts.
    return Row(
        _account(account), sys.intern(directory), file, Generation(generation), fingerprint, held, terminal, sealed
    )


def _account(text: str) -> AccountId:
    try:
        return AccountId.parse(text)
    except BrokerError as error:
        raise ValueError("not an account") from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
