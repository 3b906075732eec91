import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.providers.native.base import LockKind, LockRule
from broker.store.foreign import ForeignLock, lock_of
from tests.fakes.clock import FakeClock, settle

RULES = {
    LockKind.FOLDER: LockRule(LockKind.FOLDER, "{folder}.lock", 10.0),
    LockKind.FILE: LockRule(LockKind.FILE, "{folder}/creds.lock", 10.0),
    LockKind.FLOCK: LockRule(LockKind.FLOCK, "{file}.lock"),
}
Make = Callable[..., ForeignLock]


@pytest.fixture(params=list(LockKind))
def kind(request: pytest.FixtureRequest) -> LockKind:
    found = request.param
    assert isinstance(found, LockKind)
    return found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock) -> Make:
    folder = tmp_path / "home"
    folder.mkdir()

    def made(kind: LockKind, nonce: str = "mine") -> ForeignLock:
        return lock_of(RULES[kind], folder / "creds.json", clock, nonce)

    return made


def test_where_they_lie(make: Make, tmp_path: Path) -> None:
    assert make(LockKind.FOLDER).path == tmp_path / "home.lock"
    assert make(LockKind.FILE).path == tmp_path / "home" / "creds.lock"
    assert make(LockKind.FLOCK).path == tmp_path / "home" / "creds.lock"


def test_a_link_is_followed(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "seeming").symlink_to("real")
    assert lock_of(RULES[LockKind.FOLDER], tmp_path / "seeming" / "c.json", clock, "").path == tmp_path / "real.lock"


async def test_one_at_a_time(make: Make, kind: LockKind) -> None:
    one, other = make(kind), make(kind, "theirs")
    assert await one.take(0.0)
    assert one.holds()
    assert not await other.take(0.0)
    assert not other.holds()
    one.let_go()
    assert not one.holds()
    assert await other.take(0.0)
    other.let_go()
    other.let_go()  # once too often does no harm


async def test_who_waits_gets_it_when_it_is_free(make: Make, kind: LockKind, clock: FakeClock) -> None:
    one, other = make(kind), make(kind, "theirs")
    assert await one.take(0.0)
    waiting = asyncio.ensure_future(other.take(5.0))
    await clock.run(1.0)
    assert not waiting.done()
    one.let_go()
    await clock.run(1.0)
    assert await waiting
    other.let_go()


@pytest.mark.parametrize("kind", [LockKind.FOLDER, LockKind.FILE])
async def test_one_that_is_kept_fresh_never_goes_stale(make: Make, kind: LockKind, clock: FakeClock) -> None:
    one, other = make(kind), make(kind, "theirs")
    assert await one.take(0.0)
    for _ in range(5):
        await clock.run(8.0)
        assert not other.try_take()
        assert one.holds()
    one.let_go()


@pytest.mark.parametrize("kind", [LockKind.FOLDER, LockKind.FILE])
async def test_one_whose_holder_died_is_broken_by_its_rules(make: Make, kind: LockKind, clock: FakeClock) -> None:
    dead, other = make(kind), make(kind, "theirs")
    assert dead.try_take()  # nobody keeps it fresh
    os.utime(dead.path, (clock.wall, clock.wall))
    dead._mark = dead.path.stat().st_mtime_ns  # type: ignore[attr-defined]
    clock.advance(9.0)
    assert not other.try_take()
    clock.advance(2.0)
    assert other.try_take()
    # Who comes back from the dead must see that it is no longer his, and leave it alone.
    assert not dead.holds()
    dead.let_go()
    assert other.holds()


async def test_a_beat_stops_when_it_was_taken_over(make: Make, clock: FakeClock) -> None:
    one, other = make(LockKind.FOLDER), make(LockKind.FOLDER)
    assert await one.take(0.0)
    clock.advance(3.0)  # as while the machine slept: no beat yet
    clock.wall += 60.0
    assert other.try_take()
    before = other.path.stat().st_mtime_ns
    await clock.run(20.0)
    assert other.path.stat().st_mtime_ns == before
    one.let_go()
    assert other.path.is_dir()


async def test_one_that_vanishes_is_no_longer_held(make: Make) -> None:
    for kind in (LockKind.FOLDER, LockKind.FILE):
        lock = make(kind)
        assert await lock.take(0.0)
        lock.remove()
        assert not lock.holds()
        lock.let_go()


async def test_what_cannot_be_taken_says_so(make: Make, kind: LockKind) -> None:
    lock = make(kind)
    shutil.rmtree(lock.path.parent)
    with pytest.raises(FileNotFoundError):
        await lock.take(0.0)
    lock.let_go()


def test_a_lock_that_goes_just_then_is_free(make: Make, kind: LockKind, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make(kind), make(kind, "theirs")
    assert one.try_take()
    if kind is LockKind.FLOCK:
        one.remove()
        assert other.try_take()
        other.remove()
        return
    real = other._stale

    def going() -> bool:
        one.remove()
        return real()

    monkeypatch.setattr(other, "_stale", going)
    assert other.try_take()


@pytest.mark.parametrize("kind", [LockKind.FOLDER, LockKind.FILE])
def test_who_breaks_second_stands_back(
    make: Make, kind: LockKind, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    dead, one, other = make(kind), make(kind, "one"), make(kind, "other")
    assert dead.try_take()
    clock.advance(3600.0 * 24 * 365 * 10)  # far beyond whatever the file system stamped

    def breaking() -> bool:
        dead.path.rmdir() if kind is LockKind.FOLDER else dead.path.unlink()
        monkeypatch.setattr(one, "_stale", lambda: False)
        assert one.try_take()
        return False

    monkeypatch.setattr(other, "_stale", breaking)
    assert not other.try_take()


async def test_python_programs_of_the_same_kind_see_it(make: Make) -> None:
    lock = make(LockKind.FLOCK)
    assert await lock.take(0.0)
    with lock.path.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.let_go()
    await settle()
