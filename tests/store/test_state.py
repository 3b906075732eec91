import sqlite3
import stat
from pathlib import Path

import pytest

from broker.model.account import AccountId, Generation, NeedsLogin
from broker.model.secret import Secret
from broker.store.state import Remembered, Row, StateDb

ALICE = AccountId("fake", "älice")
DIGEST = Secret("fake-refresh").digest()


def row(generation: int = 7, **changes: object) -> Row:
    told: dict[str, object] = {"digest": DIGEST, "terminal": NeedsLogin("revoked", 5.0, DIGEST), "sealed": 3}
    return Row(ALICE, "/auth", "a.json", Generation(generation), "print", **{**told, **changes})  # type: ignore[arg-type]


async def reopened(folder: Path) -> Remembered:
    db = StateDb(folder)
    remembered = await db.open()
    await db.close()
    return remembered


async def test_what_was_remembered_is_there_again(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    db = StateDb(folder)
    assert await db.open() == Remembered()
    db.remember([row()], {"fake": ALICE, "other": ALICE})
    db.remember([row(8)], {"other": None})
    await db.close()
    assert db.problem is None
    assert not db.dirty
    assert await reopened(folder) == Remembered({ALICE: row(8)}, {"fake": ALICE})
    assert stat.S_IMODE((folder / "state.db").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "changes",
    [{"digest": None}, {"terminal": None}, {"terminal": NeedsLogin("revoked", 5.0, None)}],
)
async def test_absent_things_stay_absent(tmp_path: Path, changes: dict[str, object]) -> None:
    db = StateDb(tmp_path)
    await db.open()
    db.remember([row(**changes)])  # type: ignore[arg-type]
    await db.close()
    assert (await reopened(tmp_path)).rows[ALICE] == row(**changes)  # type: ignore[arg-type]


async def test_a_flush_is_on_disk_while_the_program_runs_on(tmp_path: Path) -> None:
    db = StateDb(tmp_path)
    await db.open()
    db.remember([row()])
    await db.flush()
    assert (await reopened(tmp_path)).rows == {ALICE: row()}
    await db.close()


@pytest.mark.parametrize("damage", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
async def test_a_damaged_file_is_moved_aside_and_said(tmp_path: Path, damage: bytes) -> None:
    for number in (1, 2):
        (tmp_path / "state.db").write_bytes(damage)
        db = StateDb(tmp_path)
        remembered = await db.open()
        assert remembered.rows == {}
        assert f"state.db.corrupt-{number}" in remembered.notes[0]
        db.remember([row()])
        await db.close()
        assert (await reopened(tmp_path)).rows == {ALICE: row()}


async def test_nonsense_in_a_sound_file_is_damage_too(tmp_path: Path) -> None:
    await reopened(tmp_path)
    with sqlite3.connect(tmp_path / "state.db") as other:
        other.execute("INSERT INTO defaults VALUES ('fake', 'no slash')")
    other.close()
    assert (await reopened(tmp_path)).notes


async def test_damage_while_running_costs_nothing_that_is_in_memory(tmp_path: Path) -> None:
    db = StateDb(tmp_path)
    await db.open()
    db.remember([row()], {"fake": ALICE})
    await db.flush()
    for path in tmp_path.iterdir():
        path.write_bytes(b"\xff" * 8192)
    bob = AccountId("fake", "bob")
    db.remember([Row(bob, "/auth", "b.json", Generation(1), "print")])
    await db.flush()
    await db.flush()
    await db.close()
    assert set((await reopened(tmp_path)).rows) == {ALICE, bob}


async def test_a_file_found_damaged_when_it_is_opened_again_is_made_anew_from_memory(tmp_path: Path) -> None:
    db = StateDb(tmp_path)
    await db.open()
    db.remember([row()], {"fake": ALICE})
    await db.flush()
    db._close()  # as after a failed write
    for path in tmp_path.iterdir():
        path.write_bytes(b"\xff" * 8192)
    bob = AccountId("fake", "bob")
    db.remember([Row(bob, "/auth", "b.json", Generation(1), "print")])
    await db.flush()
    assert db.problem is not None
    assert (tmp_path / "state.db.corrupt-1").exists()
    await db.flush()
    assert db.problem is None
    await db.close()
    remembered = await reopened(tmp_path)
    assert set(remembered.rows) == {ALICE, bob}
    assert remembered.defaults == {"fake": ALICE}


async def test_a_folder_that_cannot_be_is_a_problem_and_heals(tmp_path: Path) -> None:
    blocked = tmp_path / "state"
    blocked.write_bytes(b"")
    db = StateDb(blocked)
    assert await db.open() == Remembered()
    assert db.problem is not None
    db.remember([row()])
    await db.flush()
    assert db.dirty
    blocked.unlink()
    await db.flush()
    assert db.problem is None
    assert not db.dirty
    await db.close()
    assert (await reopened(blocked)).rows == {ALICE: row()}


async def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    await reopened(tmp_path)
    with sqlite3.connect(tmp_path / "state.db") as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    db = StateDb(tmp_path)
    assert await db.open() == Remembered()
    assert db.problem is not None
    assert "format 99" in db.problem
    await db.close()
    assert [path.name for path in tmp_path.iterdir() if "corrupt" in path.name] == []


async def test_a_pulled_plug_forgets_what_was_unwritten(tmp_path: Path) -> None:
    db = StateDb(tmp_path)
    await db.open()
    db.remember([row()])
    db.forget()
    await db.close()
    assert (await reopened(tmp_path)).rows == {}
