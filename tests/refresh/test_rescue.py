"""Emergency copies: an engine whose storage refuses grants, killed and started again, with real files for copies."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from broker.model.account import AccountId, Active, NeedsLogin, Unsaved
from broker.refresh.engine import Engine
from broker.store.emergency import FOLDER_NAME, EmergencyCopies
from broker.store.files import Disk, Os
from broker.store.seal import AeadSeal
from tests.fakes.clock import settle
from tests.fakes.memory_store import MemoryStore
from tests.refresh.harness import ALICE, World, shown


@pytest.fixture(params=["plain", "sealed"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    seal = AeadSeal(b"k" * 32, os.urandom) if request.param == "sealed" else None
    return World(copies=EmergencyCopies(tmp_path, Disk(lambda: "n"), seal))


@pytest.fixture(autouse=True)
async def _one_thread() -> None:
    """One thread for all blocking work, so that waiting for an idle call waits for the write before it."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))


def kept(world: World) -> list[str]:
    """The refresh tokens in emergency copies."""
    assert world.copies is not None
    return [shown(copy.tokens.refresh_token) for copy in world.copies.load().values()]


async def ready(tasks: int = 8) -> None:
    """Let the threads that write copies end, and what waits for them go on."""
    for _ in range(tasks):
        await asyncio.to_thread(lambda: None)
        await settle()


async def boot(world: World) -> tuple[MemoryStore, Engine]:
    booting = asyncio.ensure_future(world.boot())
    await ready()
    return await booting


async def run(world: World, seconds: int) -> None:
    for _ in range(seconds):
        await world.clock.run(1)
        await ready(2)


async def refused(world: World, *failing: str) -> tuple[MemoryStore, Engine]:
    """A process that renewed the grant and could not save it; `failing` as in `MemoryDisk`."""
    world.write(-1)
    world.disk.failing = {"put", *failing}
    store, engine = await boot(world)
    await ready()
    assert isinstance(engine.state(ALICE), Unsaved)
    return store, engine


async def test_a_refused_grant_is_copied_served_told_and_the_copy_goes_when_it_is_saved(world: World) -> None:
    _, engine = await refused(world)
    assert kept(world) == ["fake-refresh-2"]
    (problem,) = engine.problems()
    assert world.copies is not None
    assert str(world.copies.path(ALICE)) in problem
    world.disk.failing = set()
    await run(world, 6)
    assert engine.state(ALICE) == Active()
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    assert kept(world) == []
    assert engine.problems() == []
    await engine.stop()


async def test_a_killed_daemon_takes_the_copy_up_where_the_journal_has_no_answer(world: World) -> None:
    store, _ = await refused(world, "answer")
    store.crash()
    world.disk.failing = set()
    _, engine = await boot(world)
    assert world.server.posts == 1
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    grant = await engine.lease(ALICE, min_validity=60, max_wait=1)
    assert shown(grant.tokens.access_token) == "fake-access-2"
    assert kept(world) == []
    assert not world.disk.journal
    await run(world, 3600)
    assert world.server.reused == 0
    assert engine.state(ALICE) == Active()
    await engine.stop()


async def test_a_copy_is_served_while_storage_still_refuses_after_the_restart(world: World) -> None:
    store, _ = await refused(world, "answer")
    store.crash()
    _, engine = await boot(world)
    assert isinstance(engine.state(ALICE), Unsaved)
    grant = await engine.lease(ALICE, min_validity=60, max_wait=1)
    assert shown(grant.tokens.access_token) == "fake-access-2"
    assert kept(world) == ["fake-refresh-2"]
    world.disk.failing = set()
    await run(world, 10)
    assert engine.state(ALICE) == Active()
    assert (world.server.posts, kept(world)) == (1, [])
    await engine.stop()


async def test_the_journals_answer_comes_first_and_the_copy_goes(world: World) -> None:
    store, _ = await refused(world)
    store.crash()
    world.disk.failing = set()
    _, engine = await boot(world)
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    assert (world.server.posts, kept(world)) == (1, [])
    await engine.stop()


async def test_a_file_that_moved_on_wins_over_the_copy(world: World) -> None:
    store, _ = await refused(world, "answer")
    store.crash()
    world.disk.failing = set()
    world.server.current = "fake-refresh-login"
    world.write(3600, refresh="fake-refresh-login", access="fake-access-login")
    _, engine = await boot(world)
    assert shown(world.stored().refresh_token) == "fake-refresh-login"
    assert kept(world) == []
    await engine.stop()


