"""Two programs, one login: whose grant goes where."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from broker.model.account import NeedsLogin
from broker.model.secret import Secret
from broker.providers.base import Client
from broker.store.base import LockTimeoutError, StorageError
from broker.store.link import Link
from tests.fakes.clock import settle
from tests.store.linking import ANN, Shared, reread


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


async def test_a_newer_grant_of_theirs_is_taken_over(shared: Shared) -> None:
    shared.ours(1)
    shared.theirs(2)
    store = await shared.open()
    entry = await reread(store)
    assert entry.record.tokens.refresh_token == Secret("fake-refresh-2")
    assert shared.stored() == "fake-refresh-2"
    assert entry.link is not None
    assert entry.link.spent == (Secret("fake-refresh-1").digest(),)
    assert store.problem_of(ANN) is None
    assert not shared.lock().path.exists()


async def test_their_lock_is_held_while_ours_is(shared: Shared) -> None:
    shared.ours(1)
    shared.theirs(1)
    store = await shared.open()
    async with store.lock(ANN, 1.0) as lock:
        assert not shared.lock().path.exists()
        await store.reread(lock)
        assert not shared.lock().try_take()
        await store.reread(lock)
    theirs = shared.lock()
    assert theirs.try_take()
    theirs.let_go()


async def test_a_lock_that_is_kept_ends_the_try(shared: Shared) -> None:
    shared.ours(1)
    shared.theirs(1)
    theirs = shared.lock()
    assert theirs.try_take()
    store = await shared.open()
    trying = asyncio.ensure_future(reread(store))
    while not trying.done():
        await asyncio.sleep(0.001)
        shared.clock.advance(0.5)
        theirs.beat()
        await settle()
    with pytest.raises(LockTimeoutError, match="Claude Code"):
        await trying
    theirs.let_go()
    assert (await reread(store)).record.tokens.refresh_token == Secret("fake-refresh-1")


async def test_a_renewed_grant_is_handed_on(shared: Shared) -> None:
    shared.ours(1)
    shared.theirs(1)
    store = await shared.open()
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        await store.put(lock, shared.tokens(2), entry.generation, shared.clock.now())
        assert shared.native() == "fake-refresh-2"
        document = json.loads(shared.file.read_bytes())
        assert document["mcpOAuth"] == {"kept": 1}
        assert document["claudeAiOauth"]["scopes"] == ["user:inference"]
        assert shared.file.stat().st_mode & 0o777 == 0o600
    assert store.health().problems == ()


async def test_what_a_kill_left_behind_is_handed_on_later(shared: Shared) -> None:
    shared.ours(2, 1)  # ours went from 1 to 2, theirs did not hear of it
    shared.theirs(1, ends=shared.clock.wall + 1e6)  # however long it would live
    store = await shared.open()
    assert not await store.agrees(store.entries()[ANN])
    await store.align(ANN)
    assert (shared.native(), shared.stored()) == ("fake-refresh-2", "fake-refresh-2")
    assert await store.agrees(store.entries()[ANN])


async def test_one_that_was_never_ours_is_not_written_over_before_ours_has_proved_itself(shared: Shared) -> None:
    shared.ours(3)
    shared.theirs(2)
    store = await shared.open()
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        assert (shared.native(), shared.stored()) == ("fake-refresh-2", "fake-refresh-3")
        assert await store.agrees(entry)
        await store.put(lock, shared.tokens(4), entry.generation, shared.clock.now())
    assert (shared.native(), shared.stored()) == ("fake-refresh-4", "fake-refresh-4")


async def test_ours_is_refused_and_theirs_was_never_ours(shared: Shared) -> None:
    shared.ours(3)
    shared.theirs(2)
    store = await shared.open()
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        await store.begin_rotation(lock, entry, shared.clock.now())
        again = await store.reread(lock)  # as after `invalid_grant`
        assert again is not None
        assert again.record.tokens.refresh_token == Secret("fake-refresh-2")


async def test_ours_is_refused_and_theirs_is_an_old_one_of_ours(shared: Shared) -> None:
    shared.ours(3, 2)
    shared.theirs(3)
    store = await shared.open()
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        await store.begin_rotation(lock, entry, shared.clock.now())
        shared.theirs(2)
        again = await store.reread(lock)
        assert again is not None
        assert again.record.tokens.refresh_token == Secret("fake-refresh-3")
    assert shared.native() == "fake-refresh-2", "a grant that was refused is not handed on"


async def test_a_dead_login_takes_what_theirs_is(shared: Shared) -> None:
    shared.ours(3)
    shared.theirs(3)
    store = await shared.open()
    async with store.lock(ANN, 1.0) as lock:
        await store.reread(lock)
        verdict = NeedsLogin("refused", shared.clock.wall, Secret("fake-refresh-3").digest())
        entry = await store.mark_terminal(lock, verdict)
    assert await store.agrees(entry)
    shared.theirs(2)
    assert not await store.agrees(entry)
    await store.align(ANN)
    entry = store.entries()[ANN]
    assert entry.record.tokens.refresh_token == Secret("fake-refresh-2")
    assert entry.terminal is None


async def test_a_dead_login_is_not_handed_on(shared: Shared) -> None:
    shared.ours(3, 2)
    shared.theirs(2)
    store = await shared.open()
    async with store.lock(ANN, 1.0) as lock:
        verdict = NeedsLogin("refused", shared.clock.wall, Secret("fake-refresh-3").digest())
        entry = await store.mark_terminal(lock, verdict)
    assert await store.agrees(entry)
    await store.align(ANN)
    assert shared.native() == "fake-refresh-2"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"claudeAiOauth": {"accessToken": "", "refreshToken": "", "expiresAt": 0}}, "has empty tokens"),
        ({}, "has no claudeAiOauth"),
        ([], "is not JSON"),
        ({"claudeAiOauth": {"accessToken": "fake-access-9", "expiresAt": None}}, "cannot be renewed"),
    ],
)
async def test_a_logout_there_erases_nothing_here(shared: Shared, document: object, said: str) -> None:
    shared.ours(1)
    shared.write(document)
    store = await shared.open()
    before = shared.file.read_bytes()
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        assert entry.record.tokens.refresh_token == Secret("fake-refresh-1")
        await store.put(lock, shared.tokens(2), entry.generation, shared.clock.now())
    assert shared.stored() == "fake-refresh-2"
    assert shared.file.read_bytes() == before
    problem = store.problem_of(ANN)
    assert problem is not None
    assert said in problem
    assert store.health().problems == (f"{ANN}: {problem}",)
    assert shared.problems == [ANN]
    shared.theirs(3)
    assert not await store.agrees(store.entries()[ANN])
    assert store.problem_of(ANN) is None
    assert shared.problems == [ANN, ANN]


@pytest.mark.parametrize("folder", [False, True])
async def test_a_file_that_is_gone_erases_nothing_here(shared: Shared, folder: bool) -> None:
    shared.ours(1)
    if folder:
        shared.folder.rmdir()
    store = await shared.open()
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        await store.put(lock, shared.tokens(2), entry.generation, shared.clock.now())
    assert shared.stored() == "fake-refresh-2"
    assert not shared.file.exists()
    assert "is gone" in (store.problem_of(ANN) or "")
    assert await store.agrees(store.entries()[ANN])


async def test_another_persons_login_is_not_taken_over(shared: Shared) -> None:
    shared.ours(1)
    shared.theirs(2)
    shared.profile("eve@example.com")
    store = await shared.open()
    assert (await reread(store)).record.tokens.refresh_token == Secret("fake-refresh-1")
    assert "another account" in (store.problem_of(ANN) or "")
    assert shared.native() == "fake-refresh-2"
    shared.profile(ANN.label)
    assert (await reread(store)).record.tokens.refresh_token == Secret("fake-refresh-2")


async def test_a_grant_of_another_client_is_not_taken_over(shared: Shared) -> None:
    """Ours would be presented by the client our file names: Kiro registers one for each login."""
    shared.ours(1)
    shared.disk.files[ANN] = replace(shared.disk.files[ANN], client=Client("ours", Secret("fake-registration")))
    shared.theirs(2)
    document = json.loads(shared.file.read_bytes())
    shared.write({"claudeAiOauth": {**document["claudeAiOauth"], "clientId": "theirs"}})
    store = await shared.open()
    assert (await reread(store)).record.tokens.refresh_token == Secret("fake-refresh-1")
    assert "run: ccs-broker import claude-code --linked" in (store.problem_of(ANN) or "")
    shared.write({"claudeAiOauth": {**document["claudeAiOauth"], "clientId": "ours"}})
    assert (await reread(store)).record.tokens.refresh_token == Secret("fake-refresh-2")
    assert store.problem_of(ANN) is None


async def test_what_cannot_be_handed_on_is_told_and_tried_again(shared: Shared) -> None:
    shared.ours(1)
    shared.theirs(1)
    store = await shared.open()
    shared.faulty.failing = {"write"}
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        await store.put(lock, shared.tokens(2), entry.generation, shared.clock.now())
    assert (shared.native(), shared.stored()) == ("fake-refresh-1", "fake-refresh-2")
    assert "could not be handed on to Claude Code" in (store.problem_of(ANN) or "")
    shared.faulty.failing = set()
    assert not await store.agrees(store.entries()[ANN])
    await store.align(ANN)
    assert shared.native() == "fake-refresh-2"
    assert store.problem_of(ANN) is None


async def test_a_grant_is_saved_here_though_their_lock_is_kept(shared: Shared) -> None:
    shared.ours(1)
    shared.theirs(1)
    store = await shared.open()
    generation = store.entries()[ANN].generation
    theirs = shared.lock()
    assert theirs.try_take()

    async def save() -> None:
        async with store.lock(ANN, 1.0) as lock:  # as for a grant that storage had refused: nothing is read again
            await store.put(lock, shared.tokens(2), generation, shared.clock.now())

    saving = asyncio.ensure_future(save())
    while not saving.done():
        await asyncio.sleep(0.001)
        shared.clock.advance(0.5)
        theirs.beat()
        await settle()
    await saving
    assert (shared.native(), shared.stored()) == ("fake-refresh-1", "fake-refresh-2")
    assert "could not be handed on" in (store.problem_of(ANN) or "")
    theirs.let_go()


async def test_a_file_that_is_never_still_is_left_alone(shared: Shared) -> None:
    shared.ours(2, 1)
    shared.theirs(1)
    store = await shared.open()
    count = 0

    def churn() -> None:
        nonlocal count
        count += 1
        shared.theirs(1, x=count)
        shared.faulty.before["exchange"] = churn

    shared.faulty.before["exchange"] = churn
    await store.align(ANN)
    assert shared.native() == "fake-refresh-1"
    assert "without a pause" in (store.problem_of(ANN) or "")


async def test_a_login_that_comes_in_the_midst_of_handing_on_stays(shared: Shared) -> None:
    shared.ours(2, 1)
    shared.theirs(1)
    store = await shared.open()
    shared.faulty.before["exchange"] = lambda: shared.theirs(9)
    await store.align(ANN)
    assert shared.native() == "fake-refresh-9"
    assert not await store.agrees(store.entries()[ANN])
    await store.align(ANN)
    assert shared.stored() == "fake-refresh-9"


async def test_no_token_is_presented_under_a_lock_that_was_taken_over(shared: Shared) -> None:
    shared.ours(1)
    shared.theirs(1)
    store = await shared.open()
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        shared.clock.wall += 60.0  # as after a suspend: no beat came in time
        assert shared.lock().try_take()
        with pytest.raises(StorageError, match="Claude Code took its lock over"):
            await store.begin_rotation(lock, entry, shared.clock.now())
    assert shared.lock().path.is_dir(), "it is theirs now"


async def test_a_lock_that_cannot_be_taken_ends_the_try(shared: Shared) -> None:
    shared.ours(1)
    shared.theirs(1)
    shared.lock().path.write_text("a file where a folder should be")
    shared.clock.wall += 1e9  # stale, but no folder
    store = await shared.open()
    with pytest.raises(LockTimeoutError, match="cannot be taken"):
        await reread(store)
    assert "the lock of Claude Code cannot be taken" in (store.problem_of(ANN) or "")


async def test_a_program_this_version_does_not_know(shared: Shared) -> None:
    shared.ours(1, link=Link("of-tomorrow", str(shared.file)))
    store = await shared.open()
    assert (await reread(store)).record.tokens.refresh_token == Secret("fake-refresh-1")
    assert "of-tomorrow" in (store.problem_of(ANN) or "")


async def test_an_account_that_is_not_linked_is_as_ever(shared: Shared) -> None:
    shared.ours(1)
    shared.disk.files[ANN] = replace(shared.disk.files[ANN], link=None)
    shared.theirs(2)
    store = await shared.open()
    assert await store.agrees(store.entries()[ANN])
    assert (await reread(store)).record.tokens.refresh_token == Secret("fake-refresh-1")
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.set_link(lock, shared.link)
    assert entry.link == shared.link
    assert (await reread(store)).record.tokens.refresh_token == Secret("fake-refresh-2")
    shared.write({})
    await store.align(ANN)
    assert store.problem_of(ANN) is not None
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.set_link(lock, None)
    assert entry.link is None
    assert store.problem_of(ANN) is None


async def test_a_removed_account_has_no_problem(shared: Shared) -> None:
    shared.ours(1)
    store = await shared.open()
    await store.align(ANN)
    assert store.problem_of(ANN) is not None
    await store.remove(ANN)
    assert store.health().problems == ()
    await store.close()


async def test_an_account_with_another_name_leaves_no_problem_under_the_old_one(shared: Shared) -> None:
    shared.ours(1)
    store = await shared.open()
    await store.align(ANN)
    problem = store.problem_of(ANN)
    async with store.lock(ANN, 1.0) as lock:
        renamed = await store.rename(lock, "anna")
    assert store.health().problems == ()
    await store.align(renamed.account)
    assert store.health().problems == (f"{renamed.account}: {problem}",)
    await store.close()
