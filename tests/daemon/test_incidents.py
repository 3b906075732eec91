"""Once per incident, across restarts, on the real engine and a clock that moves when told."""

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from broker.config import NotifyConfig, RefreshConfig
from broker.daemon.accounts import Accounts
from broker.daemon.cooldowns import Cooldowns
from broker.daemon.incidents import FILE_NAME, Incidents
from broker.daemon.notices import Notices
from broker.model.account import AccountId, StateName
from broker.providers.registry import Registry
from broker.refresh.engine import Engine
from broker.refresh.incidents import LASTING_SECONDS, Incident
from broker.store.files import Disk, Os
from tests.fakes.clock import settle
from tests.fakes.memory_store import MemoryStore
from tests.refresh.harness import ALICE, World

BOB = AccountId("fake", "bob@example.com")


class Recorder(Notices):
    def __init__(self) -> None:
        super().__init__(NotifyConfig(desktop=False), {})
        self.told: list[Incident] = []

    async def tell(self, incident: Incident) -> None:
        self.told.append(incident)

    @property
    def kinds(self) -> list[StateName]:
        return [each.told.kind for each in self.told]


@dataclass
class Watch:
    """A daemon's life: store, engine and incidents on one disk."""

    world: World
    folder: Path
    recorder: Recorder = field(default_factory=Recorder)
    calls: Os = field(default_factory=Os)

    async def begin(self) -> None:
        self.store: MemoryStore
        self.engine: Engine
        self.store, self.engine = await self.world.boot()
        accounts = Accounts(self.store, self.engine, Registry({}), Cooldowns(), self.world.clock)
        self.incidents = Incidents(accounts, self.recorder, Disk(lambda: "n", self.calls), self.folder)
        self.incidents.start()
        await settle()

    async def end(self) -> None:
        """Stop; everything that was to be told is told."""
        await self.engine.stop()
        await self.incidents.stop(5)
        self.store.crash()

    async def restart(self) -> None:
        await self.end()
        await self.begin()


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(World(), tmp_path)


async def test_a_dead_login_is_told_once_whatever_follows(watch: Watch) -> None:
    watch.world.server.dead = True
    watch.world.write(200)
    await watch.begin()
    for _ in range(3):
        await watch.world.clock.run(4000)
        await watch.restart()
    await watch.end()
    (incident,) = watch.recorder.told
    assert incident.account == ALICE
    assert incident.told.kind is StateName.NEEDS_LOGIN
    assert "revoked" in incident.reason
    assert incident.hint == "Run: ccs-broker login fake"


async def test_a_login_ends_the_incident_and_the_next_is_told(watch: Watch) -> None:
    watch.world.server.dead = True
    watch.world.write(200)
    await watch.begin()
    watch.world.server.dead, watch.world.server.current = False, "fake-refresh-new"
    watch.world.write(3600, refresh="fake-refresh-new", access="fake-access-new")
    watch.store.notice()
    await settle()
    await watch.restart()
    assert json.loads((watch.folder / FILE_NAME).read_text()) == {}
    watch.world.server.dead = True
    await watch.world.clock.run(3600)
    await watch.end()
    assert watch.recorder.kinds == [StateName.NEEDS_LOGIN] * 2


async def test_a_dead_login_is_told_again_after_it_vanished_and_came_back(watch: Watch) -> None:
    watch.world.server.dead = True
    watch.world.write(200)
    await watch.begin()
    kept = watch.world.disk.files.pop(ALICE)
    watch.store.notice()
    await settle()
    watch.world.disk.files[ALICE] = kept
    watch.store.notice()
    await settle()
    await watch.end()
    assert watch.recorder.kinds == [StateName.NEEDS_LOGIN] * 2


async def test_a_grant_that_cannot_be_saved_is_told_once_and_its_end_noted(watch: Watch) -> None:
    watch.world.write(200)
    watch.world.disk.failing = {"put"}
    await watch.begin()
    await watch.world.clock.run(60)
    watch.world.disk.failing = set()
    await watch.world.clock.run(60)
    await watch.end()
    assert watch.recorder.kinds == [StateName.UNSAVED]
    assert json.loads((watch.folder / FILE_NAME).read_text()) == {}


async def test_a_lost_answer_is_told_only_when_it_lasts(watch: Watch) -> None:
    watch.world.server.faults = ["lost"]
    watch.world.write(290)
    await watch.begin()
    await watch.world.clock.run(LASTING_SECONDS - 10)
    assert watch.recorder.told == []
    await watch.world.clock.run(20)
    await watch.end()
    assert watch.recorder.kinds == [StateName.AMBIGUOUS]


async def test_a_lost_answer_that_mends_in_time_is_never_told(watch: Watch) -> None:
    watch.world.server.faults = ["lost"]
    watch.world.write(100)
    await watch.begin()
    await watch.world.clock.run(400)
    await watch.end()
    assert watch.recorder.told == []


async def test_each_account_has_its_own_incident(watch: Watch) -> None:
    watch.world.config = RefreshConfig(ahead=True)
    watch.world.server.dead = True
    watch.world.write(200)
    watch.world.write(200, account=BOB, refresh="fake-refresh-bob")
    await watch.begin()
    await watch.world.clock.run(5)
    await watch.end()
    assert {each.account for each in watch.recorder.told} == {ALICE, BOB}


async def test_the_note_is_private_and_holds_fingerprints_only(watch: Watch) -> None:
    watch.world.server.dead = True
    watch.world.write(200)
    await watch.begin()
    await watch.end()
    path = watch.folder / FILE_NAME
    digest = watch.world.stored().refresh_digest()
    assert digest is not None
    assert json.loads(path.read_text()) == {str(ALICE): {"state": "needs_login", "key": digest.text}}
    assert path.stat().st_mode & 0o777 == 0o600


async def test_where_nothing_can_be_noted_it_is_told_all_the_same(watch: Watch) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, os.strerror(28))

    watch.calls = replace(watch.calls, write=full)
    watch.world.server.dead = True
    watch.world.write(200)
    await watch.begin()
    await watch.end()
    assert watch.recorder.kinds == [StateName.NEEDS_LOGIN]
    assert list(watch.folder.iterdir()) == []


@pytest.mark.parametrize("text", [b"", b"{", b'{"x": 1}', b'{"no-slash": {"state": "unsaved", "key": ""}}', b"\xff"])
async def test_a_damaged_note_is_as_none(watch: Watch, text: bytes) -> None:
    (watch.folder / FILE_NAME).write_bytes(text)
    watch.world.server.dead = True
    watch.world.write(200)
    await watch.begin()
    await watch.end()
    assert watch.recorder.kinds == [StateName.NEEDS_LOGIN]
