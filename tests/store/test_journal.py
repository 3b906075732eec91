import os
from dataclasses import replace
from pathlib import Path

import pytest

from broker.model.account import AccountId, Generation
from broker.model.secret import Secret
from broker.oauth.messages import HttpResponse
from broker.store.base import StorageError
from broker.store.files import Disk
from broker.store.journal import Found, Journal
from broker.store.rotation import Intent
from tests.fakes.clock import FakeChance
from tests.fakes.disk import FaultyOs

INTENT = Intent(AccountId("fake", "alice"), Generation(7), Secret("fake-refresh").digest(), 5.0)
ANSWER = HttpResponse(200, {"date": "Mon"}, b'{"access_token": "fake-access"}')


class Reverse:
    """A seal anyone can break, which is enough to see that it is used."""

    def close_body(self, body: bytes, associated: bytes) -> bytes:
        return associated + body[::-1]

    def open_body(self, body: bytes, associated: bytes) -> bytes | None:
        return body.removeprefix(associated)[::-1] if body.startswith(associated) else None


@pytest.fixture
def faulty() -> FaultyOs:
    return FaultyOs()


@pytest.fixture
def disk(faulty: FaultyOs) -> Disk:
    chance = FakeChance()
    return Disk(lambda: chance.token(9), faulty.calls())


def test_one_write_puts_the_answer_in(tmp_path: Path, disk: Disk, faulty: FaultyOs) -> None:
    journal = Journal(tmp_path, disk)
    record = journal.begin(tmp_path / "a.rotation", INTENT)
    assert journal.load(record.path) == Found(INTENT, None, 5.0)
    faulty.log.clear()
    record.write_answer(ANSWER)
    assert faulty.log == ["write"]
    record.sync()
    assert faulty.log == ["write", "fsync"]
    assert journal.load(record.path) == Found(INTENT, ANSWER, 5.0)
    record.close()
    record.close()
    record.sync()  # closed: nothing left to do
    assert journal.names() == {"a.rotation"}
    journal.clear(record.path)
    journal.clear(record.path)
    assert journal.load(record.path) is None
    assert journal.names() == frozenset()


def test_a_failing_write_is_told(tmp_path: Path, disk: Disk, faulty: FaultyOs) -> None:
    record = Journal(tmp_path, disk).begin(tmp_path / "a.rotation", INTENT)
    faulty.failing = {"write", "fsync"}
    with pytest.raises(StorageError, match="ENOSPC"):
        record.write_answer(ANSWER)
    with pytest.raises(StorageError, match="ENOSPC"):
        record.sync()
    record.close()


def test_damage_is_a_record_without_an_answer(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "a.rotation"
    path.write_bytes(b"\0\0\0")
    os.utime(path, (9.0, 9.0))
    assert Journal(tmp_path, disk).load(path) == Found(None, None, 9.0)
    path.unlink()
    path.mkdir()
    assert Journal(tmp_path, disk).load(path) == Found(None, None, 0.0)


def test_no_folder_no_records(tmp_path: Path, disk: Disk) -> None:
    assert Journal(tmp_path / "nowhere", disk).names() == frozenset()


def test_an_answer_is_sealed_where_files_are(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "a.rotation"
    sealed = Journal(tmp_path, disk, Reverse())
    record = sealed.begin(path, INTENT)
    record.write_answer(ANSWER)
    record.close()
    assert b"fake-access" not in path.read_bytes()
    assert sealed.load(path) == Found(INTENT, ANSWER, 5.0)
    assert Journal(tmp_path, disk).load(path) == Found(INTENT, None, 5.0)
    moved = path.read_bytes().replace(b'"generation":7', b'"generation":8')
    path.write_bytes(moved)
    found = sealed.load(path)
    assert found is not None
    assert found.answer is None


def test_the_mark_is_durable_and_the_answer_goes_behind_it(tmp_path: Path, faulty: FaultyOs, disk: Disk) -> None:
    journal = Journal(tmp_path, disk)
    path = tmp_path / "a.rotation"
    record = journal.begin(path, INTENT)
    record.mark_presented()
    found = journal.load(path)
    assert found is not None
    assert found.intent == replace(INTENT, presented=True)
    record.write_answer(HttpResponse(200, {}, b"{}"))
    found = journal.load(path)
    assert found is not None
    assert found.answer is not None
    assert found.answer.body == b"{}"
    record.close()
    with pytest.raises(StorageError):
        record.mark_presented()
