"""The memory store of the tests passes the same suite as the file store."""

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.store.base import Store
from tests.contract.store_contract import Harness, StoreContract
from tests.fakes.clock import LiveClock
from tests.fakes.memory_store import MemoryDisk, MemoryStore


class MemoryHarness:
    def __init__(self) -> None:
        self.clock = LiveClock()
        self.disk = MemoryDisk()

    async def open(self) -> Store:
        store = MemoryStore(self.disk, self.clock)
        await store.open()
        return store

    async def close(self, store: Store) -> None:
        await store.close()

    async def crash(self, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        store.crash()

    def write(self, told: Record, *, paused: bool = False) -> None:
        self.disk.write(told, paused=paused)

    def delete(self, account: AccountId) -> None:
        del self.disk.files[account]

    def stored(self, account: AccountId) -> Tokens | None:
        file = self.disk.files.get(account)
        return file.record.tokens if file else None

    def fail(self, failing: bool) -> None:
        self.disk.failing = (
            {"begin", "answer", "sync", "clear", "put", "add", "remove", "pause", "rename"} if failing else set()
        )

    def notice(self, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        store.notice()


@pytest.fixture
def harness() -> Harness:
    return MemoryHarness()


class TestMemoryStore(StoreContract):
    pass
