"""Rows of another program's SQLite file: read, never written, never waited for."""

import json
import sqlite3
from pathlib import Path

import pytest

from broker.login.database import read_tables

WANTED = {"auth_kv": ("kirocli:social:token", "other"), "state": ("api.codewhisperer.profile",)}


def made(path: Path, *rows: tuple[str, object], table: str = "auth_kv", **settings: str) -> Path:
    with sqlite3.connect(path) as base:
        for name, value in settings.items():
            base.execute(f"PRAGMA {name} = {value}")
        base.execute(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, value)")
        base.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)
    base.close()
    return path


def test_wanted_rows_of_tables_that_are_there(tmp_path: Path) -> None:
    path = made(
        tmp_path / "data ?#.sqlite3",
        ("kirocli:social:token", '{"access_token": "fake"}'),
        ("unwanted", "{}"),
        ("other", "plain"),
    )
    assert read_tables(path, WANTED) == {
        "auth_kv": {"kirocli:social:token": {"access_token": "fake"}, "other": "plain"}
    }


@pytest.mark.parametrize(
    ("value", "read"), [(b'{"a": 1}', {"a": 1}), (b"\xff", "\ufffd"), (7, None), (None, None), ("x" * (1 << 21), None)]
)
def test_values_of_every_kind(tmp_path: Path, value: object, read: object) -> None:
    rows = read_tables(made(tmp_path / "d", ("other", value)), WANTED)["auth_kv"]
    assert rows == ({} if read is None else {"other": read})


def test_nothing_is_written_beside_it(tmp_path: Path) -> None:
    path = made(tmp_path / "d", ("other", "{}"), journal_mode="WAL")
    before = path.read_bytes(), sorted(tmp_path.iterdir())
    assert read_tables(path, WANTED) == {"auth_kv": {"other": {}}}
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before


def test_one_that_is_being_written_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "d", ("other", "{}"), journal_mode="WAL")
    base = sqlite3.connect(path)
    base.execute("UPDATE auth_kv SET value = ?", (json.dumps({"newer": 1}),))
    base.commit()
    with pytest.raises(ValueError, match="end its program"):
        read_tables(path, WANTED)
    base.close()
    assert read_tables(path, WANTED) == {"auth_kv": {"other": {"newer": 1}}}


@pytest.mark.parametrize(
    "data", [b"", b"no database at all, whatever its name says", b"SQLite format 3\0" + b"\xff" * 100]
)
def test_what_is_no_database(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "d"
    path.write_bytes(data)
    if data:
        with pytest.raises(ValueError, match="no database"):
            read_tables(path, WANTED)
    else:
        assert read_tables(path, WANTED) == {}


def test_a_view_is_no_table(tmp_path: Path) -> None:
    path = made(tmp_path / "d", ("other", "{}"), table="state")
    with sqlite3.connect(path) as base:
        base.execute("CREATE VIEW auth_kv AS SELECT 'other' AS key, '{}' AS value")
    base.close()
    assert "auth_kv" not in read_tables(path, WANTED)


def test_a_table_that_takes_for_ever_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE auth_kv (key TEXT, value)")
        base.executemany("INSERT INTO auth_kv VALUES (?, 1)", (("x" * 9,) for _ in range(300_000)))
    base.close()
    with pytest.raises(ValueError, match="no database"):
        read_tables(path, WANTED)
