import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.proxy import usage_store
from broker.proxy.usage_store import Batch, Bucket, Session, Told, UsageReader, UsageStore
from broker.proxy.usage_table import Counts, Seen

NOW = 1_750_000_000.0
HOUR = int(NOW // 3600)
ALICE = ("ci", "gemini/alice", "gemini-2.5-pro")
EVER = (0, 1 << 40)


def batch(usage: Mapping[tuple[int, str, str, str], Counts] | None = None, now: float = NOW, **more: object) -> Batch:
    given: dict[str, object] = {"sessions": {}, "limits": {}, "buckets": {}, **more}
    return Batch(now, usage or {}, **given)  # type: ignore[arg-type]


def all_of(path: Path, **globs: str) -> list[tuple[int, str, str, str, Counts]]:
    reader = UsageReader(path)
    found = list(reader.usage(EVER, globs, hourly=True))
    reader.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "usage.db"


def test_what_is_written_is_added_to_what_is_there_and_private(path: Path) -> None:
    counts = Counts(requests=2, prompt=10, completion=5, seconds=1.5)
    one, two = UsageStore(path), UsageStore(path)
    one.write(batch({(HOUR, *ALICE): counts}))
    two.write(batch({(HOUR, *ALICE): counts, (HOUR + 1, *ALICE): counts}))
    one.write(batch({(HOUR, *ALICE): counts}))
    assert all_of(path) == [
        (HOUR, *ALICE, Counts(requests=6, prompt=30, completion=15, seconds=4.5)),
        (HOUR + 1, *ALICE, counts),
    ]
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for store in (one, two):
        store.close()
        store.close()


def test_a_reader_chooses_hours_and_names(path: Path) -> None:
    store = UsageStore(path)
    one = Counts(requests=1)
    store.write(
        batch(
            {
                (HOUR + hour, key, "a", model): one
                for hour in range(4)
                for key in ("x", "y")
                for model in ("claude-1", "gpt")
            }
        )
    )
    reader = UsageReader(path)
    assert list(reader.usage((HOUR + 1, HOUR + 3), {"key": "x", "model": "claude-*"}, hourly=False)) == [
        (0, "x", "a", "claude-1", Counts(requests=2))
    ]
    assert [row[0] for row in reader.usage((HOUR + 1, HOUR + 3), {"model": "gpt"}, hourly=True)] == [HOUR + 1] * 2 + [
        HOUR + 2
    ] * 2
    reader.close()


def test_a_missing_or_empty_file_holds_nothing(path: Path) -> None:
    assert all_of(path) == []
    path.parent.mkdir()
    path.touch()
    reader = UsageReader(path)
    assert (reader.sessions(0.0), reader.limits(), reader.buckets()) == ([], [], {})


def test_sessions_limits_and_buckets(path: Path) -> None:
    store = UsageStore(path)
    store.write(batch(sessions={("abc", "ci"): Seen("gemini/a", "m", 2)}, buckets={"ci": Bucket(60, NOW + 5)}))
    limits = {"gemini/a": {"x-ratelimit-limit-requests": "60"}}
    store.write(
        batch(
            now=NOW + 9,
            sessions={("abc", "ci"): Seen("gemini/b", "n", 1)},
            limits=limits,
            buckets={"ci": Bucket(30, NOW)},
        )
    )
    reader = UsageReader(path)
    assert reader.sessions(NOW) == [Session("abc", "ci", "gemini/b", "n", 3, NOW, NOW + 9)]
    assert reader.sessions(NOW + 10) == []
    assert reader.limits() == [Told("gemini/a", NOW + 9, limits["gemini/a"])]
    assert reader.buckets() == {"ci": Bucket(30, NOW)}


def test_what_is_old_or_too_much_goes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_store, "MAX_SESSIONS", 3)
    monkeypatch.setattr(usage_store, "MAX_ROWS", 5)
    store = UsageStore(path)
    old = HOUR - 24 * usage_store.KEEP_DAYS
    one = Counts(requests=1)
    # The first write prunes after it has added.
    store.write(batch({(old - 1, *ALICE): one, (old, *ALICE): one}, sessions={("s0", "k"): Seen("a", "m", 1)}))
    assert [row[0] for row in all_of(path)] == [old]
    store.write(batch({(HOUR + hour, *ALICE): one for hour in range(9)}, now=NOW + 10))
    assert len(all_of(path)) == 10, "it is pruned once an hour"
    sessions = {(f"s{number}", "k"): Seen("a", "m", 1) for number in range(1, 3)}
    store.write(
        batch(now=NOW + 3700, sessions=sessions, limits={"a/b": {"x": "y"}}, buckets={"k": Bucket(1, NOW - 99)})
    )
    assert [row[0] for row in all_of(path)] == [HOUR + hour for hour in range(4, 9)]
    store.write(batch(now=NOW + 3701, sessions={("s3", "k"): Seen("a", "m", 1)}))
    reader = UsageReader(path)
    assert sorted(each.session for each in reader.sessions(0.0)) == ["s1", "s2", "s3"]
    assert reader.buckets() == {}
    assert len(reader.limits()) == 1
    store.write(batch(now=NOW + 40 * 86_400, sessions={("s4", "k"): Seen("a", "m", 1)}))
    assert [each.session for each in reader.sessions(0.0)] == ["s4"]
    assert reader.limits() == []


