"""A store that shares logins passes the same suite as the one inside it."""

import pytest

from broker.login.adopt import read_login
from broker.providers.native.table import FORMATS
from broker.store.base import Store
from broker.store.linked import LinkedStore
from tests.contract.store_contract import Harness, StoreContract
from tests.fakes.clock import FakeChance
from tests.fakes.memory_store import MemoryStore
from tests.store.test_memory_contract import MemoryHarness


class LinkedHarness(MemoryHarness):
    async def open(self) -> Store:
        store = LinkedStore(MemoryStore(self.disk, self.clock), FORMATS, read_login, self.clock, FakeChance())
        await store.open()
        return store

    async def crash(self, store: Store) -> None:
        assert isinstance(store, LinkedStore)
        await super().crash(store._inner)

    def notice(self, store: Store) -> None:
        assert isinstance(store, LinkedStore)
        super().notice(store._inner)


@pytest.fixture
def harness() -> Harness:
    return LinkedHarness()


class TestLinkedStore(StoreContract):
    pass
