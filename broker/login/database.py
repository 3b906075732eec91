"""Logins that other programs keep in a SQLite file.

Owns: reading rows of `key` and `value`. It must never write, lock or wait: the file is opened as one that does not change, so that SQLite makes no file of its
own beside it, and one its program is just writing to is refused.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import msgspec

_STEPS = 1_000_000  # of SQLite's machine: a table that is a view without an end must not hold the thread
_VALUE_MAX = 1 << 20


def read_tables(path: Path, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, object]]:
    """Return the wanted rows of each table, by table and key: parsed JSON, or text where it is none. A table that is not there has no rows. Blocks.

    Raises:
        OSError: it cannot be looked at.
        ValueError: it is no such file, or its program has not brought its last writes into it.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise ValueError("is in use: end its program, and try again")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as base:
            base.execute("PRAGMA trusted_schema = OFF")
            base.set_progress_handler(lambda: 1, _STEPS)
            names = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            return {table: _rows(base, table, keys) for table, keys in wanted.items() if table in names}
    except sqlite3.Error:
        raise ValueError("is no database that can be read") from None


def _rows(base: sqlite3.Connection, table: str, keys: tuple[str, ...]) -> dict[str, object]:
    query = f'SELECT key, value FROM "{table}" WHERE key = ?'  # noqa: S608 - the names of tables are constants of ours
    found = (base.execute(query, (key,)).fetchone() for key in keys)
    return {row[0]: _parsed(row[1]) for row in found if row is not None and _fits(row[1])}


def _fits(value: object) -> bool:
    return isinstance(value, str | bytes) and len(value) <= _VALUE_MAX


def _parsed(value: str | bytes) -> object:
    try:
        parsed: object = msgspec.json.decode(value)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return value if isinstance(value, str) else value.decode(errors="replace")
    return parsed