def test_a_damaged_file_is_set_aside_and_begun_anew(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"no database at all, but longer than the head of one is" * 100)
    store = UsageStore(path)
    store.write(batch({(HOUR, *ALICE): Counts(requests=1)}))
    assert "usage.db.corrupt-1" in store.note
    assert path.with_name("usage.db.corrupt-1").read_bytes().startswith(b"no database")
    assert len(all_of(path)) == 1


def test_damage_under_way_is_found_at_the_next_write(path: Path) -> None:
    store = UsageStore(path)
    store.write(batch({(HOUR, *ALICE): Counts(requests=1)}))
    store.close()
    store.write(batch())
    assert store._db is not None
    store._db.execute("PRAGMA shrink_memory")  # what it read is read again
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    given = batch({(HOUR, *ALICE): Counts(requests=1)})
    with pytest.raises(sqlite3.Error):
        store.write(given)
    store.write(given)
    assert all_of(path) == [(HOUR, *ALICE, Counts(requests=1))]
    assert path.with_name("usage.db.corrupt-1").exists()


def test_not_for_ever(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    for number in range(1, 10):
        path.with_name(f"usage.db.corrupt-{number}").touch()
    path.write_bytes(b"x" * 5000)
    with pytest.raises(OSError, match="damaged again"):
        UsageStore(path).write(batch())
    assert path.read_bytes() == b"x" * 5000


def test_what_is_not_ours_is_left_alone(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Too many levels"):
        UsageStore(path).write(batch())
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        UsageStore(path).write(batch())
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(BrokerError, match="no file of this user"):
        UsageStore(path).write(batch())
    with pytest.raises(BrokerError) as told:
        UsageReader(tmp_path)
    assert told.value.code is ErrorCode.MISCONFIGURED


def test_of_another_format(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 7")
    db.close()
    before = path.read_bytes()
    with pytest.raises(sqlite3.OperationalError, match="format 7"):
        UsageStore(path).write(batch())
    with pytest.raises(BrokerError, match="format 7"):
        UsageReader(path)
    assert path.read_bytes()[:64] == before[:64]
    assert not path.with_name("usage.db.corrupt-1").exists()


def test_a_full_disk_is_told_and_what_was_given_can_be_given_again(path: Path) -> None:
    store = UsageStore(path)
    store.write(batch({(HOUR, *ALICE): Counts(requests=1)}))
    assert store._db is not None
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    many = batch({(HOUR, "k", "a", f"{number} {'m' * 190}"): Counts(requests=1) for number in range(900)})
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.write(many)
    assert len(all_of(path)) == 1
    store.write(many)
    assert len(all_of(path)) == 901


def test_several_writers_at_once_lose_nothing(path: Path) -> None:
    def work() -> None:
        store = UsageStore(path)
        for _ in range(20):
            store.write(batch({(HOUR, *ALICE): Counts(requests=1)}))
        store.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all_of(path) == [(HOUR, *ALICE, Counts(requests=80))]
