"""Accounts whose login another program shares: a store around the store.

Owns: when the other program's login file is read and written. To whoever refreshes nothing is different: under the account's lock, reading again also looks
into that file under the lock of its own program, a newer grant there is taken over, and a grant that was put away is handed on to it. Which grant is the
newer one is `broker.store.link`'s to say. It must never send anything, never blank a login because the other file was blanked (promise P4), and
never write over a grant in that file that was not ours before, unless ours has just proved itself.

The order of a renewal: journal, our file, their file, journal cleared. Each write of ours notes the refresh token it left behind, so that a start after a kill
knows that their file is the one behind.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from broker.model.account import AccountId, Generation, NeedsLogin, Record, Tokens
from broker.model.clock import Chance, Clock, Now
from broker.providers.base import Client
from broker.providers.native.base import Login, Native, Refused, Seen
from broker.store.base import (
    OWN,
    Change,
    Entry,
    Lock,
    LockTimeoutError,
    Origin,
    PendingRotation,
    Rotation,
    StorageError,
    Store,
    StoreHealth,
    SupersededError,
)
from broker.store.files import Disk, Os
from broker.store.foreign import ForeignLock, lock_of, lock_path
from broker.store.link import Link, Verdict, compare, of_another
from broker.store.native import NativeWriter, compose

T = TypeVar("T")

_log = logging.getLogger(__name__)

WAIT_SECONDS = 15.0
"""For the other program's lock: longer than the ten seconds after which one whose holder died is stale."""

_HAND_ON_SECONDS = 2.0  # where it is only to hand a grant on: that is tried again
_TRIES = 5


class Look(Protocol):
    """Reads login files of other programs (`broker.login.adopt.Reader`)."""

    def __call__(self, native: Native, path: Path) -> Seen | Refused | None:
        """Return what is in a file; None where there is none. Blocks; never raises."""
        ...


class _Session(msgspec.Struct):
    """What was done under one lock of an account. `presented`: our refresh token went out and no answer was put away since."""

    foreign: ForeignLock | None = None
    presented: bool = False


