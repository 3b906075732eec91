"""An engine on a fake clock, a dictionary for a disk and a strict token endpoint."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from broker.config import RefreshConfig
from broker.model.account import AccountId, Record, Tokens
from broker.model.secret import Secret
from broker.providers.base import Client, Provider, RefreshPolicy
from broker.refresh.engine import Engine
from broker.refresh.turns import GroupLocks
from broker.store.emergency import EmergencyCopies
from tests.fakes.clock import FakeChance, FakeClock, settle
from tests.fakes.memory_store import MemoryDisk, MemoryStore
from tests.fakes.provider import FakeProvider, FakeRegistry
from tests.fakes.token_endpoint import TokenEndpoint

ALICE = AccountId("fake", "alice@example.com")


class Clients:
    """Implements `ClientFinder` for public clients; remembers what it was told to forget."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    async def find(self, provider: Provider, carried: Client | None) -> Client:
        return carried or Client(provider.client_id)

    async def resolve(self, provider: Provider) -> Provider:
        return provider

    def forget(self, provider: str) -> None:
        self.forgotten.append(provider)


@dataclass
class World:
    clock: FakeClock = field(default_factory=FakeClock)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    server: TokenEndpoint = field(default_factory=TokenEndpoint)
    policy: RefreshPolicy = field(default_factory=RefreshPolicy)
    config: RefreshConfig = field(default_factory=RefreshConfig)
    clients: Clients = field(default_factory=Clients)
    copies: EmergencyCopies | None = None
    groups: GroupLocks | None = None
    prepare: Callable[[], Awaitable[bool]] | None = None
    provider: type[FakeProvider] = FakeProvider

    def write(
        self, left: float | None = 3600, *, account: AccountId = ALICE, refresh: str | None = "fake-refresh-1", access: str | None = "fake-access-1",
        paused: bool = False, disabled: bool = False,
    ) -> None:  # fmt: skip
        """Put an auth file on the disk whose token has `left` seconds."""
        tokens = Tokens(
            Secret(access) if access else None,
            Secret(refresh) if refresh else None,
            expires_at=None if left is None else self.clock.wall + left,
        )
        self.disk.write(Record(account, tokens, disabled=disabled), paused=paused)

    async def boot(self) -> tuple[MemoryStore, Engine]:
        """Start a process on the disk."""
        store = MemoryStore(self.disk, self.clock)
        await store.open()
        registry = FakeRegistry(self.provider(policy=self.policy))
        engine = Engine(
            store,
            registry,
            self.server,
            self.clients,
            self.clock,
            FakeChance(0.0),
            self.config,
            self.copies,
            self.groups,
            self.prepare,
        )
        await engine.start()
        await settle()
        return store, engine

    def stored(self, account: AccountId = ALICE) -> Tokens:
        return self.disk.files[account].record.tokens


def shown(secret: Secret | None) -> str:
    assert secret is not None
    return secret.reveal()
