"""What only a store of files can get wrong."""

import asyncio
import errno
import json
import logging
import os
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.model.account import AccountId, Generation
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.messages import HttpResponse
from broker.store.base import Entry, LockTimeoutError, StorageError, SupersededError, Updated
from broker.store.lock import try_lock
from broker.store.store import FileStore
from tests.contract.store_contract import ALICE, BOB, CLIENT, Changes, record, tokens
from tests.fakes.clock import START_WALL
from tests.fakes.disk import FileHarness, document
from tests.fakes.provider import FakeProvider


@pytest.fixture
def harness(tmp_path: Path) -> FileHarness:
    return FileHarness(tmp_path)


@pytest.fixture
async def store(harness: FileHarness) -> AsyncIterator[FileStore]:
    """A store that knows Alice."""
    harness.write(record())
    made = await harness.open()
    yield made
    await made.close()


def entry(store: FileStore, account: AccountId = ALICE) -> Entry:
    found = store.get(account)
    assert found is not None
    return found


async def put(store: FileStore, n: int = 2, expected: Generation | None = None) -> Entry:
    async with store.lock(ALICE, 1.0) as lock:
        generation = entry(store).generation if expected is None else expected
        return await store.put(lock, tokens(n), generation, store._clock.now())


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for what no change is published for."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def grant_is(n: int) -> Callable[[object], bool]:
    return lambda change: (
        isinstance(change, Updated)
        and change.entry.record.tokens == replace(tokens(n), last_refresh=change.entry.record.tokens.last_refresh)
    )


def problems(store: FileStore) -> str:
    return "\n".join(store.health().problems)


# --- what others do to files ---


async def test_a_dropped_in_file_is_served_within_a_second(store: FileStore, harness: FileHarness) -> None:
    changes = Changes(store)
    started = asyncio.get_running_loop().time()
    harness.write(record(BOB, 3))
    await changes.until(grant_is(3))
    assert asyncio.get_running_loop().time() - started < 1.0


async def test_a_file_renamed_into_place_is_taken_without_a_pause(store: FileStore, harness: FileHarness) -> None:
    waits: list[float] = []

    async def never(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.Event().wait()

    store._follower._clock = SimpleNamespace(sleep=never, now=store._clock.now)  # type: ignore[assignment]
    changes = Changes(store)
    path = harness.path(ALICE)
    hidden = path.with_name(".new.tmp")
    hidden.write_text(json.dumps(document(record(n=2))))
    hidden.replace(path)
    await changes.until(grant_is(2))
    assert waits == []
    hidden.write_text('{"type":')  # not even this is read twice at once
    hidden.replace(path)
    await until(lambda: bool(waits))
    assert waits == [0.02]
    assert entry(store).record.tokens.access_token == tokens(2).access_token


async def test_a_half_written_file_is_awaited_and_nothing_is_lost(store: FileStore, harness: FileHarness) -> None:
    changes = Changes(store)
    whole = json.dumps(document(record(n=2)))
    with harness.path(ALICE).open("w") as file:
        for at in range(0, len(whole), 20):
            file.write(whole[at : at + 20])
            file.flush()
            await asyncio.sleep(0.003)
            assert store.get(ALICE) is not None
    await changes.until(grant_is(2))
    assert len(changes.seen) == 1
    assert problems(store) == ""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b'{"type": "fa', "half written"),
        (b"\xff\xfe", "UTF-8"),
        (b"[]", "not an object"),
        (b'{"access_token": "x"}', 'no "type"'),
        (b'{"type": "fake"}', "no token"),
        (b'{"type": "strange"}', "no provider"),
    ],
)
async def test_a_broken_file_keeps_its_last_good_state_and_is_said_once(
    store: FileStore, harness: FileHarness, caplog: pytest.LogCaptureFixture, data: bytes, said: str
) -> None:
    before = entry(store)
    path = harness.path(ALICE)
    with caplog.at_level(logging.WARNING):
        path.write_bytes(data)
        await until(lambda: said in problems(store))
        await store._follower.rescan()
        await until(lambda: not store._follower._running)
    assert "last good state" in problems(store)
    assert store.get(ALICE) == before
    assert len([line for line in caplog.records if line.name == "broker.store.problems"]) == 1
    harness.write(record(n=2))
    changes = Changes(store)
    await changes.until(grant_is(2))
    assert problems(store) == ""


