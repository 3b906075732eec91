"""A file store on a temporary directory, with hands on the disk from outside."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from broker.model.account import AccountId, Record, Tokens
from broker.store.base import Store
from broker.store.files import Os
from broker.store.store import FileStore, Seal
from tests.fakes.clock import FakeChance, LiveClock
from tests.fakes.provider import FakeProvider, FakeRegistry


@dataclass
class FaultyOs:
    """System calls that fail with `error` while their name is in `failing`. Use `calls()` for a store."""

    failing: set[str] = field(default_factory=set)
    error: int = errno.ENOSPC
    log: list[str] = field(default_factory=list)
    before: dict[str, Callable[[], None]] = field(default_factory=dict)

    def calls(self) -> Os:
        real = Os()
        names = ("open", "write", "fsync", "replace", "exchange", "rename_new", "unlink", "mkdir", "fchmod", "allocate")
        wrapped = {name: self._wrapped(name, getattr(real, name)) for name in names}
        return replace(real, **wrapped)  # type: ignore[arg-type]  # all are callables

    def _wrapped(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            self.log.append(name)
            if (hook := self.before.pop(name, None)) is not None:
                hook()
            if name in self.failing:
                raise OSError(self.error, os.strerror(self.error))
            return real(*arguments)

        return call


class FileHarness:
    """Implements `tests.contract.store_contract.Harness` for the file store."""

    seal: Callable[[], Seal] | None = None

    def __init__(self, root: Path) -> None:
        self.clock = LiveClock()
        self.root = root
        self.auth = root / "auth"
        self.paused = root / "auth-paused"
        self.faulty = FaultyOs()
        self.seeds = 0
        self.rescan_seconds = 60.0
        for folder in (self.auth, self.paused):
            folder.mkdir(mode=0o700)

    def make(self, **changes: object) -> FileStore:
        self.seeds += 1
        chance = FakeChance(seed=str(self.seeds))
        settings: dict[str, object] = {
            "rescan_seconds": self.rescan_seconds,
            "calls": self.faulty.calls(),
            "role": "test",
        }
        if self.seal is not None:
            settings["seal"] = self.seal()
        settings |= changes
        registry = FakeRegistry()
        return FileStore([self.auth], registry, self.root / "state", self.clock, chance, **settings)  # type: ignore[arg-type]

    async def open(self) -> FileStore:
        store = self.make()
        await store.open()
        return store

    async def close(self, store: Store) -> None:
        await store.close()

    async def crash(self, store: Store) -> None:
        assert isinstance(store, FileStore)
        store._state.forget()
        await store.close()

    def write(self, told: Record, *, paused: bool = False) -> None:
        """As CLIProxyAPI writes: truncate, write, close."""
        other = self.path(told.account, not paused)
        other.unlink(missing_ok=True)
        path = self.path(told.account, paused)
        path.write_text(json.dumps(document(told)))
        path.chmod(0o600)

    def path(self, account: AccountId, paused: bool = False) -> Path:
        return (self.paused if paused else self.auth) / f"fake-{account.label}.json"

    def delete(self, account: AccountId) -> None:
        self.path(account).unlink()

    def stored(self, account: AccountId) -> Tokens | None:
        for paused in (False, True):
            path = self.path(account, paused)
            if path.exists():
                return FakeProvider().read(self.plain(path), path.name).tokens
        return None

    def plain(self, path: Path) -> dict[str, object]:
        """Return the document in a file."""
        made = json.loads(path.read_bytes())
        assert isinstance(made, dict)
        return made

    def fail(self, failing: bool) -> None:
        self.faulty.failing = {"write", "fsync"} if failing else set()

    def notice(self, store: Store) -> None:
        """The kernel tells it."""


def document(told: Record) -> dict[str, object]:
    """Return a record as the fake vendor's file has it."""
    tokens = told.tokens
    made: dict[str, object] = {"type": told.account.provider, "email": told.email, "disabled": told.disabled}
    made["access_token"] = tokens.access_token.reveal() if tokens.access_token else None
    made["refresh_token"] = tokens.refresh_token.reveal() if tokens.refresh_token else None
    made["expires_at"] = tokens.expires_at
    if tokens.last_refresh is not None:
        made["last_refresh"] = tokens.last_refresh
    if told.subject:
        made["sub"] = told.subject
    return {**made, **told.facts}
