"""The store with a dictionary for a disk: same contract as the file store, for tests of what stands above it.

`MemoryDisk` is what survives: make a second `MemoryStore` on it for a second process, or after `crash()` for the next one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from broker.model.account import AccountId, Generation, NeedsLogin, Record, Tokens
from broker.model.clock import Clock, Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Digest
from broker.oauth.messages import HttpResponse
from broker.providers.base import Client
from broker.store.base import (
    OWN,
    Change,
    Entry,
    Gone,
    Lock,
    LockTimeoutError,
    Origin,
    PendingRotation,
    StorageError,
    StoreHealth,
    SupersededError,
    Updated,
)
from broker.store.link import Link
from broker.store.table import fingerprint, same_login


@dataclass(frozen=True)
class MemoryFile:
    """An auth file."""

    record: Record
    client: Client | None = None
    paused: bool = False
    link: Link | None = None


@dataclass
class _Remembered:
    generation: Generation
    fingerprint: str
    digest: Digest | None
    terminal: NeedsLogin | None = None


@dataclass
class MemoryDisk:
    """What outlives a process. `failing` names operations that refuse with ENOSPC: begin, answer, sync, clear, put, add, remove,
    pause, rename, default, lock; `put-unproven` and `present-unproven` write and then fail, as when the fsync after it does.
    """

    files: dict[AccountId, MemoryFile] = field(default_factory=dict)
    journal: dict[AccountId, PendingRotation] = field(default_factory=dict)
    unsynced: set[AccountId] = field(default_factory=set)
    remembered: dict[AccountId, _Remembered] = field(default_factory=dict)
    defaults: dict[str, AccountId] = field(default_factory=dict)
    locks: dict[AccountId, object] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    def operate(self, name: str, account: AccountId) -> None:
        """Log an operation; raise if it is to fail."""
        self.log.append(f"{name} {account}")
        if name in self.failing:
            raise StorageError(f"cannot {name}: ENOSPC", account=str(account))

    def write(self, record: Record, client: Client | None = None, *, paused: bool = False) -> None:
        """Write a file as another program does; stores see it by `reread` or `notice`."""
        self.files[record.account] = MemoryFile(record, client, paused)


@dataclass
class _Held:
    account: AccountId
    live: bool = True


class MemoryStore:
    """Implements `broker.store.base.Store`."""

    def __init__(self, disk: MemoryDisk, clock: Clock, *, role: str = "memory") -> None:
        self.disk = disk
        self._clock = clock
        self._role = role
        self._entries: dict[AccountId, Entry] = {}
        self._digests: dict[AccountId, dict[Generation, Digest | None]] = {}
        self._listeners: list[Callable[[Change], None]] = []
        self._held: list[_Held] = []
        self._dead = False

    # --- life ---

    async def open(self) -> None:
        self.notice()

    async def close(self) -> None:
        self._check_alive()

    def crash(self, *, power_cut: bool = False) -> None:
        """End the process here: locks fall, memory is gone, whoever still holds this store gets RuntimeError.

        What was written stays, also unsynced, unless the power went too.
        """
        self._dead = True
        for held in self._held:
            held.live = False
            self.disk.locks.pop(held.account, None)
        for account in self.disk.unsynced if power_cut else ():
            self.disk.journal[account] = replace(self.disk.journal[account], answer=None)
        self.disk.unsynced.clear()
        self._entries.clear()

    def notice(self) -> None:
        """See what other programs did, as a file watcher would."""
        self._check_alive()
        for account in {*self.disk.files, *self._entries}:
            self._load(account)

    # --- reading ---

    def entries(self) -> Mapping[AccountId, Entry]:
        return dict(sorted(self._entries.items()))

    def get(self, account: AccountId) -> Entry | None:
        return self._entries.get(account)

    def default_of(self, provider: str) -> AccountId | None:
        entries = [entry for account, entry in self.entries().items() if account.provider == provider]
        chosen = self.disk.defaults.get(provider)
        if chosen in self._entries:
            return chosen
        usable = (e for e in entries if not (e.paused or e.record.disabled or e.terminal))
        best = next(usable, entries[0] if entries else None)
        return best.account if best else None

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def health(self) -> StoreHealth:
        return StoreHealth(tuple(f"{name} fails" for name in sorted(self.disk.failing)), {"memory": True})

    # --- locking ---

    @contextlib.asynccontextmanager
    async def lock(self, account: AccountId, wait: float) -> AsyncIterator[Lock]:
        self._check_alive()
        if account not in self._entries:
            raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, f"there is no account {account}", account=str(account))
        self.disk.operate("lock", account)
        until = self._clock.now().boot + wait
        while account in self.disk.locks:
            if self._clock.now().boot >= until:
                raise LockTimeoutError(account, self._role)
            await self._clock.sleep(0.01)
            self._check_alive()
        held = _Held(account)
        self.disk.locks[account] = held
        self._held.append(held)
        try:
            yield held
        finally:
            held.live = False
            self._held.remove(held)
            if self.disk.locks.get(held.account) is held:
                del self.disk.locks[held.account]

    async def reread(self, lock: Lock) -> Entry | None:
        account = self._covered(lock)
        await asyncio.sleep(0)
        self._load(account)
        return self._entries.get(account)

    # --- journal ---

    async def begin_rotation(self, lock: Lock, entry: Entry, now: Now) -> "MemoryRotation":
        account = self._covered(lock)
        await asyncio.sleep(0)
        self.disk.operate("begin", account)
        pending = self.disk.journal.get(account)
        if pending is not None and pending.answer is not None:
            raise StorageError("the journal holds an answer that is not put away yet", account=str(account))
        digest = entry.record.tokens.refresh_digest()
        if digest is None:
            raise ValueError("there is no refresh token to spend")
        self.disk.journal[account] = PendingRotation(digest, entry.generation, now.wall, presented=False)
        return MemoryRotation(self, lock)

    async def pending_rotation(self, lock: Lock) -> PendingRotation | None:
        account = self._covered(lock)
        await asyncio.sleep(0)
        return self.disk.journal.get(account)

    async def clear_rotation(self, lock: Lock) -> None:
        account = self._covered(lock)
        await asyncio.sleep(0)
        self.disk.operate("clear", account)
        self.disk.unsynced.discard(account)
        self.disk.journal.pop(account, None)

    def pending_accounts(self) -> Sequence[AccountId]:
        return sorted(self.disk.journal)

    # --- writing ---

    async def put(self, lock: Lock, tokens: Tokens, expected: Generation, now: Now) -> Entry:
        account = self._covered(lock)
        await asyncio.sleep(0)
        file = self.disk.files.get(account)
        if file is None:
            raise SupersededError(account)
        current = file.record.tokens
        kept = replace(tokens, last_refresh=now.wall, refresh_token=tokens.refresh_token or current.refresh_token)
        if _grant(current) != _grant(kept) and current.refresh_digest() != self._digest_of(account, expected):
            raise SupersededError(account)
        self.disk.operate("put", account)
        spent = current.refresh_digest()
        link = file.link
        if link and spent and spent != kept.refresh_digest():
            link = replace(
                link, spent=(*(one for one in link.spent if one not in (spent, kept.refresh_digest())), spent)
            )
        self.disk.files[account] = replace(file, record=replace(file.record, tokens=kept), link=link)
        self.disk.operate("put-unproven", account)
        return self._loaded(account, raised=True)

    async def mark_terminal(self, lock: Lock, verdict: NeedsLogin | None) -> Entry:
        account = self._covered(lock)
        await asyncio.sleep(0)
        entry = self._entries[account]
        if entry.terminal == verdict:
            return entry
        self.disk.remembered[account].terminal = verdict
        return self._loaded(account)

    async def add(self, record: Record, client: Client, now: Now, origin: Origin = OWN) -> Entry:
        self._check_alive()
        await asyncio.sleep(0)
        account = next(
            (a for a, f in self.disk.files.items() if same_login(f.record, replace(record, account=a))), record.account
        )
        self.disk.operate("add", account)
        file = self.disk.files.get(account)
        made = replace(record, account=account, tokens=replace(record.tokens, last_refresh=now.wall))
        link = origin.link or (file.link if file else None)
        self.disk.files[account] = MemoryFile(made, client, file.paused if file else False, link)
        return self._loaded(account)

    async def set_link(self, lock: Lock, link: Link | None) -> Entry:
        account = self._covered(lock)
        await asyncio.sleep(0)
        self.disk.operate("put", account)
        self.disk.files[account] = replace(self.disk.files[account], link=link)
        return self._loaded(account)

    async def remove(self, account: AccountId) -> None:
        self._known(account)
        await asyncio.sleep(0)
        self.disk.operate("remove", account)
        self.disk.files.pop(account, None)
        self.disk.journal.pop(account, None)
        if self.disk.defaults.get(account.provider) == account:
            del self.disk.defaults[account.provider]
        self._load(account)

    async def set_paused(self, account: AccountId, paused: bool) -> Entry:
        self._known(account)
        await asyncio.sleep(0)
        self.disk.operate("pause", account)
        self.disk.files[account] = replace(self.disk.files[account], paused=paused)
        return self._loaded(account)

    async def rename(self, lock: Lock, label: str) -> Entry:
        old = self._covered(lock)
        wanted = AccountId(old.provider, label)
        if wanted == old:
            return self._entries[old]
        if any(each != old and str(each).casefold() == str(wanted).casefold() for each in self._entries):
            raise BrokerError(ErrorCode.BAD_REQUEST, f"there is an account {wanted} already", account=str(old))
        await asyncio.sleep(0)
        self.disk.operate("rename", old)
        file = self.disk.files.pop(old)
        self.disk.files[wanted] = replace(file, record=replace(file.record, account=wanted))
        known, former = self.disk.remembered[old], self.disk.remembered.get(wanted)
        generation = Generation(max(known.generation, former.generation if former else 0))
        self.disk.remembered[wanted] = replace(known, generation=generation)
        for table in (self.disk.journal, self._digests, self.disk.locks):
            if old in table:
                table[wanted] = table.pop(old)
        if self.disk.defaults.get(old.provider) == old:
            self.disk.defaults[old.provider] = wanted
        assert isinstance(lock, _Held)
        lock.account = wanted
        self._load(old)
        return self._loaded(wanted, raised=True)

    async def set_default(self, account: AccountId) -> None:
        self._known(account)
        await asyncio.sleep(0)
        self.disk.operate("default", account)
        self.disk.defaults[account.provider] = account

    # --- inside ---

    def _check_alive(self) -> None:
        if self._dead:
            raise RuntimeError("this store has crashed")

    def _known(self, account: AccountId) -> None:
        self._check_alive()
        if account not in self._entries:
            raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, f"there is no account {account}", account=str(account))

    def _covered(self, lock: Lock) -> AccountId:
        self._check_alive()
        if not isinstance(lock, _Held) or not lock.live:
            raise RuntimeError("the lock is not held")
        return lock.account

    def _digest_of(self, account: AccountId, generation: Generation) -> Digest | None:
        known = self._digests.get(account, {})
        pending = self.disk.journal.get(account)
        if generation not in known and pending is not None and pending.generation == generation:
            return pending.digest
        if generation not in known:
            raise SupersededError(account)
        return known[generation]

    def _loaded(self, account: AccountId, *, raised: bool = False) -> Entry:
        entry = self._load(account, raised=raised)
        if entry is None:
            raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, f"there is no account {account}", account=str(account))
        return entry

    def _load(self, account: AccountId, *, raised: bool = False) -> Entry | None:
        file = self.disk.files.get(account)
        before = self._entries.get(account)
        if file is None:
            if self._entries.pop(account, None) is not None:
                self._publish(Gone(account))
            return None
        entry = self._entry(file, raised=raised)
        self._entries[account] = entry
        self._digests.setdefault(account, {})[entry.generation] = entry.record.tokens.refresh_digest()
        if before != entry:
            self._publish(Updated(entry))
        return entry

    def _entry(self, file: MemoryFile, *, raised: bool) -> Entry:
        account = file.record.account
        digest = file.record.tokens.refresh_digest()
        known = self.disk.remembered.get(account)
        terminal = known.terminal if known and known.terminal and known.terminal.digest == digest else None
        print_ = fingerprint(file.record, file.client, paused=file.paused, terminal=terminal)
        if known is None:
            known = _Remembered(Generation(1), print_, digest)
        elif raised or known.fingerprint != print_:
            known = _Remembered(Generation(known.generation + 1), print_, digest, terminal)
        self.disk.remembered[account] = known
        return Entry(
            file.record, known.generation, f"{account.label}.json", file.client, file.paused, terminal, file.link
        )

    def _publish(self, change: Change) -> None:
        loop = asyncio.get_running_loop()
        for listener in tuple(self._listeners):
            loop.call_soon(self._tell, listener, change)

    def _tell(self, listener: Callable[[Change], None], change: Change) -> None:
        if listener in self._listeners:
            listener(change)


class MemoryRotation:
    """Implements `broker.store.base.Rotation`."""

    def __init__(self, store: MemoryStore, lock: Lock) -> None:
        self._store = store
        self._lock = lock

    async def present(self) -> None:
        account = self._store._covered(self._lock)
        await asyncio.sleep(0)
        self._store.disk.operate("present", account)
        self._store.disk.journal[account] = replace(self._store.disk.journal[account], presented=True)
        self._store.disk.operate("present-unproven", account)

    def record_answer(self, answer: HttpResponse) -> None:
        account = self._store._covered(self._lock)
        self._store.disk.operate("answer", account)
        pending = self._store.disk.journal[account]
        self._store.disk.journal[account] = replace(pending, answer=answer)
        self._store.disk.unsynced.add(account)

    async def sync(self) -> None:
        account = self._store._covered(self._lock)
        await asyncio.sleep(0)
        self._store.disk.operate("sync", account)
        self._store.disk.unsynced.discard(account)

    async def clear(self) -> None:
        await self._store.clear_rotation(self._lock)


def _grant(tokens: Tokens) -> tuple[object, object]:
    return tokens.access_token, tokens.refresh_token
