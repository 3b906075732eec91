import asyncio
import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.providers.native.base import LockKind, LockRule
from broker.store.foreign import ForeignLock, lock_of
from tests.fakes.clock import FakeClock, settle
from tests.fakes.foreign import Theirs

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
async def test_one_of_theirs_whose_holder_died_is_broken_by_its_rules(
    make: Make, kind: LockKind, clock: FakeClock
) -> None:
    ours = make(kind)
    theirs = Theirs(kind, ours.path, clock)
    assert theirs.try_take()
    clock.advance(9.0)
    assert not ours.try_take()
    theirs.beat()
    clock.advance(9.0)
    assert not ours.try_take()
    clock.advance(2.0)
    assert ours.try_take()
    ours.let_go()


@pytest.mark.parametrize("kind", [LockKind.FOLDER, LockKind.FILE])
async def test_one_of_ours_is_broken_by_theirs_and_then_left_alone(
    make: Make, kind: LockKind, clock: FakeClock
) -> None:
    ours = make(kind)
    theirs = Theirs(kind, ours.path, clock)
    assert ours.try_take()  # nobody keeps it fresh: as while the machine sleeps
    clock.advance(3.0)
    os.utime(ours.path, (clock.wall, clock.wall)) if kind is LockKind.FILE else ours.refresh()
    assert not theirs.try_take()
    clock.advance(11.0)
    assert theirs.try_take()
    assert not ours.holds()
    ours.let_go()
    assert ours.path.exists(), "it is theirs"
    assert not ours.try_take()


@pytest.mark.parametrize("kind", [LockKind.FOLDER, LockKind.FILE])
async def test_what_a_killed_process_of_ours_left_is_taken_over_at_once(
    make: Make, kind: LockKind, clock: FakeClock
) -> None:
    dead, other = make(kind, "dead"), make(kind, "alive")
    assert dead.try_take()
    assert not other.try_take()
    os.close(dead._guard)  # the kernel does that at a kill
    dead._guard = -1
    clock.advance(0.5)
    assert other.try_take()
    assert not dead.holds()
    dead.let_go()
    assert other.holds()
    other.let_go()
    assert not other.path.exists()


async def test_where_folders_cannot_be_locked_it_has_to_grow_stale(
    make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("broker.store.foreign.fcntl.flock", refuse)
    dead, other = make(LockKind.FILE, "dead"), make(LockKind.FILE, "alive")
    assert dead.try_take()
    os.utime(dead.path, (clock.wall, clock.wall))
    assert not other.try_take()
    clock.advance(11.0)
    assert other.try_take()
    other.let_go()


async def test_a_beat_stops_when_it_was_taken_over(make: Make, clock: FakeClock) -> None:
    ours = make(LockKind.FOLDER)
    theirs = Theirs(LockKind.FOLDER, ours.path, clock)
    assert await ours.take(0.0)
    clock.wall += 60.0  # as while the machine slept: no beat yet
    assert theirs.try_take()
    before = ours.path.stat().st_mtime_ns
    await clock.run(20.0)
    assert ours.path.stat().st_mtime_ns == before
    ours.let_go()
    assert ours.path.is_dir()


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


@pytest.mark.parametrize("kind", [LockKind.FOLDER, LockKind.FILE])
def test_one_that_goes_just_then_is_free(
    make: Make, kind: LockKind, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    ours = make(kind)
    theirs = Theirs(kind, ours.path, clock)
    assert theirs.try_take()
    real = ours._stale

    def going() -> bool:
        theirs.let_go()
        return real()

    monkeypatch.setattr(ours, "_stale", going)
    assert ours.try_take()
    ours.let_go()


@pytest.mark.parametrize("kind", [LockKind.FOLDER, LockKind.FILE])
def test_who_breaks_second_stands_back(
    make: Make, kind: LockKind, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    ours = make(kind)
    dead = Theirs(kind, ours.path, clock)
    assert dead.try_take()

    clock.advance(11.0)
    # Between our removing it and our making it anew, somebody else has made theirs.
    monkeypatch.setattr(os, "rmdir" if kind is LockKind.FOLDER else "unlink", lambda _path: None)
    assert not ours.try_take()


def test_a_flock_has_nothing_to_leave(make: Make, clock: FakeClock) -> None:
    ours = make(LockKind.FLOCK)
    theirs = Theirs(LockKind.FLOCK, ours.path, clock)
    assert theirs.try_take()
    assert not ours.try_take()
    theirs.let_go()
    assert ours.try_take()
    assert not ours.left_by_us()
    ours.refresh()
    assert not theirs.try_take()
    ours.let_go()
    assert theirs.try_take()
    theirs.let_go()


async def test_python_programs_of_the_same_kind_see_it(make: Make) -> None:
    lock = make(LockKind.FLOCK)
    assert await lock.take(0.0)
    with lock.path.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.let_go()
    await settle()