class LinkedStore:
    """Implements `broker.store.base.Store` around another one."""

    def __init__(
        self,
        inner: Store,
        formats: Mapping[str, Native],
        look: Look,
        clock: Clock,
        chance: Chance,
        *,
        calls: Os | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """Read files by `formats`, by the names links give. `calls` replaces system calls in tests."""
        self._inner = inner
        self._formats = formats
        self._look = look
        self._clock = clock
        self._chance = chance
        self._writer = NativeWriter(Disk(lambda: chance.token(9), calls), calls)
        self._wait = wait_seconds
        self._sessions: dict[int, _Session] = {}
        self._problems: dict[AccountId, str] = {}
        self.on_problem: Callable[[AccountId], None] = _ignore
        """Called when a link broke or is whole again."""

    # --- what is different ---

    @asynccontextmanager
    async def lock(self, account: AccountId, wait: float) -> AsyncIterator[Lock]:
        """Take the account's lock; the other program's is taken when it is needed, and let go with it. Raises as the store does."""
        async with self._inner.lock(account, wait) as lock:
            session = self._sessions[id(lock)] = _Session()
            try:
                yield lock
            finally:
                del self._sessions[id(lock)]
                if session.foreign is not None:
                    session.foreign.let_go()

    async def reread(self, lock: Lock) -> Entry | None:
        """Read the account and, where it is linked, the other program's file; return the newer grant, stored.

        Raises:
            LockTimeoutError: the other program kept its lock, or it cannot be taken.
            StorageError: a newer grant could not be taken over.
        """
        entry = await self._inner.reread(lock)
        if entry is None or entry.link is None:
            return entry
        await self._hold(lock, entry, entry.link, self._wait)
        return await self._align(lock, entry, entry.link)

    async def begin_rotation(self, lock: Lock, entry: Entry, now: Now) -> Rotation:
        """As the store does; refuses where the other program took its lock over meanwhile."""
        session = self._session(lock)
        if session.foreign is not None and not await self._run(session.foreign.holds):
            raise StorageError(f"{self._title(entry)} took its lock over", account=str(entry.account))
        rotation = await self._inner.begin_rotation(lock, entry, now)
        session.presented = True
        return rotation

    async def put(self, lock: Lock, tokens: Tokens, expected: Generation, now: Now) -> Entry:
        """Replace the grant, then hand it on to the other program's file: what fails there is told in `health` and tried again."""
        entry = await self._inner.put(lock, tokens, expected, now)
        self._session(lock).presented = False
        if entry.link is not None:
            await self._hand_on(lock, entry, entry.link, proved=True)
        return entry

    async def remove(self, account: AccountId) -> None:
        """As the store does. The other program's file stays as it is."""
        await self._inner.remove(account)
        self._problems.pop(account, None)

    def health(self) -> StoreHealth:
        """As the store's, and which links are broken."""
        health = self._inner.health()
        broken = [(account, self.problem_of(account)) for account in sorted(self._problems)]
        return replace(
            health, problems=(*health.problems, *(f"{account}: {problem}" for account, problem in broken if problem))
        )

    def problem_of(self, account: AccountId) -> str | None:
        """Return what is wrong with an account's link, in a sentence; None also where the account went or got another name since."""
        entry = self._inner.get(account)
        return self._problems.get(account) if entry is not None and entry.link is not None else None

    # --- the other file, without any lock ---

    async def agrees(self, entry: Entry) -> bool:
        """Tell whether there is nothing to do about a linked account, as far as that can be seen without any lock."""
        if entry.link is None:
            return True
        login = await self._theirs(entry, entry.link)
        if login is None:
            return True
        match compare(entry.record.tokens, login.tokens, entry.link.spent):
            case Verdict.HOLD:
                return entry.terminal is None
            case Verdict.PUSH:
                return entry.terminal is not None
            case verdict:
                return verdict is Verdict.SAME

    async def align(self, account: AccountId) -> None:
        """Bring both files of a linked account together now. Raises LockTimeoutError, StorageError, BrokerError."""
        async with self.lock(account, self._wait) as lock:
            await self.reread(lock)

    async def refusal(self, link: Link) -> str | None:
        """Say why an account could not be linked to a file: nothing could be written there, or its program's lock not be taken."""
        native, path = self._formats.get(link.tool), Path(link.path)
        if native is None:
            return f"this version knows no program {link.tool}"
        return await self._run(lambda: _unfit(native, path))

    async def clean(self, link: Link) -> None:
        """Remove temporary files that a killed process of ours left beside the other program's file."""
        await self._run(lambda: self._writer.clean(Path(link.path).parent, self._clock.now().wall))

    # --- the steps ---

    async def _hold(self, lock: Lock, entry: Entry, link: Link, wait: float) -> None:
        native, session = self._formats.get(link.tool), self._session(lock)
        path = Path(link.path)
        if (
            native is None
            or native.lock is None
            or session.foreign is not None
            or not await self._run(path.parent.is_dir)
        ):
            return
        foreign = lock_of(native.lock, path, self._clock, self._chance.token(12))
        try:
            taken = await foreign.take(wait)
        except OSError as error:
            self._report(entry.account, f"the lock of {native.title} cannot be taken: {error.strerror}")
            raise LockTimeoutError(entry.account, f"{native.title}, whose lock cannot be taken") from error
        if not taken:
            raise LockTimeoutError(entry.account, native.title)
        session.foreign = foreign

    async def _align(self, lock: Lock, entry: Entry, link: Link) -> Entry | None:
        login = await self._theirs(entry, link)
        if login is None:
            return entry
        # Ours was refused, or is known to be dead: whatever they have that we never had is better.
        ours_is_dead = self._session(lock).presented or entry.terminal is not None
        match compare(entry.record.tokens, login.tokens, link.spent):
            case Verdict.ADOPT:
                return await self._adopt(lock, entry, login)
            case Verdict.HOLD if ours_is_dead:
                return await self._adopt(lock, entry, login)
            case Verdict.PUSH if not ours_is_dead:
                await self._hand_on(lock, entry, link, proved=False)
        return entry

    async def _adopt(self, lock: Lock, entry: Entry, login: Login) -> Entry | None:
        _log.info("a newer grant of another program is taken over", extra={"provider": entry.account.provider})
        try:
            return await self._inner.put(lock, login.tokens, entry.generation, self._clock.now())
        except SupersededError:
            return await self._inner.reread(lock)

    async def _hand_on(self, lock: Lock, entry: Entry, link: Link, *, proved: bool) -> None:
        """Write our grant into the other program's file. `proved`: it was issued just now. Never raises."""
        try:
            await self._hold(lock, entry, link, _HAND_ON_SECONDS)
            for _ in range(_TRIES):
                if await self._written(entry, link, proved=proved):
                    return
            self._report(entry.account, f"the login file of {self._title(entry)} is written without a pause")
        except LockTimeoutError as error:
            self._report(entry.account, f"the renewed login could not be handed on: {error.detail}")
        except StorageError as error:
            self._report(
                entry.account, f"the renewed login could not be handed on to {self._title(entry)}: {error.detail}"
            )

    async def _written(self, entry: Entry, link: Link, *, proved: bool) -> bool:
        """Write once; false where the file changed in that moment."""
        native, path = self._formats[link.tool], Path(link.path)
        seen = await self._run(lambda: self._look(native, path))
        login = self._judged(entry, link, seen)
        if login is None or not isinstance(seen, Seen):
            return True
        verdict = compare(entry.record.tokens, login.tokens, link.spent)
        if not (verdict is Verdict.PUSH or (proved and verdict is Verdict.HOLD)):
            return True
        tokens, now = entry.record.tokens, self._clock.now()

        def write() -> bool:
            return self._writer.replace(path, seen, compose(native, seen, link.key, tokens, now))

        return await self._run(write)

    async def _theirs(self, entry: Entry, link: Link) -> Login | None:
        """Return the login in the other program's file; None, and a sentence about it, where there is none to be shared."""
        native = self._formats.get(link.tool)
        seen = await self._run(lambda: self._look(native, Path(link.path))) if native else None
        return self._judged(entry, link, seen)

    def _judged(self, entry: Entry, link: Link, seen: Seen | Refused | None) -> Login | None:
        found = seen.login(link.key) if isinstance(seen, Seen) else seen
        title, name = self._title(entry), Path(link.path).name
        if found is None:
            self._report(entry.account, f"no longer shared with {title}: {name} is gone; the login here goes on")
        elif isinstance(found, Refused):
            self._report(entry.account, f"no longer shared with {title}: {name} {found.reason}; the login here goes on")
        elif of_another(entry.record, found.identity):
            self._report(
                entry.account,
                f"no longer shared with {title}: another account is logged in there; the login here goes on",
            )
        elif entry.client and found.client and entry.client.id != found.client.id:
            again = f"to share that login, run: ccs-broker import {link.tool} --linked"
            self._report(
                entry.account, f"no longer shared with {title}: its login there is another client's now; {again}"
            )
        elif not found.tokens.refresh_token:
            self._report(entry.account, f"no longer shared with {title}: the login there cannot be renewed")
        else:
            self._report(entry.account, None)
            return found
        return None

    def _session(self, lock: Lock) -> _Session:
        session = self._sessions.get(id(lock))
        if session is None:
            raise RuntimeError("the lock is not held")
        return session

    def _report(self, account: AccountId, problem: str | None) -> None:
        if self._problems.get(account) == problem:
            return
        if problem is None:
            self._problems.pop(account, None)
        else:
            self._problems[account] = problem
            _log.warning("a link is broken: %s", problem, extra={"provider": account.provider})
        self.on_problem(account)

    def _title(self, entry: Entry) -> str:
        tool = entry.link.tool if entry.link else ""
        native = self._formats.get(tool)
        return native.title if native else tool

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    # --- what is the same ---

    async def open(self) -> None:
        """As the store does."""
        await self._inner.open()

    async def close(self) -> None:
        """As the store does."""
        await self._inner.close()

    def entries(self) -> Mapping[AccountId, Entry]:
        """As the store does."""
        return self._inner.entries()

    def get(self, account: AccountId) -> Entry | None:
        """As the store does."""
        return self._inner.get(account)

    def default_of(self, provider: str) -> AccountId | None:
        """As the store does."""
        return self._inner.default_of(provider)

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """As the store does."""
        return self._inner.subscribe(listener)

    async def pending_rotation(self, lock: Lock) -> PendingRotation | None:
        """As the store does."""
        return await self._inner.pending_rotation(lock)

    async def clear_rotation(self, lock: Lock) -> None:
        """As the store does."""
        await self._inner.clear_rotation(lock)

    def pending_accounts(self) -> Sequence[AccountId]:
        """As the store does."""
        return self._inner.pending_accounts()

    async def mark_terminal(self, lock: Lock, verdict: NeedsLogin | None) -> Entry:
        """As the store does."""
        return await self._inner.mark_terminal(lock, verdict)

    async def add(self, record: Record, client: Client, now: Now, origin: Origin = OWN) -> Entry:
        """As the store does."""
        return await self._inner.add(record, client, now, origin)

    async def set_link(self, lock: Lock, link: Link | None) -> Entry:
        """As the store does; a link that is no more has no problem."""
        entry = await self._inner.set_link(lock, link)
        if link is None:
            self._report(entry.account, None)
        return entry

    async def set_paused(self, account: AccountId, paused: bool) -> Entry:
        """As the store does."""
        return await self._inner.set_paused(account, paused)

    async def rename(self, lock: Lock, label: str) -> Entry:
        """As the store does."""
        return await self._inner.rename(lock, label)

    async def set_default(self, account: AccountId) -> None:
        """As the store does."""
        await self._inner.set_default(account)


def _unfit(native: Native, path: Path) -> str | None:
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        return f"{path.parent} cannot be written"
    if native.lock is None:
        return None
    beside = lock_path(native.lock, path).parent
    return (
        None if os.access(beside, os.W_OK) else f"the lock of {native.title} lies in {beside}, which cannot be written"
    )


def _ignore(account: AccountId) -> None:
    """Do nothing, until somebody has said what to do."""