async def test_a_file_broken_from_the_start_is_a_problem_and_no_account(harness: FileHarness) -> None:
    harness.path(ALICE).write_bytes(b"{")
    harness.path(BOB).write_bytes(b"[]")
    store = await harness.open()
    await until(lambda: len(store.health().problems) == 2)
    assert store.entries() == {}
    harness.path(BOB).unlink()
    await until(lambda: len(store.health().problems) == 1)
    await store.close()


async def test_a_file_that_is_gone_for_a_moment_is_not_gone(store: FileStore, harness: FileHarness) -> None:
    changes = Changes(store)
    harness.delete(ALICE)
    await asyncio.sleep(0.3)
    assert store.get(ALICE) is not None
    harness.write(record(n=2))
    await changes.until(grant_is(2))
    assert len(changes.seen) == 1


async def test_a_file_moved_to_paused_by_another_program_is_paused(store: FileStore, harness: FileHarness) -> None:
    changes = Changes(store)
    harness.path(ALICE).rename(harness.path(ALICE, paused=True))
    await changes.until(lambda change: isinstance(change, Updated) and change.entry.paused)
    harness.path(ALICE, paused=True).rename(harness.path(ALICE))
    await changes.until(lambda change: isinstance(change, Updated) and not change.entry.paused)
    assert len(changes.seen) == 2


async def test_put_follows_a_file_that_was_just_paused(store: FileStore, harness: FileHarness) -> None:
    async with store.lock(ALICE, 1.0) as lock:
        harness.path(ALICE).rename(harness.path(ALICE, paused=True))
        made = await store.put(lock, tokens(2), entry(store).generation, harness.clock.now())
    assert made.paused
    assert harness.plain(harness.path(ALICE, paused=True))["refresh_token"] == "fake-refresh-2"
    assert not harness.path(ALICE).exists()


