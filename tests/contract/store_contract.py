"""What every store must do, whatever it keeps accounts in.

A subclass of `StoreContract` gives a `harness` fixture. Written against the door only (`broker.store.base`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pytest

from broker.model.account import AccountId, Generation, NeedsLogin, Record, Tokens
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.messages import HttpResponse
from broker.providers.base import Client
from broker.store.base import Change, Entry, Gone, LockTimeoutError, StorageError, Store, SupersededError, Updated
from tests.fakes.clock import START_WALL, FakeClock

ALICE = AccountId("fake", "alice@example.com")
BOB = AccountId("fake", "bob@example.com")
WORK = AccountId("fake", "work")
CLIENT = Client("fake-client")


def record(account: AccountId = ALICE, n: int = 1, **changes: object) -> Record:
    """Return an account whose tokens are numbered `n`."""
    made = Record(account=account, tokens=tokens(n), email=account.label)
    return replace(made, **changes)  # type: ignore[arg-type]


def tokens(n: int) -> Tokens:
    """Return grant number `n`; a higher one expires later."""
    return Tokens(
        access_token=Secret(f"fake-access-{n}"),
        refresh_token=Secret(f"fake-refresh-{n}"),
        expires_at=START_WALL + 3600.0 * n,
    )


class Harness(Protocol):
    """What a store's tests must be able to do to it from outside."""

    @property
    def clock(self) -> FakeClock:
        """The clock stores are opened with."""

    async def open(self) -> Store:
        """Open a store on the same disk: a new process."""

    async def close(self, store: Store) -> None:
        """Stop one in order."""

    async def crash(self, store: Store) -> None:
        """Stop one without a word."""

    def write(self, told: Record, *, paused: bool = False) -> None:
        """Write an account's file as another program."""

    def delete(self, account: AccountId) -> None:
        """Delete it as another program."""

    def stored(self, account: AccountId) -> Tokens | None:
        """Read an account's grant from the disk itself."""

    def fail(self, failing: bool) -> None:
        """Make all writing fail, or work again."""

    def notice(self, store: Store) -> None:
        """Where nothing watches, look now."""


class Changes:
    """Collects what a store publishes, and waits for what is expected."""

    def __init__(self, store: Store) -> None:
        self.seen: list[Change] = []
        self._news = asyncio.Event()
        self.stop = store.subscribe(self._hear)

    def _hear(self, change: Change) -> None:
        self.seen.append(change)
        self._news.set()

    async def until(self, expected: Callable[[Change], bool], seconds: float = 5.0) -> Change:
        async with asyncio.timeout(seconds):
            while True:
                for change in self.seen:
                    if expected(change):
                        return change
                self._news.clear()
                await self._news.wait()


def _generation(store: Store, account: AccountId = ALICE) -> Generation:
    return _entry(store, account).generation


def _entry(store: Store, account: AccountId = ALICE) -> Entry:
    entry = store.get(account)
    assert entry is not None
    return entry


def _is_update(n: int, account: AccountId = ALICE) -> Callable[[Change], bool]:
    return lambda change: (
        isinstance(change, Updated)
        and change.entry.account == account
        and change.entry.record.tokens.access_token == Secret(f"fake-access-{n}")
    )