async def test_a_newer_grant_that_appears_while_unsaved_ends_the_copy(world: World) -> None:
    store, engine = await refused(world)
    world.server.current = "fake-refresh-login"
    world.write(3600, refresh="fake-refresh-login", access="fake-access-login")
    store.notice()
    await run(world, 61)
    assert engine.state(ALICE) == Active()
    assert shown(world.stored().refresh_token) == "fake-refresh-login"
    assert kept(world) == []
    await engine.stop()


async def test_a_copy_waits_for_a_file_that_is_not_there_and_is_told(world: World) -> None:
    store, _ = await refused(world, "answer")
    store.crash()
    world.disk.failing = set()
    file = world.disk.files.pop(ALICE)
    store, engine = await boot(world)
    assert kept(world) == ["fake-refresh-2"]
    assert any("its file is gone" in problem for problem in engine.problems())
    world.disk.files[ALICE] = file
    store.notice()
    await run(world, 2)
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    assert (kept(world), engine.problems()) == ([], [])
    await engine.stop()


async def test_a_logout_leaves_no_copy(world: World) -> None:
    store, engine = await refused(world)
    await store.remove(ALICE)
    await engine.forget(ALICE)
    await ready()
    assert (kept(world), engine.problems()) == ([], [])
    await engine.stop()


async def test_a_stop_tries_once_more_to_save(world: World) -> None:
    _, engine = await refused(world)
    world.disk.failing = set()
    stopping = asyncio.ensure_future(engine.stop())
    await ready()
    await stopping
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    assert kept(world) == []


async def test_a_stop_that_cannot_save_says_where_the_copy_is(world: World, caplog: pytest.LogCaptureFixture) -> None:
    _, engine = await refused(world)
    await engine.stop()
    assert world.copies is not None
    assert f"stopped with an unsaved grant; a copy is in {world.copies.path(ALICE)}" in caplog.messages
    assert "fake-refresh" not in caplog.text


async def test_where_no_copy_can_be_written_that_is_told_and_tried_again(world: World, tmp_path: Path) -> None:
    full = [True]

    def write(fd: int, data: bytes) -> int:
        if full[0]:
            raise OSError(28, os.strerror(28))
        return os.write(fd, data)

    world.copies = EmergencyCopies(tmp_path, Disk(lambda: "n", replace(Os(), write=write)))
    _, engine = await refused(world)
    (problem,) = engine.problems()
    assert "there is no copy" in problem
    assert "ENOSPC" in problem
    full[0] = False
    await run(world, 6)
    assert kept(world) == ["fake-refresh-2"]
    await engine.stop()


async def test_a_grant_whose_refresh_token_is_the_files_needs_no_copy(world: World) -> None:
    world.server.rotate = False
    _, engine = await refused(world)
    assert kept(world) == []
    (problem,) = engine.problems()
    assert "the refresh token is the one in the file" in problem
    await engine.stop()


async def test_without_a_place_for_copies_all_else_is_the_same(world: World) -> None:
    world.copies = None
    _, engine = await refused(world)
    (problem,) = engine.problems()
    assert "no copy is kept" in problem
    await engine.forget(ALICE)
    world.disk.failing = set()
    await run(world, 6)
    assert engine.state(ALICE) == Active()
    await engine.stop()


@pytest.mark.parametrize("step", [7200, -7200])
async def test_a_copy_found_with_another_wall_clock_serves_no_dead_token(world: World, step: float) -> None:
    store, _ = await refused(world, "answer")
    store.crash()
    world.clock.step_wall(step)
    world.disk.failing = set()
    _, engine = await boot(world)
    await run(world, 5)
    # Whatever the wall clock says now, the age of the token cannot be told: it is saved, and then renewed.
    assert shown(world.stored().refresh_token) == "fake-refresh-3"
    assert (world.server.posts, world.server.reused) == (2, 0)
    await engine.stop()


async def test_a_dead_login_with_a_copy_of_nobody_stays_dead(world: World, tmp_path: Path) -> None:
    (tmp_path / FOLDER_NAME).mkdir()
    (tmp_path / FOLDER_NAME / "x.json").write_text("{")
    world.server.dead = True
    world.write(-1, account=AccountId("fake", "bob"))
    _, engine = await boot(world)
    await ready()
    assert isinstance(engine.state(AccountId("fake", "bob")), NeedsLogin)
    await engine.stop()