async def test_deleted_and_recreated_directories_are_watched_again(store: FileStore, harness: FileHarness) -> None:
    changes = Changes(store)
    for path in sorted(harness.auth.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    harness.auth.rmdir()
    await until(lambda: store.get(ALICE) is None)
    harness.auth.mkdir(mode=0o700)
    harness.write(record(n=2))
    await changes.until(grant_is(2))
    harness.write(record(n=3))
    await changes.until(grant_is(3))
    assert (await put(store, 4)).record.tokens.refresh_token == Secret("fake-refresh-4")


async def test_a_rescan_finds_what_no_event_told(harness: FileHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.observe.watch.Watcher.start", lambda self: None)
    harness.rescan_seconds = 0.05
    store = await harness.open()
    assert "does not notify" in problems(store)
    assert not store.health().protections["change-notification"]
    changes = Changes(store)
    harness.write(record())
    await changes.until(grant_is(1))
    harness.write(record(n=2))
    await changes.until(grant_is(2))
    harness.delete(ALICE)
    await until(lambda: store.get(ALICE) is None)
    await store.close()


async def test_our_own_write_is_published_once(store: FileStore) -> None:
    changes = Changes(store)
    await put(store)
    await asyncio.sleep(0.15)
    assert len(changes.seen) == 1


async def test_reformatting_a_file_is_no_change(store: FileStore, harness: FileHarness) -> None:
    changes = Changes(store)
    path = harness.path(ALICE)
    path.write_text(json.dumps(harness.plain(path), indent=4))
    await asyncio.sleep(0.15)
    assert changes.seen == []


async def test_two_files_of_one_login_are_one_account(store: FileStore, harness: FileHarness) -> None:
    changes = Changes(store)
    (harness.auth / "copy.json").write_text(json.dumps(document(record(n=2))))
    await changes.until(grant_is(2))
    assert list(store.entries()) == [ALICE]
    assert entry(store).file == "copy.json"
    assert "fake-alice@example.com.json holds an older grant" in problems(store)
    await store.remove(ALICE)
    assert [path.name for path in harness.auth.glob("*.json")] == []


async def test_two_projects_of_one_person_keep_their_names_over_restarts(harness: FileHarness) -> None:
    second = harness.auth / "b.json"
    second.write_text(json.dumps(document(record(facts={"project_id": "two"}))))
    store = await harness.open()
    assert list(store.entries()) == [ALICE]
    await store.close()
    (harness.auth / "a.json").write_text(json.dumps(document(record(facts={"project_id": "one"}))))
    store = await harness.open()
    assert [str(account) for account in store.entries()] == ["fake/alice@example.com", "fake/alice@example.com:one"]
    assert entry(store).record.facts["project_id"] == "two"
    async with store.lock(AccountId.parse("fake/alice@example.com:one"), 1.0) as lock:
        made = await store.put(lock, tokens(5), store.entries()[lock.account].generation, harness.clock.now())
    assert (made.file, made.record.facts["project_id"]) == ("a.json", "one")
    await store.close()


# --- what we write ---


async def test_put_keeps_the_style_and_the_fields_of_others(harness: FileHarness) -> None:
    path = harness.path(ALICE)
    text = json.dumps({**document(record()), "priority": 1, "headers": {"x": [1e3, "ü"]}}, indent=4, ensure_ascii=False)
    text = text.replace("1000.0", "1E+3")
    path.write_text(text + "\n")
    store = await harness.open()
    await put(store)
    made = path.read_text()
    assert made.startswith(text.partition('"access_token"')[0])
    assert '"headers": {\n        "x": [\n            1E+3,\n            "ü"\n        ]\n    }' in made
    assert made.endswith("}\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await store.close()


fields = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields, st.sampled_from([None, 1, 2, "\t"]), st.booleans())
def test_every_field_we_do_not_own_survives_put(
    tmp_path_factory: pytest.TempPathFactory, extra: dict[str, object], indent: int | str | None, ascii_: bool
) -> None:
    owned = ("access_token", "refresh_token", "expires_at", "last_refresh")
    told = {**extra, **document(record()), "last_refresh": 1}
    text = json.dumps(told, indent=indent, ensure_ascii=ascii_).replace("Infinity", "1e999")

    async def scenario(harness: FileHarness) -> bytes:
        harness.path(ALICE).write_bytes(text.encode(errors="surrogatepass"))
        store = await harness.open()
        if store.get(ALICE) is None:  # text no vendor could have meant: a lone surrogate in a label, say
            assert problems(store)
            await store.close()
            return b""
        await put(store)
        await store.close()
        return harness.path(ALICE).read_bytes()

    made = asyncio.run(scenario(FileHarness(tmp_path_factory.mktemp("any"))))
    if not made:
        return
    expected = text
    for key in owned:
        old, new = json.dumps({key: told[key]})[1:-1], json.dumps({key: json.loads(made)[key]})[1:-1]
        assert expected.count(old) >= 1
        before, _, after = expected.rpartition(old)
        expected = before + new + after
    assert made.decode(errors="surrogatepass") == expected


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60), max_size=3))
def test_no_bytes_on_disk_stop_the_store(tmp_path_factory: pytest.TempPathFactory, files: list[bytes]) -> None:
    async def scenario(harness: FileHarness) -> None:
        harness.write(record())
        for number, data in enumerate(files):
            (harness.auth / f"x{number}.json").write_bytes(data)
        store = await harness.open()
        assert entry(store).record.tokens.access_token == Secret("fake-access-1")
        await store.close()

    asyncio.run(scenario(FileHarness(tmp_path_factory.mktemp("any"))))


async def test_a_foreign_field_written_at_the_last_moment_survives(store: FileStore, harness: FileHarness) -> None:
    told = {**document(record()), "priority": 7}
    harness.faulty.before["exchange"] = lambda: harness.path(ALICE).write_text(json.dumps(told)) and None
    made = await put(store)
    assert made.record.tokens.refresh_token == Secret("fake-refresh-2")
    stored = harness.plain(harness.path(ALICE))
    assert (stored["priority"], stored["refresh_token"]) == (7, "fake-refresh-2")