class StoreContract:
    """The suite."""

    # --- reading ---

    async def test_what_was_there_before_is_served(self, harness: Harness) -> None:
        harness.write(record())
        harness.write(record(BOB), paused=True)
        store = await harness.open()
        assert list(store.entries()) == [ALICE, BOB]
        entry = _entry(store)
        assert entry.record.tokens.refresh_token == Secret("fake-refresh-1")
        assert (entry.paused, _entry(store, BOB).paused) == (False, True)
        assert store.get(AccountId("fake", "nobody")) is None
        await harness.close(store)

    async def test_another_programs_write_is_published_with_a_higher_generation(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _generation(store)
        changes = Changes(store)
        harness.write(record(n=2))
        harness.notice(store)
        change = await changes.until(_is_update(2))
        assert isinstance(change, Updated)
        assert change.entry.generation > before
        assert store.get(ALICE) == change.entry
        await harness.close(store)

    async def test_a_new_file_becomes_an_account_and_a_deleted_one_ceases(self, harness: Harness) -> None:
        store = await harness.open()
        changes = Changes(store)
        harness.write(record())
        harness.notice(store)
        await changes.until(_is_update(1))
        harness.delete(ALICE)
        harness.notice(store)
        await changes.until(lambda change: change == Gone(ALICE))
        assert store.get(ALICE) is None
        await harness.close(store)

    async def test_a_listener_can_stop(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        deaf, hears = Changes(store), Changes(store)
        deaf.stop()
        deaf.stop()
        async with store.lock(ALICE, 1.0) as lock:
            await store.put(lock, tokens(2), _generation(store), harness.clock.now())
        await hears.until(_is_update(2))
        assert deaf.seen == []
        await harness.close(store)

    async def test_default_prefers_what_can_be_served(self, harness: Harness) -> None:
        assert_none = await harness.open()
        assert assert_none.default_of("fake") is None
        await harness.close(assert_none)
        harness.write(record(), paused=True)
        harness.write(record(BOB))
        store = await harness.open()
        assert store.default_of("fake") == BOB
        assert store.default_of("other") is None
        await harness.close(store)

    # --- generations ---

    async def test_generation_of_an_unchanged_account_survives_a_restart(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            entry = await store.put(lock, tokens(2), _generation(store), harness.clock.now())
        await harness.close(store)
        store = await harness.open()
        assert _generation(store) == entry.generation
        await harness.close(store)

    async def test_generation_rises_when_the_file_changed_while_nobody_looked(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _generation(store)
        await harness.close(store)
        harness.write(record(n=2))
        store = await harness.open()
        assert _generation(store) > before
        await harness.close(store)

    async def test_generation_is_not_lowered_when_a_file_goes_and_comes_back(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            entry = await store.put(lock, tokens(2), _generation(store), harness.clock.now())
        await store.remove(ALICE)
        harness.write(record(n=3))
        changes = Changes(store)
        harness.notice(store)
        await changes.until(_is_update(3))
        assert _generation(store) > entry.generation
        await harness.close(store)

    @pytest.mark.parametrize(
        "change",
        [
            {"disabled": True},
            {"facts": {"project_id": "another"}},
            {"tokens": replace(tokens(1), access_token=Secret("fake-access-9"))},
        ],
    )
    async def test_every_change_a_client_could_notice_raises_it(
        self, harness: Harness, change: dict[str, object]
    ) -> None:
        harness.write(record())
        store = await harness.open()
        before = _generation(store)
        changes = Changes(store)
        harness.write(record(**change))  # type: ignore[arg-type]
        harness.notice(store)
        await changes.until(lambda seen: isinstance(seen, Updated) and seen.entry.generation > before)
        await harness.close(store)

    # --- put ---

    async def test_put_is_on_disk_when_it_returns(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _generation(store)
        async with store.lock(ALICE, 1.0) as lock:
            entry = await store.put(lock, tokens(2), before, harness.clock.now())
        assert entry.generation > before
        assert store.get(ALICE) == entry
        stored = harness.stored(ALICE)
        assert stored is not None
        assert stored.refresh_token == Secret("fake-refresh-2")
        await harness.crash(store)
        store = await harness.open()
        assert _entry(store).record.tokens.access_token == Secret("fake-access-2")
        await harness.close(store)

    async def test_put_without_a_refresh_token_keeps_the_old(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            made = replace(tokens(2), refresh_token=None)
            entry = await store.put(lock, made, _generation(store), harness.clock.now())
        assert entry.record.tokens.refresh_token == Secret("fake-refresh-1")
        await harness.close(store)

    async def test_put_of_a_superseded_generation_writes_nothing(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _generation(store)
        async with store.lock(ALICE, 1.0) as lock:
            harness.write(record(n=5))  # nobody has noticed yet
            with pytest.raises(SupersededError) as caught:
                await store.put(lock, tokens(2), before, harness.clock.now())
        assert caught.value.code is ErrorCode.SUPERSEDED
        stored = harness.stored(ALICE)
        assert stored is not None
        assert stored.refresh_token == Secret("fake-refresh-5")
        await harness.close(store)

    async def test_put_is_not_superseded_by_a_change_that_left_the_refresh_token(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _generation(store)
        async with store.lock(ALICE, 1.0) as lock:
            harness.write(record(facts={"project_id": "another"}))
            await store.reread(lock)
            assert _generation(store) > before
            entry = await store.put(lock, tokens(2), before, harness.clock.now())
        assert entry.record.facts["project_id"] == "another"
        assert entry.record.tokens.refresh_token == Secret("fake-refresh-2")
        await harness.close(store)

    async def test_put_of_an_unknown_generation_is_superseded(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            with pytest.raises(SupersededError):
                await store.put(lock, tokens(2), Generation(_generation(store) + 7), harness.clock.now())
        await harness.close(store)

    async def test_put_that_storage_refuses_leaves_the_file_and_succeeds_later(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _generation(store)
        async with store.lock(ALICE, 1.0) as lock:
            harness.fail(True)
            with pytest.raises(StorageError, match="ENOSPC"):
                await store.put(lock, tokens(2), before, harness.clock.now())
            assert _generation(store) == before
            stored = harness.stored(ALICE)
            assert stored is not None
            assert stored.refresh_token == Secret("fake-refresh-1")
            harness.fail(False)
            entry = await store.put(lock, tokens(2), before, harness.clock.now())
        assert entry.record.tokens.access_token == Secret("fake-access-2")
        await harness.close(store)

    async def test_putting_the_same_grant_again_succeeds(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _generation(store)
        async with store.lock(ALICE, 1.0) as lock:
            await store.put(lock, tokens(2), before, harness.clock.now())
            again = await store.put(lock, tokens(2), before, harness.clock.now())
        assert again.record.tokens.refresh_token == Secret("fake-refresh-2")
        await harness.close(store)

    async def test_put_after_the_file_went_does_not_bring_it_back(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            harness.delete(ALICE)
            with pytest.raises(SupersededError):
                await store.put(lock, tokens(2), _generation(store), harness.clock.now())
        assert harness.stored(ALICE) is None
        await harness.close(store)

    # --- lock ---

    async def test_lock_excludes_another_process(self, harness: Harness) -> None:
        harness.write(record())
        one, two = await harness.open(), await harness.open()
        async with one.lock(ALICE, 1.0) as lock:
            assert lock.account == ALICE
            with pytest.raises(LockTimeoutError):
                async with two.lock(ALICE, 0.0):
                    raise AssertionError
        async with two.lock(ALICE, 1.0):
            pass
        await harness.close(one)
        await harness.close(two)

    async def test_lock_excludes_another_task(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0):
            with pytest.raises(LockTimeoutError):
                async with store.lock(ALICE, 0.0):
                    raise AssertionError
        await harness.close(store)

    async def test_lock_falls_when_its_holder_dies(self, harness: Harness) -> None:
        harness.write(record())
        one, two = await harness.open(), await harness.open()
        async with one.lock(ALICE, 1.0):
            await harness.crash(one)
            async with two.lock(ALICE, 1.0):
                pass
        await harness.close(two)

    async def test_a_released_lock_opens_nothing(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            pass
        with pytest.raises(RuntimeError):
            await store.put(lock, tokens(2), _generation(store), harness.clock.now())
        await harness.close(store)

    async def test_lock_of_nothing(self, harness: Harness) -> None:
        store = await harness.open()
        with pytest.raises(BrokerError) as caught:
            async with store.lock(ALICE, 1.0):
                raise AssertionError
        assert caught.value.code is ErrorCode.UNKNOWN_ACCOUNT
        await harness.close(store)

    async def test_reread_sees_what_nobody_told(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            harness.write(record(n=2))
            entry = await store.reread(lock)
            assert entry is not None
            assert entry.record.tokens.access_token == Secret("fake-access-2")
            assert store.get(ALICE) == entry
            harness.delete(ALICE)
            assert await store.reread(lock) is None
        await harness.close(store)

    # --- journal ---

    async def test_rotation_is_pending_until_cleared(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        entry = _entry(store)
        async with store.lock(ALICE, 1.0) as lock:
            assert await store.pending_rotation(lock) is None
            rotation = await store.begin_rotation(lock, entry, harness.clock.now())
            pending = await store.pending_rotation(lock)
            assert pending is not None
            assert pending.digest == entry.record.tokens.refresh_digest()
            assert (pending.generation, pending.since, pending.answer) == (entry.generation, START_WALL, None)
            assert not pending.presented
            await rotation.present()
            await rotation.present()
            pending = await store.pending_rotation(lock)
            assert pending is not None
            assert pending.presented
            assert list(store.pending_accounts()) == [ALICE]
            await rotation.clear()
            await rotation.clear()
            assert await store.pending_rotation(lock) is None
        assert list(store.pending_accounts()) == []
        await harness.close(store)

    async def test_an_answer_survives_a_kill(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        entry = _entry(store)
        answer = HttpResponse(200, {"content-type": "application/json", "x-other": "dropped"}, b'{"fake": true}')
        async with store.lock(ALICE, 1.0) as lock:
            rotation = await store.begin_rotation(lock, entry, harness.clock.now())
            rotation.record_answer(answer)
            await harness.crash(store)
        store = await harness.open()
        assert list(store.pending_accounts()) == [ALICE]
        async with store.lock(ALICE, 1.0) as lock:
            pending = await store.pending_rotation(lock)
            assert pending is not None
            assert pending.answer is not None
            assert (pending.answer.status, pending.answer.body) == (200, b'{"fake": true}')
            assert pending.answer.headers["content-type"] == "application/json"
            entry = await store.put(lock, tokens(2), pending.generation, harness.clock.now())
            await store.clear_rotation(lock)
            assert await store.pending_rotation(lock) is None
        assert entry.record.tokens.refresh_token == Secret("fake-refresh-2")
        await harness.close(store)

    async def test_a_kill_before_the_answer_leaves_the_intent(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            await store.begin_rotation(lock, _entry(store), harness.clock.now())
            await harness.crash(store)
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            pending = await store.pending_rotation(lock)
            assert pending is not None
            assert pending.answer is None
            second = await store.begin_rotation(lock, _entry(store), harness.clock.now())
            await second.clear()
        await harness.close(store)

    async def test_an_answer_not_put_away_cannot_be_written_over(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            rotation = await store.begin_rotation(lock, _entry(store), harness.clock.now())
            rotation.record_answer(HttpResponse(200, {}, b"{}"))
            await rotation.sync()
            with pytest.raises(StorageError):
                await store.begin_rotation(lock, _entry(store), harness.clock.now())
            pending = await store.pending_rotation(lock)
            assert pending is not None
            assert pending.answer is not None
            await store.clear_rotation(lock)
        await harness.close(store)

    async def test_no_rotation_begins_on_storage_that_refuses(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            harness.fail(True)
            with pytest.raises(StorageError):
                await store.begin_rotation(lock, _entry(store), harness.clock.now())
            harness.fail(False)
            assert await store.pending_rotation(lock) is None
            rotation = await store.begin_rotation(lock, _entry(store), harness.clock.now())
            await rotation.clear()
        await harness.close(store)

    # --- verdicts ---

    async def test_terminal_verdict_survives_and_ends_with_the_token(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _entry(store)
        verdict = NeedsLogin("revoked", START_WALL, before.record.tokens.refresh_digest())
        async with store.lock(ALICE, 1.0) as lock:
            marked = await store.mark_terminal(lock, verdict)
        assert marked.terminal == verdict
        assert marked.generation > before.generation
        assert harness.stored(ALICE) == before.record.tokens  # kept: nothing but a logout removes it
        await harness.close(store)
        store = await harness.open()
        assert _entry(store).terminal == verdict
        assert _generation(store) == marked.generation
        async with store.lock(ALICE, 1.0) as lock:
            harness.write(record(n=2))
            entry = await store.reread(lock)
        assert entry is not None
        assert entry.terminal is None
        assert entry.generation > marked.generation
        await harness.close(store)

    async def test_terminal_verdict_can_be_cleared(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        verdict = NeedsLogin("revoked", START_WALL, _entry(store).record.tokens.refresh_digest())
        async with store.lock(ALICE, 1.0) as lock:
            marked = await store.mark_terminal(lock, verdict)
            assert await store.mark_terminal(lock, verdict) == marked
            cleared = await store.mark_terminal(lock, None)
        assert cleared.terminal is None
        assert cleared.generation > marked.generation
        await harness.close(store)

    # --- logins, logout, pause ---

    async def test_a_new_login_becomes_an_account(self, harness: Harness) -> None:
        store = await harness.open()
        changes = Changes(store)
        entry = await store.add(record(), CLIENT, harness.clock.now())
        assert entry.account == ALICE
        assert store.get(ALICE) == entry
        await changes.until(_is_update(1))
        stored = harness.stored(ALICE)
        assert stored is not None
        assert stored.refresh_token == Secret("fake-refresh-1")
        await harness.close(store)

    async def test_a_login_of_the_same_identity_replaces_its_grant(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _entry(store)
        verdict = NeedsLogin("revoked", START_WALL, before.record.tokens.refresh_digest())
        async with store.lock(ALICE, 1.0) as lock:
            await store.mark_terminal(lock, verdict)
        entry = await store.add(record(n=2), CLIENT, harness.clock.now())
        assert (entry.account, entry.terminal, entry.file) == (ALICE, None, before.file)
        assert entry.generation > before.generation
        assert list(store.entries()) == [ALICE]
        await harness.close(store)

    async def test_a_login_that_storage_refuses_leaves_the_old_grant(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        harness.fail(True)
        with pytest.raises(StorageError):
            await store.add(record(n=2), CLIENT, harness.clock.now())
        harness.fail(False)
        assert _entry(store).record.tokens.refresh_token == Secret("fake-refresh-1")
        await harness.close(store)

    async def test_logout_removes(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        changes = Changes(store)
        await store.remove(ALICE)
        assert store.get(ALICE) is None
        assert harness.stored(ALICE) is None
        await changes.until(lambda change: change == Gone(ALICE))
        with pytest.raises(BrokerError) as caught:
            await store.remove(ALICE)
        assert caught.value.code is ErrorCode.UNKNOWN_ACCOUNT
        await harness.close(store)

    async def test_pause_and_resume(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _generation(store)
        paused = await store.set_paused(ALICE, True)
        assert paused.paused
        assert paused.generation > before
        assert (await store.set_paused(ALICE, True)).generation == paused.generation
        await harness.close(store)
        store = await harness.open()
        assert _entry(store).paused
        assert not (await store.set_paused(ALICE, False)).paused
        with pytest.raises(BrokerError):
            await store.set_paused(BOB, True)
        await harness.close(store)

    async def test_a_paused_account_can_be_renewed(self, harness: Harness) -> None:
        harness.write(record(), paused=True)
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            entry = await store.put(lock, tokens(2), _generation(store), harness.clock.now())
        assert entry.paused
        assert entry.record.tokens.access_token == Secret("fake-access-2")
        await harness.close(store)

    # --- names ---

    async def test_a_new_label_keeps_the_login_and_raises_the_generation(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _entry(store)
        verdict = NeedsLogin("revoked", START_WALL, before.record.tokens.refresh_digest())
        changes = Changes(store)
        async with store.lock(ALICE, 1.0) as lock:
            before = await store.mark_terminal(lock, verdict)
            renamed = await store.rename(lock, "work")
            assert renamed.account == WORK
            # What was begun before still lands: the lock and the generation are the account's, whatever it is called.
            put = await store.put(lock, tokens(2), before.generation, harness.clock.now())
        assert (renamed.terminal, put.account) == (verdict, WORK)
        assert put.generation > renamed.generation > before.generation
        assert list(store.entries()) == [WORK]
        await changes.until(lambda change: change == Gone(ALICE))
        await changes.until(_is_update(2, WORK))
        await harness.close(store)
        store = await harness.open()
        assert list(store.entries()) == [WORK]
        assert _generation(store, WORK) == put.generation
        await harness.close(store)

    async def test_a_generation_is_above_those_of_both_names(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            for _ in range(3):
                first = await store.rename(lock, "work")
                second = await store.rename(lock, ALICE.label)
                assert second.generation > first.generation
        await harness.close(store)

    async def test_a_label_in_use_is_refused(self, harness: Harness) -> None:
        harness.write(record())
        harness.write(record(BOB))
        store = await harness.open()
        before = _entry(store)
        async with store.lock(ALICE, 1.0) as lock:
            for taken in ("bob@example.com", "BOB@example.com", "a/b", ""):
                with pytest.raises(BrokerError) as caught:
                    await store.rename(lock, taken)
                assert caught.value.code is ErrorCode.BAD_REQUEST
            assert await store.rename(lock, ALICE.label) == before
            assert (await store.rename(lock, "Alice@Example.com")).account.label == "Alice@Example.com"
        await harness.close(store)

    async def test_a_rename_that_storage_refuses_changes_nothing(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        before = _entry(store)
        async with store.lock(ALICE, 1.0) as lock:
            harness.fail(True)
            with pytest.raises(StorageError):
                await store.rename(lock, "work")
            harness.fail(False)
            assert (await store.put(lock, tokens(2), before.generation, harness.clock.now())).account == ALICE
        await harness.close(store)

    async def test_a_login_of_a_renamed_account_updates_it(self, harness: Harness) -> None:
        """By what the provider says of the person; also where the account is paused, and where the login came with another label."""
        harness.write(record(subject="s-1"))
        store = await harness.open()
        async with store.lock(ALICE, 1.0) as lock:
            await store.rename(lock, "work")
        await store.set_paused(WORK, True)
        for n, label in ((2, ALICE.label), (3, "another")):
            told = record(AccountId("fake", label), n, subject="s-1", email=ALICE.label)
            entry = await store.add(told, CLIENT, harness.clock.now())
            assert (entry.account, entry.paused) == (WORK, True)
            assert entry.record.tokens.refresh_token == Secret(f"fake-refresh-{n}")
        assert list(store.entries()) == [WORK]
        await harness.close(store)

    async def test_a_chosen_default_lasts_until_it_is_removed(self, harness: Harness) -> None:
        harness.write(record())
        harness.write(record(BOB))
        store = await harness.open()
        assert store.default_of("fake") == ALICE
        await store.set_default(BOB)
        assert store.default_of("fake") == BOB
        with pytest.raises(BrokerError):
            await store.set_default(WORK)
        await harness.close(store)
        store = await harness.open()
        assert store.default_of("fake") == BOB
        async with store.lock(BOB, 1.0) as lock:
            await store.rename(lock, "work")
        assert store.default_of("fake") == WORK
        await store.set_paused(WORK, True)
        assert store.default_of("fake") == WORK
        await harness.close(store)
        store = await harness.open()
        assert store.default_of("fake") == WORK
        await store.remove(WORK)
        await store.add(record(WORK, email="new@example.com"), CLIENT, harness.clock.now())
        assert store.default_of("fake") == ALICE
        await harness.close(store)

    async def test_health_is_silent_when_all_is_well(self, harness: Harness) -> None:
        harness.write(record())
        store = await harness.open()
        health = store.health()
        assert list(health.problems) == []
        assert health.protections
        await harness.close(store)
