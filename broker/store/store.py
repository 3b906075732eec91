"""The file store: the auth directories CCS and CLIProxyAPI share, behind the door of `broker.store.base`.

Owns: putting the parts together and the order of steps under a lock. The parts: `folders` (where), `files` (how), `codec`, `reading` and
`table` (what it means), `shelf` (what is true now), `follow`, `watch` and `restore` (what others do), `write`, `held`, `rotating`, `state`.
It must never serve from anything but memory, nor write a file without holding its lock.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from broker.model.account import AccountId, Generation, NeedsLogin, Record, Tokens
from broker.model.clock import Chance, Clock, Now
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.watch import Watcher
from broker.providers.base import Client
from broker.store.base import (
    OWN,
    Change,
    Entry,
    Lock,
    Origin,
    PendingRotation,
    Rotation,
    StorageError,
    StoreHealth,
    SupersededError,
)
from broker.store.files import Disk, Os
from broker.store.folders import Folders, is_auth_name
from broker.store.follow import Follower
from broker.store.held import Held, Locks
from broker.store.journal import AnswerSeal
from broker.store.link import Link
from broker.store.merge import Document, deep_merge
from broker.store.origin import new_document, relinked, renewed
from broker.store.premises import DAEMON, Premises
from broker.store.problems import Problems
from broker.store.reading import Providers, Reading
from broker.store.relabel import naming, refuse
from broker.store.restore import Restorer
from broker.store.rotating import Rotations
from broker.store.shelf import Shelf
from broker.store.state import StateDb
from broker.store.table import Place
from broker.store.write import Sealer, Writer

T = TypeVar("T")

_OWN_WAIT_SECONDS = 10.0  # for the lock, in what a person asked for: a refresh under way ends well before
_LOGIN_WAIT_SECONDS = 60.0  # a login that just succeeded must not fail for a token endpoint that answers slowly
_THREADS = 4


class Seal(Sealer, AnswerSeal, Protocol):
    """All that sealed mode needs (`broker.store.seal`)."""


class FileStore:
    """Implements `broker.store.base.Store`. Made and used on one event loop."""

    def __init__(
        self,
        directories: Sequence[Path],
        registry: Providers,
        state_dir: Path,
        clock: Clock,
        chance: Chance,
        *,
        rescan_seconds: float = 60.0,
        seal: Seal | None = None,
        calls: Os | None = None,
        role: str = DAEMON,
    ) -> None:
        """Serve `directories`, the first of which gets new logins. Nothing is touched before `open`.

        `role` is what other processes are told holds a lock; `calls` replaces system calls in tests.
        """
        self._folders = tuple(Folders(directory.absolute()) for directory in directories)
        self._registry = registry
        self._clock = clock
        self.rescan_seconds = rescan_seconds
        """May be replaced at any time; counts from the next rescan on."""
        self._sealed = seal is not None
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self._disk = Disk(lambda: chance.token(9), calls)
        self._problems = Problems()
        self._state = StateDb(state_dir)
        self._defaults: dict[str, AccountId] = {}
        names = tuple(str(folders.active) for folders in self._folders)
        self._shelf = Shelf(names, clock, self._state.remember)
        self._follower = Follower(
            self._folders, registry, self._shelf, self._disk, self._pool, clock, self._problems, seal
        )
        self._writer = Writer(self._folders, registry, self._shelf, self._follower, self._disk, self._pool, clock, seal)
        self._locks = Locks(self._folders, self._disk, self._pool, clock, role)
        self._restorer = Restorer(self._shelf, self._follower, self._writer, self._locks, clock, self._problems)
        self._rotations = Rotations(self._folders, self._shelf, self._disk, self._pool, self._problems, seal)
        self._premises = Premises(self._folders, self._disk, self._problems, role)
        self._watcher: Watcher | None = None
        self.on_rescan: Callable[[], Awaitable[None]] = _rest
        """Run after each rescan: for who looks at other files at the same pace."""

    # --- life ---

    async def open(self) -> None:
        """Read everything there is and begin to watch for changes. What is wrong is in `health`, not raised."""
        now = self._clock.now()
        await self._run(lambda: self._premises.prepare(now.wall))
        paths = [path for folders in self._folders for path in (folders.active, folders.paused)]
        self._watcher = Watcher(paths, self._hint, self._folder_hint, moved=partial(self._hint, finished=True))
        await self._run(self._watcher.start)  # before the first look, so that nothing falls between
        remembered = await self._state.open()
        for note in remembered.notes:
            self._problems.report("state-anew", note)
        self._defaults = dict(remembered.defaults)
        self._shelf.restore(remembered)
        await self._follower.load()
        await self._rotations.load()
        self._follower.start_rescans(lambda: self.rescan_seconds, self._blind, self._upkeep, self._after_rescan)

    async def close(self) -> None:
        """Stop watching, let go of all locks, write what is still unwritten."""
        await self._follower.close()
        await self._restorer.close()
        if self._watcher is not None:
            await self._run(self._watcher.stop)
        self._locks.drop_all()
        await self._state.close()
        self._premises.release()
        self._pool.shutdown(wait=False)

    # --- looking ---

    def entries(self) -> Mapping[AccountId, Entry]:
        """Return the current table."""
        return self._shelf.entries

    def get(self, account: AccountId) -> Entry | None:
        """Return one account."""
        return self._shelf.entries.get(account)

    def default_of(self, provider: str) -> AccountId | None:
        """Return the account a bare provider name means."""
        return self._shelf.default_of(provider, self._defaults.get(provider))

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` after each change, on a later turn of the event loop."""
        return self._shelf.subscribe(listener)

    def pending_accounts(self) -> Sequence[AccountId]:
        """Return the accounts that have a journal record."""
        if self._rotations.none:
            return []
        return [account for account in self._shelf.entries if self._rotations.has(self._place(account))]

    def health(self) -> StoreHealth:
        """Say what is wrong, and what protects."""
        problems = (*self._problems.sentences(), *self._shelf.shadows())
        if self._state.problem is not None:
            problems = (*problems, self._state.problem)
        if self._blind():
            problems = (*problems, "the system does not notify of changed files; they are looked at every two seconds")
        protections = {
            "private-folders": self._premises.private,
            "change-notification": not self._blind(),
            "foreign-writes-kept": self._disk.exchanges is True,
            "sealed-files": self._sealed,
        }
        return StoreHealth(problems, protections)

    # --- locking ---

    @contextlib.asynccontextmanager
    async def lock(self, account: AccountId, wait: float) -> AsyncIterator[Lock]:
        """Take the account's lock across processes.

        Raises:
            LockTimeoutError: somebody else kept it for `wait` seconds.
            StorageError: the lock file cannot be made.
            BrokerError: `unknown_account`.
        """
        held = await self._locks.take(account, lambda: self._place(account), wait)
        try:
            yield held
        finally:
            await self._locks.give_back(held)

    async def reread(self, lock: Lock) -> Entry | None:
        """Read the account from disk now; None if its file is gone."""
        held = self._held(lock)
        reading = await held.run(self._writer.present(held), "store-reread")
        return self.get(held.account) if reading is not None else None

    # --- journal ---

    async def begin_rotation(self, lock: Lock, entry: Entry, now: Now) -> Rotation:
        """Prove the storage writable and write the journal record, durably.

        Raises:
            StorageError: it is not, or an earlier answer is not put away yet; no refresh token may be spent.
            ValueError: the entry has no refresh token.
        """
        return await self._rotations.begin(self._held(lock), entry, now)

    async def pending_rotation(self, lock: Lock) -> PendingRotation | None:
        """Return the journal record an earlier process left. Raises nothing but RuntimeError for a lock not held."""
        return await self._rotations.pending(self._held(lock))

    async def clear_rotation(self, lock: Lock) -> None:
        """Remove a record. Raises StorageError."""
        await self._rotations.clear(self._held(lock))

    # --- writing ---

    async def put(self, lock: Lock, tokens: Tokens, expected: Generation, now: Now) -> Entry:
        """Replace an account's grant, merged into the file as it is now.

        Raises:
            SupersededError: the file is gone or holds another refresh token than generation `expected` had.
            StorageError: storage refused.
        """
        held = self._held(lock)
        return await held.run(self._put(held, tokens, expected, now), "store-put")

    async def mark_terminal(self, lock: Lock, verdict: NeedsLogin | None) -> Entry:
        """Store or clear the verdict that a person must log in."""
        held = self._held(lock)
        entry = self._entry(held.account)
        if entry.terminal != verdict:
            self._shelf.judge(held.account, verdict)
            await self._state.flush()
        return self._entry(held.account)

    async def add(self, record: Record, client: Client, now: Now, origin: Origin = OWN) -> Entry:
        """Put away a new login. Raises StorageError, LockTimeoutError, `unknown_provider`."""
        provider = self._registry.get(record.account.provider)
        name, fresh = new_document(provider, record, client, now, origin)
        known = self._shelf.account_like(record)
        if known is not None:
            if known != record.account:
                fresh.pop("label", None)  # it keeps the name it has

            def merged(reading: Reading, document: Document) -> Document:
                return renewed(reading, deep_merge(document, fresh), record.tokens, now)

            with contextlib.suppress(SupersededError):  # its file went just now: then it is a new one
                async with self.lock(known, _LOGIN_WAIT_SECONDS) as lock:
                    held = self._held(lock)
                    await held.run(self._writer.replace(held, merged, record.tokens), "store-add")
                    await self._state.flush()
                    return self._entry(self._shelf.account_at(held.place) or known)
        place = await self._writer.create(self._locks, record.account, name, fresh, record.tokens)
        await self._state.flush()
        return self._entry(self._shelf.account_at(place) or record.account)

    async def remove(self, account: AccountId) -> None:
        """Delete an account's file and older copies of the login, durably. Raises StorageError or `unknown_account`."""
        async with self.lock(account, _OWN_WAIT_SECONDS) as lock:
            held = self._held(lock)
            await held.run(self._remove(held), "store-remove")
            await self.clear_rotation(lock)
        if self._defaults.get(account.provider) == account:
            self._choose(account.provider, None)
            await self._state.flush()

    async def set_paused(self, account: AccountId, paused: bool) -> Entry:
        """Move the file between `auth/` and `auth-paused/`. Raises StorageError or `unknown_account`."""
        async with self.lock(account, _OWN_WAIT_SECONDS) as lock:
            held = self._held(lock)
            if held.place.paused != paused:
                await held.run(self._move(held), "store-pause")
            return self._entry(account)

    async def set_link(self, lock: Lock, link: Link | None) -> Entry:
        """Note that the login is shared, or no longer. Raises SupersededError, StorageError."""
        held = self._held(lock)
        await held.run(self._writer.replace(held, relinked(link), None), "store-link")
        await self._state.flush()
        return self._entry(held.account)

    async def rename(self, lock: Lock, label: str) -> Entry:
        """Give an account another label.

        Raises:
            BrokerError: `bad_request` for a label that cannot be or is taken; `unsupported` where the file has no place for one.
            SupersededError: the file is gone.
            StorageError: storage refused; the account has its old name.
        """
        held = self._held(lock)
        wanted = AccountId(held.account.provider, label)
        if wanted != held.account:
            await held.run(self._rename(held, wanted), "store-rename")
        return self._entry(wanted)

    async def set_default(self, account: AccountId) -> None:
        """Choose a provider's default. Raises StorageError or `unknown_account`."""
        self._entry(account)
        self._choose(account.provider, account)
        await self._state.flush()
        if self._state.problem is not None:
            raise StorageError(f"chosen, but perhaps not after a restart: {self._state.problem}", account=str(account))

    # --- the steps ---

    async def _put(self, held: Held, tokens: Tokens, expected: Generation, now: Now) -> Entry:
        known, wanted = self._shelf.digest_of(held.account, expected)
        if not known:
            wanted = await self._rotations.spent(held, expected)

        def merged(reading: Reading, document: Document) -> Document | None:
            current = reading.source.record.tokens
            refresh = tokens.refresh_token or current.refresh_token
            if replace(tokens, refresh_token=refresh).same_grant(current):
                return None
            if current.refresh_digest() != wanted and not self._shelf.outdated(reading):
                raise SupersededError(held.account)
            return renewed(reading, document, tokens, now)

        await self._writer.replace(held, merged, tokens)
        await self._state.flush()
        return self._entry(held.account)

    async def _remove(self, held: Held) -> None:
        places = self._shelf.places_of(held.account)
        for place in places:
            path = self._folders[place.directory].path(place)
            await self._run(partial(self._disk.delete, path))
        self._shelf.accept(gone=places)

    async def _rename(self, held: Held, wanted: AccountId) -> None:
        old = held.account
        refuse(wanted, old, self._shelf.entries, self._shelf.places_of(old))
        await self._writer.replace(held, naming(wanted, held.place), None, renamed=wanted)
        if self._defaults.get(old.provider) == old:
            self._choose(old.provider, wanted)
        await self._state.flush()

    def _choose(self, provider: str, account: AccountId | None) -> None:
        self._defaults = {name: each for name, each in self._defaults.items() if name != provider}
        if account is not None:
            self._defaults[provider] = account
        self._state.remember(defaults={provider: account})

    async def _move(self, held: Held) -> None:
        source, target = held.place, held.place.flipped
        folders = self._folders[source.directory]
        try:
            await self._run(lambda: self._disk.ensure_folder(folders.path(target).parent))
            await self._run(lambda: self._disk.move_new(folders.path(source), folders.path(target)))
        except FileExistsError:
            where = folders.path(target).parent.name
            raise StorageError(f"{where} already has a file {target.name}", account=str(held.account)) from None
        known = self._shelf.reading(source)
        if known is not None:
            moved = replace(known, source=replace(known.source, place=target))
            self._shelf.accept([moved], gone=[source])
        held.place = target

    # --- beginnings and upkeep ---

    def _upkeep(self) -> None:
        if self._watcher is not None:
            self._watcher.renew()
        self._premises.claim()

    async def _housekeeping(self) -> None:
        await self._run(self._upkeep)
        await self._after_rescan()

    async def _after_rescan(self) -> None:
        if self._state.dirty or self._state.problem is not None:
            self._state.remember(self._shelf.rows())
            await self._state.flush()
        await self.on_rescan()

    def _blind(self) -> bool:
        return self._watcher is None or not self._watcher.working

    def _hint(self, path: Path, *, finished: bool = False) -> None:
        if not is_auth_name(path.name):
            return
        for number, folders in enumerate(self._folders):
            if path.parent in (folders.active, folders.paused):
                self._follower.touch(Place(number, path.name, path.parent == folders.paused), finished=finished)

    def _folder_hint(self) -> None:
        self._follower.look_again(self._housekeeping)

    # --- small ---

    def _place(self, account: AccountId) -> Place:
        place = self._shelf.place_of(account)
        if place is None:
            raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, f"there is no account {account}", account=str(account))
        return place

    def _entry(self, account: AccountId) -> Entry:
        entry = self.get(account)
        if entry is None:
            raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, f"there is no account {account}", account=str(account))
        return entry

    def _held(self, lock: Lock) -> Held:
        if not isinstance(lock, Held) or not lock.live:
            raise RuntimeError("the lock is not held")
        return lock

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


async def _rest() -> None:
    """Do nothing, until somebody has said what to do."""