async def test_a_write_made_from_what_was_taken_back_loses_nothing(store: FileStore, harness: FileHarness) -> None:
    path = harness.path(ALICE)
    glimpsed: list[dict[str, object]] = []

    def first_write() -> None:
        path.write_text(json.dumps({**harness.plain(path), "first": 1}))
        harness.faulty.before["exchange"] = lambda: glimpsed.append(
            harness.plain(path)
        )  # ours, a moment before it is taken back

    harness.faulty.before["exchange"] = first_write
    await put(store)
    assert glimpsed[0]["refresh_token"] == "fake-refresh-2"
    assert "first" not in glimpsed[0]
    path.write_text(json.dumps({**glimpsed[0], "second": 2}))
    await until(lambda: {"first", "second"} <= harness.plain(path).keys())
    assert harness.plain(path)["refresh_token"] == "fake-refresh-2"
    await until(lambda: problems(store) == "")


async def test_a_newer_foreign_grant_at_the_last_moment_wins(store: FileStore, harness: FileHarness) -> None:
    harness.faulty.before["exchange"] = lambda: harness.write(record(n=9))
    with pytest.raises(SupersededError):
        await put(store)
    assert harness.plain(harness.path(ALICE))["refresh_token"] == "fake-refresh-9"
    assert entry(store).record.tokens.access_token == Secret("fake-access-9")


async def test_a_writer_that_is_slow_in_the_midst_of_a_file_is_waited_for(
    store: FileStore, harness: FileHarness
) -> None:
    path = harness.path(ALICE)
    text = json.dumps(document(record()) | {"x_theirs": 1})
    with path.open("w") as file:
        file.write(text[:40])
        file.flush()
        harness.clock.wall = path.stat().st_mtime
        storing = asyncio.create_task(put(store))
        await asyncio.sleep(0.8)  # longer than a half written file takes to count as broken
        assert not storing.done()
        file.write(text[40:])
    await storing
    made = harness.plain(path)
    assert (made["x_theirs"], made["refresh_token"]) == (1, "fake-refresh-2")
    assert not (harness.auth / ".ccs-broker" / "broken").exists()


async def test_a_file_broken_for_good_is_written_from_its_last_good_state(
    store: FileStore, harness: FileHarness
) -> None:
    path = harness.path(ALICE)
    path.write_bytes(b'{"type": "fake", "access_tok')
    made = await put(store)
    assert made.record.tokens.refresh_token == Secret("fake-refresh-2")
    assert harness.plain(path)["email"] == "alice@example.com"
    kept = harness.auth / ".ccs-broker" / "broken" / path.name
    assert kept.read_bytes() == b'{"type": "fake", "access_tok'
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    path.write_bytes(b"")
    await put(store, 3)
    assert kept.read_bytes() == b'{"type": "fake", "access_tok'


async def test_a_file_that_became_something_else_is_not_written_over(store: FileStore, harness: FileHarness) -> None:
    path = harness.path(ALICE)
    path.write_text('{"type": "strange", "precious": 1}')
    with pytest.raises(StorageError, match="not written over"):
        await put(store)
    assert path.read_text() == '{"type": "strange", "precious": 1}'


async def test_a_missing_directory_is_a_storage_fault_not_a_logout(store: FileStore, harness: FileHarness) -> None:
    async with store.lock(ALICE, 1.0) as lock:
        harness.auth.rename(harness.root / "unmounted")
        with pytest.raises(StorageError, match="ENOENT"):
            await store.put(lock, tokens(2), entry(store).generation, harness.clock.now())
        with pytest.raises(StorageError, match="ENOENT"):
            await store.begin_rotation(lock, entry(store), harness.clock.now())
        (harness.root / "unmounted").rename(harness.auth)
        made = await store.put(lock, tokens(2), entry(store).generation, harness.clock.now())
    assert made.record.tokens.refresh_token == Secret("fake-refresh-2")


@pytest.mark.parametrize("call", ["open", "write", "fsync", "exchange"])
async def test_a_refusing_disk_is_named_and_nothing_changes(store: FileStore, harness: FileHarness, call: str) -> None:
    before = harness.path(ALICE).read_bytes()
    generation = entry(store).generation
    async with store.lock(ALICE, 1.0) as lock:
        harness.faulty.failing = {call}
        harness.faulty.error = errno.EDQUOT
        with pytest.raises(StorageError, match="EDQUOT"):
            await store.put(lock, tokens(2), generation, harness.clock.now())
        harness.faulty.failing = set()
        assert harness.path(ALICE).read_bytes() == before
        made = await store.put(lock, tokens(2), generation, harness.clock.now())
    assert made.generation > generation


