"""What happens on its own when one of the two programs changes the shared login."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from broker.login.adopt import read_login
from broker.model.secret import Secret
from broker.providers.native.table import FORMATS
from broker.store.link import Link
from broker.store.link_watch import LinkWatch
from broker.store.linked import LinkedStore
from broker.store.store import FileStore
from tests.contract.store_contract import ALICE, CLIENT, record, tokens
from tests.fakes.clock import FakeChance
from tests.fakes.disk import FileHarness
from tests.store.linking import Shared


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


@asynccontextmanager
async def watched(tmp_path: Path, shared: Shared) -> AsyncIterator[tuple[FileHarness, LinkedStore, LinkWatch]]:
    root = tmp_path / "ours"
    root.mkdir()
    harness = FileHarness(root)
    shared.clock = harness.clock
    inner = await harness.open()
    assert isinstance(inner, FileStore)
    store = LinkedStore(inner, FORMATS, read_login, harness.clock, FakeChance(), wait_seconds=5.0)
    watch = LinkWatch(store, harness.clock)
    inner.on_rescan = watch.rescan
    await watch.start()
    try:
        yield harness, store, watch
    finally:
        await watch.stop()
        await store.close()


async def until(seen: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not seen():
            await asyncio.sleep(0.01)


def held(store: LinkedStore) -> Secret | None:
    entry = store.get(ALICE)
    return entry.record.tokens.refresh_token if entry else None


async def link(store: LinkedStore, to: Link | None) -> None:
    async with store.lock(ALICE, 5.0) as lock:
        await store.set_link(lock, to)


async def test_a_login_there_is_taken_over_while_we_run(tmp_path: Path, shared: Shared) -> None:
    async with watched(tmp_path, shared) as (harness, store, _):
        shared.theirs(1)
        await store.add(record(n=1), CLIENT, harness.clock.now())
        await link(store, shared.link)
        await asyncio.sleep(0)
        shared.theirs(2)
        await until(lambda: held(store) == Secret("fake-refresh-2"))
        shared.write({})
        await until(lambda: store.problem_of(ALICE))
        shared.theirs(3)
        await until(lambda: held(store) == Secret("fake-refresh-3"))
        assert store.problem_of(ALICE) is None


async def test_a_login_here_is_handed_on(tmp_path: Path, shared: Shared) -> None:
    async with watched(tmp_path, shared) as (harness, store, _):
        shared.theirs(1)
        await store.add(record(n=1), CLIENT, harness.clock.now())
        await link(store, shared.link)
        await store.add(record(n=2), CLIENT, harness.clock.now())  # a person logs in here
        await until(lambda: shared.native() == "fake-refresh-2" and not shared.lock().path.exists())


async def test_what_happened_while_nobody_ran_is_made_up_for(tmp_path: Path, shared: Shared) -> None:
    async with watched(tmp_path, shared) as (harness, store, _):
        shared.theirs(1)
        await store.add(record(n=1), CLIENT, harness.clock.now())
        await link(store, shared.link)
        path = next(harness.auth.glob("*.json"))
        assert json.loads(path.read_bytes())["ccs_broker"]["linked"]["path"] == str(shared.file)
    shared.theirs(2)
    left = shared.folder / ".ccs-broker-9999999-x.tmp"
    left.write_bytes(b"of a process that is no more")
    inner = await harness.open()
    store = LinkedStore(inner, FORMATS, read_login, harness.clock, FakeChance(), wait_seconds=5.0)
    watch = LinkWatch(store, harness.clock)
    await watch.start()
    await until(lambda: held(store) == Secret("fake-refresh-2"))
    assert not left.exists()
    await watch.stop()
    await store.close()


async def test_a_file_that_is_busy_is_tried_again(tmp_path: Path, shared: Shared) -> None:
    async with watched(tmp_path, shared) as (harness, store, _):
        store._wait = 0.0
        shared.theirs(1)
        await store.add(record(n=1), CLIENT, harness.clock.now())
        await link(store, shared.link)
        theirs = shared.lock()
        assert theirs.try_take()
        shared.theirs(2)
        tries = 0
        real = store.align

        async def align(account: object) -> None:
            nonlocal tries
            tries += 1
            if tries == 2:
                theirs.let_go()
            await real(ALICE)

        store.align = align  # type: ignore[method-assign]
        await until(lambda: held(store) == Secret("fake-refresh-2"))
        assert tries >= 2


async def test_an_account_that_goes_is_forgotten(tmp_path: Path, shared: Shared) -> None:
    async with watched(tmp_path, shared) as (harness, store, watch):
        shared.theirs(1)
        await store.add(record(n=1), CLIENT, harness.clock.now())
        await link(store, shared.link)
        await until(lambda: watch._folders)
        await watch.rescan()
        await store.remove(ALICE)
        await until(lambda: not watch._links)
        await until(lambda: not watch._folders)
        assert shared.native() == "fake-refresh-1"


async def test_a_link_that_is_taken_away_is_followed_no_more(tmp_path: Path, shared: Shared) -> None:
    async with watched(tmp_path, shared) as (harness, store, watch):
        shared.theirs(1)
        await store.add(replace(record(n=1), tokens=tokens(1)), CLIENT, harness.clock.now())
        await link(store, shared.link)
        await until(lambda: watch._links)
        await link(store, None)
        await until(lambda: not watch._links)
        shared.theirs(2)
        await watch.rescan()
        assert held(store) == Secret("fake-refresh-1")


async def test_nothing_goes_on_after_the_end(tmp_path: Path, shared: Shared) -> None:
    async with watched(tmp_path, shared) as (harness, store, watch):
        shared.theirs(1)
        await store.add(record(n=1), CLIENT, harness.clock.now())
        await link(store, shared.link)
        await until(lambda: ALICE in watch._running)
        await asyncio.sleep(0)  # it has begun
        watch._all()  # while it is looked at: it is to be looked at again
        assert ALICE in watch._again
        await watch.stop()
        watch._all()
        assert not watch._running