async def test_what_is_not_durable_is_not_published(store: FileStore, harness: FileHarness) -> None:
    changes = Changes(store)
    generation = entry(store).generation
    harness.faulty.before["exchange"] = lambda: harness.faulty.failing.add("fsync")
    async with store.lock(ALICE, 1.0) as lock:
        with pytest.raises(StorageError, match="fsync"):
            await store.put(lock, tokens(2), generation, harness.clock.now())
        assert harness.plain(harness.path(ALICE))["refresh_token"] == "fake-refresh-2"  # in place, perhaps not for long
        with pytest.raises(StorageError, match="fsync"):
            await store.put(lock, tokens(2), generation, harness.clock.now())
        await asyncio.sleep(0.15)
        await store._follower.rescan()
        await asyncio.sleep(0.1)
        assert entry(store).generation == generation
        assert changes.seen == []
        harness.faulty.failing = set()
        made = await store.put(lock, tokens(2), generation, harness.clock.now())
    assert made.record.tokens.access_token == Secret("fake-access-2")
    await changes.until(grant_is(2))
    assert len(changes.seen) == 1


async def test_a_cancelled_put_is_finished_under_the_lock(store: FileStore, harness: FileHarness) -> None:
    async with store.lock(ALICE, 1.0) as lock:
        task = asyncio.ensure_future(store.put(lock, tokens(2), entry(store).generation, harness.clock.now()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert entry(store).record.tokens.refresh_token == Secret("fake-refresh-2")
    assert harness.plain(harness.path(ALICE))["refresh_token"] == "fake-refresh-2"


async def test_a_program_that_writes_back_an_old_grant_loses(
    store: FileStore, harness: FileHarness, caplog: pytest.LogCaptureFixture
) -> None:
    made = await put(store)
    changes = Changes(store)
    told = {**document(record()), "priority": 7}
    with caplog.at_level(logging.WARNING):
        harness.path(ALICE).write_text(json.dumps(told))
        change = await changes.until(lambda _: True)
    assert isinstance(change, Updated)
    assert change.entry.record.tokens.refresh_token == Secret("fake-refresh-2")
    assert change.entry.generation > made.generation
    stored = harness.plain(harness.path(ALICE))
    assert (stored["refresh_token"], stored["access_token"], stored["priority"]) == (
        "fake-refresh-2",
        "fake-access-2",
        7,
    )
    assert any("from an older state" in str(vars(line).get("problem")) for line in caplog.records)
    await until(lambda: problems(store) == "")


async def test_put_is_not_superseded_by_an_old_grant(store: FileStore, harness: FileHarness) -> None:
    await put(store)
    async with store.lock(ALICE, 1.0) as lock:
        harness.path(ALICE).write_text(json.dumps({**document(record()), "priority": 7}))
        made = await store.put(lock, tokens(3), entry(store).generation, harness.clock.now())
    assert made.record.tokens.refresh_token == Secret("fake-refresh-3")
    assert harness.plain(harness.path(ALICE))["priority"] == 7


async def test_putting_back_is_repeated_until_storage_allows_it(harness: FileHarness) -> None:
    harness.write(record())
    harness.rescan_seconds = 0.05
    store = await harness.open()
    await put(store)
    harness.faulty.failing = {"write"}
    harness.write(record())
    await until(lambda: "holds an older state than we do: cannot write" in problems(store))
    assert entry(store).record.tokens.refresh_token == Secret("fake-refresh-2")
    harness.faulty.failing = set()
    await until(lambda: problems(store) == "")
    assert harness.plain(harness.path(ALICE))["refresh_token"] == "fake-refresh-2"
    await store.close()


async def test_a_grant_of_somebody_elses_is_never_taken_for_an_old_one(store: FileStore, harness: FileHarness) -> None:
    await put(store)
    changes = Changes(store)
    harness.write(record(n=5))
    await changes.until(grant_is(5))
    await put(store, 6)
    assert harness.plain(harness.path(ALICE))["refresh_token"] == "fake-refresh-6"


# --- logins ---


async def test_a_login_merges_into_the_file_of_its_identity(store: FileStore, harness: FileHarness) -> None:
    path = harness.path(ALICE)
    path.write_text(json.dumps({**harness.plain(path), "priority": 7, "project_id": "p"}))
    await store._follower.take(store._shelf.place_of(ALICE))  # type: ignore[arg-type]
    made = await store.add(
        record(AccountId("fake", "ALICE@example.com"), 2, facts={"project_id": "p"}), CLIENT, harness.clock.now()
    )
    assert made.account == ALICE
    stored = harness.plain(path)
    assert (stored["priority"], stored["refresh_token"], stored["project_id"]) == (7, "fake-refresh-2", "p")
    assert [file.name for file in harness.auth.glob("*.json")] == [path.name]


async def test_a_new_login_never_takes_the_name_of_another_file(harness: FileHarness) -> None:
    store = await harness.open()
    foreign, hidden = harness.path(ALICE), harness.path(ALICE, paused=True).with_name("fake-alice@example.com-2.json")
    foreign.write_text('{"type": "strange"}')
    hidden.symlink_to("nothing")
    made = await store.add(record(), CLIENT, harness.clock.now())
    assert made.file == "fake-alice@example.com-3.json"
    assert foreign.read_text() == '{"type": "strange"}'
    assert stat.S_IMODE((harness.auth / made.file).stat().st_mode) == 0o600
    await store.close()


async def test_a_name_taken_at_the_last_moment_is_left_alone(harness: FileHarness) -> None:
    store = await harness.open()
    harness.faulty.before["rename_new"] = lambda: harness.path(ALICE).write_text("{}") and None
    made = await store.add(record(), CLIENT, harness.clock.now())
    assert made.file == "fake-alice@example.com-2.json"
    assert harness.path(ALICE).read_text() == "{}"
    await store.close()


async def test_pausing_never_overwrites(store: FileStore, harness: FileHarness) -> None:
    harness.path(ALICE, paused=True).write_text('{"type": "strange"}')
    with pytest.raises(StorageError, match="already has a file"):
        await store.set_paused(ALICE, True)
    assert not entry(store).paused
    assert harness.path(ALICE, paused=True).read_text() == '{"type": "strange"}'


# --- the private folder ---


async def test_folders_are_private_and_modes_are_mended(harness: FileHarness) -> None:
    harness.auth.chmod(0o755)
    harness.write(record())
    harness.path(ALICE).chmod(0o644)
    store = await harness.open()
    private = harness.auth / ".ccs-broker"
    for folder in (harness.auth, harness.paused, private, private / "locks", private / "journal"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(harness.path(ALICE).stat().st_mode) == 0o600
    assert store.health().protections == {
        "private-folders": True,
        "change-notification": True,
        "foreign-writes-kept": True,
        "sealed-files": False,
    }
    await store.close()


async def test_missing_folders_are_made(tmp_path: Path) -> None:
    harness = FileHarness(tmp_path)
    harness.auth.rmdir()
    harness.paused.rmdir()
    store = await harness.open()
    await store.add(record(), CLIENT, harness.clock.now())
    assert problems(store) == ""
    await store.close()


async def test_a_directory_that_cannot_be_is_reported_and_heals(harness: FileHarness) -> None:
    harness.auth.rmdir()
    harness.auth.write_bytes(b"")
    store = await harness.open()
    assert "ENOTDIR" in problems(store) or "EEXIST" in problems(store)
    assert not store.health().protections["private-folders"]
    with pytest.raises(StorageError):
        await store.add(record(), CLIENT, harness.clock.now())
    await store.close()


async def test_another_daemon_is_told_and_not_fatal(harness: FileHarness) -> None:
    harness.write(record())
    harness.rescan_seconds = 0.05
    first, second = harness.make(role="daemon"), harness.make(role="daemon")
    await first.open()
    await second.open()
    assert problems(first) == ""
    assert f"another daemon (pid {os.getpid()}, daemon)" in problems(second)
    assert second.get(ALICE) is not None
    await first.close()
    await until(lambda: problems(second) == "")  # each rescan asks for the directory again
    await second.close()


async def test_a_lock_held_elsewhere_names_its_holder(store: FileStore, harness: FileHarness) -> None:
    path = harness.auth / ".ccs-broker" / "locks" / "fake-alice@example.com.json.lock"
    fd = try_lock(path, "somebody")
    assert fd is not None
    with pytest.raises(LockTimeoutError, match=f"pid {os.getpid()}, somebody"):
        async with store.lock(ALICE, 0.0):
            raise AssertionError
    os.close(fd)


async def test_waiting_for_a_lock_can_be_cancelled(store: FileStore, harness: FileHarness) -> None:
    async with store.lock(ALICE, 1.0):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), store.lock(ALICE, 60.0):
                raise AssertionError
    async with store.lock(ALICE, 1.0):
        pass


async def test_very_long_names_work(harness: FileHarness) -> None:
    name = "x" * 250 + ".json"
    (harness.auth / name).write_text(json.dumps(document(record())))
    store = await harness.open()
    async with store.lock(ALICE, 1.0) as lock:
        await store.begin_rotation(lock, entry(store), harness.clock.now())
        assert list(store.pending_accounts()) == [ALICE]
        made = await store.put(lock, tokens(2), entry(store).generation, harness.clock.now())
        await store.clear_rotation(lock)
    assert made.file == name
    await store.close()


# --- journal ---


async def test_a_damaged_record_counts_as_sent_and_unanswered(store: FileStore, harness: FileHarness) -> None:
    path = harness.auth / ".ccs-broker" / "journal" / "fake-alice@example.com.json.rotation"
    path.write_bytes(b"\0" * 100)
    os.utime(path, (START_WALL, START_WALL))
    async with store.lock(ALICE, 1.0) as lock:
        pending = await store.pending_rotation(lock)
        assert pending is not None
        assert (pending.digest, pending.answer) == (entry(store).record.tokens.refresh_digest(), None)
        assert pending.since == START_WALL
        await store.clear_rotation(lock)
        assert await store.pending_rotation(lock) is None


async def test_an_answer_is_one_write_on_the_callers_thread(store: FileStore, harness: FileHarness) -> None:
    async with store.lock(ALICE, 1.0) as lock:
        rotation = await store.begin_rotation(lock, entry(store), harness.clock.now())
        harness.faulty.log.clear()
        rotation.record_answer(HttpResponse(200, {}, b"x" * 100_000))
        assert harness.faulty.log == ["write"]
        await rotation.sync()
        assert harness.faulty.log == ["write", "fsync"]
        await rotation.clear()
    with pytest.raises(StorageError, match="no longer held"):
        rotation.record_answer(HttpResponse(200))


async def test_a_rotation_needs_something_to_spend(harness: FileHarness) -> None:
    harness.write(record(tokens=replace(tokens(1), refresh_token=None)))
    store = await harness.open()
    async with store.lock(ALICE, 1.0) as lock:
        with pytest.raises(ValueError, match="no refresh token"):
            await store.begin_rotation(lock, entry(store), harness.clock.now())
    await store.close()


@pytest.mark.parametrize("call", ["open", "write", "allocate", "fsync", "replace"])
async def test_no_rotation_begins_where_any_step_of_it_fails(store: FileStore, harness: FileHarness, call: str) -> None:
    async with store.lock(ALICE, 1.0) as lock:
        harness.faulty.failing = {call}
        with pytest.raises(StorageError, match="ENOSPC"):
            await store.begin_rotation(lock, entry(store), harness.clock.now())
        assert "no login is renewed" in problems(store)
        harness.faulty.failing = set()
        await store.begin_rotation(lock, entry(store), harness.clock.now())
        assert problems(store) == ""
    assert [path.name for path in harness.auth.iterdir()].count(".ccs-broker") == 1
    assert sorted(path.name for path in harness.auth.iterdir()) == [".ccs-broker", "fake-alice@example.com.json"]


async def test_a_linked_file_is_proven_where_it_really_lies(harness: FileHarness) -> None:
    harness.write(record())
    real = harness.root / "elsewhere" / "real.json"
    real.parent.mkdir()
    harness.path(ALICE).rename(real)
    harness.path(ALICE).symlink_to(real)
    store = await harness.open()
    async with store.lock(ALICE, 1.0) as lock:
        await store.begin_rotation(lock, entry(store), harness.clock.now())
        await store.put(lock, tokens(2), entry(store).generation, harness.clock.now())
    assert harness.path(ALICE).is_symlink()
    assert harness.plain(real)["refresh_token"] == "fake-refresh-2"
    await store.close()


# --- state ---


async def test_a_lost_state_database_never_lowers_a_generation(harness: FileHarness) -> None:
    harness.write(record())
    store = await harness.open()
    before = entry(store).generation
    await store.close()
    for path in (harness.root / "state").iterdir():
        path.write_bytes(b"\xff" * 5000)
    harness.clock.advance(60.0)
    store = await harness.open()
    assert entry(store).generation > before
    assert "begun anew" in problems(store)
    await store.close()


async def test_state_that_cannot_be_written_stops_nothing(harness: FileHarness) -> None:
    (harness.root / "state").write_bytes(b"")
    harness.write(record())
    store = await harness.open()
    assert "state database" in problems(store)
    made = await put(store)
    assert made.record.tokens.access_token == Secret("fake-access-2")
    (harness.root / "state").unlink()
    await store._housekeeping()
    assert problems(store) == ""
    await store.close()
    store = await harness.open()
    assert entry(store).generation == made.generation
    await store.close()


# --- names ---


async def rename(store: FileStore, label: str, account: AccountId = ALICE) -> Entry:
    async with store.lock(account, 1.0) as lock:
        return await store.rename(lock, label)


async def test_a_rename_changes_the_label_in_the_file_and_nothing_else(store: FileStore, harness: FileHarness) -> None:
    path = harness.path(ALICE)
    text = path.read_text()
    renamed = await rename(store, "work")
    assert renamed.file == path.name
    assert path.read_text() == text.removesuffix("}") + ', "label": "work"}'


async def test_a_new_name_may_be_the_beginning_of_the_old_one(harness: FileHarness) -> None:
    harness.write(record())
    store = await harness.open()
    work = AccountId("fake", "work")
    await rename(store, "work:project")
    assert (await rename(store, "work", AccountId("fake", "work:project"))).account == work
    await store.close()
    store = await harness.open()
    assert list(store.entries()) == [work]
    await store.close()


async def test_a_login_in_several_files_is_not_renamed(store: FileStore, harness: FileHarness) -> None:
    (harness.auth / "copy.json").write_text(json.dumps(document(record(n=2))))
    await until(lambda: "older grant" in problems(store))
    with pytest.raises(BrokerError, match=r"is in 2 files: copy\.json, fake-alice@example\.com\.json"):
        await rename(store, "work")


async def test_a_format_without_labels_says_so(
    store: FileStore, harness: FileHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FakeProvider.read
    monkeypatch.setattr(FakeProvider, "read", lambda self, told, name: read(self, {**told, "label": None}, name))
    before = harness.path(ALICE).read_bytes()
    with pytest.raises(BrokerError) as caught:
        await rename(store, "work")
    assert caught.value.code is ErrorCode.UNSUPPORTED
    assert harness.path(ALICE).read_bytes() == before


async def test_an_old_grant_is_recognised_under_the_new_name(store: FileStore, harness: FileHarness) -> None:
    """A program that wrote back what we replaced before the rename is still put right."""
    before = harness.path(ALICE).read_bytes()
    await put(store)
    await rename(store, "work")
    harness.path(ALICE).write_bytes(before)
    path = harness.path(ALICE)
    await until(lambda: json.loads(path.read_text() or "{}").get("refresh_token") == "fake-refresh-2")


async def test_a_choice_that_may_be_forgotten_is_told(store: FileStore, harness: FileHarness) -> None:
    state = harness.root / "state"
    await store._state._call(store._state._close)
    (state / "state.db").unlink()
    (state / "state.db").mkdir()
    with pytest.raises(StorageError, match="chosen, but perhaps not after a restart"):
        await store.set_default(ALICE)
    assert store.default_of("fake") == ALICE
