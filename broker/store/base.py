"""The door of the store: what the rest of the program may ask of it.

Owns: the `Store` protocol, its values and its errors. It must never know how or where accounts are kept: the file store and the
memory store of the tests pass the same contract suite (tests/contract/store_contract.py), and a shared database would be a third.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from broker.model.account import AccountId, Generation, NeedsLogin, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.quick import quickly_made
from broker.model.secret import Digest
from broker.oauth.messages import HttpResponse
from broker.providers.base import Client, Document
from broker.store.link import Link


class StorageError(BrokerError):
    """Storage refused. `transient_write` of a rotated grant turns into state `Unsaved`; before a refresh it means: don't.

    The detail names the operation and the errno word (`ENOSPC`), never content.
    """

    def __init__(self, detail: str, *, account: str | None = None) -> None:
        """Say what failed."""
        super().__init__(ErrorCode.STORAGE_UNWRITABLE, detail, account=account)


class SupersededError(BrokerError):
    """The account changed since the caller read it, so the write was not made (promise P4)."""

    def __init__(self, account: AccountId) -> None:
        """Name the account."""
        super().__init__(ErrorCode.SUPERSEDED, f"{account} changed meanwhile", account=str(account))


class LockTimeoutError(BrokerError):
    """Another process held the account's lock for as long as the caller was ready to wait."""

    def __init__(self, account: AccountId, holder: str | None) -> None:
        """Name the account and, where known, who holds the lock."""
        who = f" ({holder})" if holder else ""
        detail = f"another process{who} is renewing {account}"
        super().__init__(ErrorCode.DEADLINE_EXCEEDED, detail, account=str(account))


@quickly_made
@dataclass(frozen=True, slots=True)
class Entry:
    """One account as the store last knew it whole.

    `client` is the registration its file carries, if any. `terminal` is the stored verdict that a person must log in; it is
    bound to the refresh token's digest and gone when that changes. `file` is for display. `link` is set where the login is shared with another
    program's file.
    """

    record: Record
    generation: Generation
    file: str
    client: Client | None = None
    paused: bool = False
    terminal: NeedsLogin | None = None
    link: Link | None = None

    @property
    def account(self) -> AccountId:
        """The account's name."""
        return self.record.account


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a login was taken over from. `link` goes on sharing it; `document` is the whole auth file as another program had it, called `name` there."""

    link: Link | None = None
    document: Document | None = field(default=None, repr=False)
    name: str = ""


OWN = Origin()
"""A person's own login."""


class Updated(msgspec.Struct, frozen=True):
    """An account is new or its generation rose."""

    entry: Entry


class Gone(msgspec.Struct, frozen=True):
    """An account's file is gone, and stayed gone."""

    account: AccountId


Change = Updated | Gone


class Lock(Protocol):
    """Proof that this process may change one account. Handed to every method that writes; worthless after its `async with`."""

    @property
    def account(self) -> AccountId:
        """The account it covers."""
        ...


@dataclass(frozen=True, slots=True)
class PendingRotation:
    """A journal record found under the lock: a refresh token was about to be spent, or was.

    `presented` says that it may have gone out. `since` is wall-clock seconds. `answer` is what the provider said, if it reached the journal before the
    process ended.
    """

    digest: Digest
    generation: Generation
    since: float
    answer: HttpResponse | None = None
    presented: bool = True


class Rotation(Protocol):
    """An open journal record (design: journal before the POST, answer before parsing, cleared after publishing)."""

    async def present(self) -> None:
        """Note durably that the refresh token is about to go out: from now on it may have been spent.

        Raises:
            StorageError: it could not be noted, so that nothing may be sent.
        """
        ...

    def record_answer(self, answer: HttpResponse) -> None:
        """Put the answer into the journal: one write, at once, on the calling thread, before anything parses it.

        Raises:
            StorageError: the write failed; the answer is still good and the caller goes on with it.
        """
        ...

    async def sync(self) -> None:
        """Make the recorded answer durable. Raises StorageError."""
        ...

    async def clear(self) -> None:
        """End the record: the grant is in its file, or was never spent. Idempotent. Raises StorageError."""
        ...


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What is wrong with the store as a whole, in sentences; and which protections were found to work by trying them."""

    problems: Sequence[str] = ()
    protections: Mapping[str, bool] = field(default_factory=dict)


class Store(Protocol):
    """All accounts, and the only way to change one."""

    async def open(self) -> None:
        """Read everything there is and begin to watch for changes."""
        ...

    async def close(self) -> None:
        """Stop watching; write what is still unwritten."""
        ...

    def entries(self) -> Mapping[AccountId, Entry]:
        """Return the current table: the last good state of each account."""
        ...

    def get(self, account: AccountId) -> Entry | None:
        """Return one account."""
        ...

    def default_of(self, provider: str) -> AccountId | None:
        """Return the account a bare provider name means: the chosen default, else the first that can be served."""
        ...

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after each change; return the way to stop that."""
        ...

    def lock(self, account: AccountId, wait: float) -> AbstractAsyncContextManager[Lock]:
        """Take the account's lock across processes, waiting `wait` seconds at most.

        Raises:
            LockTimeoutError: somebody else kept it.
            StorageError: the lock file cannot be made.
        """
        ...

    async def reread(self, lock: Lock) -> Entry | None:
        """Read the account from disk now; None if its file is gone. A half-written file is awaited a moment, then the last good state stands."""
        ...

    async def begin_rotation(self, lock: Lock, entry: Entry, now: Now) -> Rotation:
        """Prove the storage writable (temp file, fsync, rename, folder fsync) and write the journal record, durably.

        Raises:
            StorageError: it is not; no refresh token may be spent.
        """
        ...

    async def pending_rotation(self, lock: Lock) -> PendingRotation | None:
        """Return the journal record an earlier process left, or None. Raises nothing: a torn record counts as one without an answer."""
        ...

    async def clear_rotation(self, lock: Lock) -> None:
        """Remove a record found by `pending_rotation`."""
        ...

    def pending_accounts(self) -> Sequence[AccountId]:
        """Return the accounts that have a journal record."""
        ...

    async def put(self, lock: Lock, tokens: Tokens, expected: Generation, now: Now) -> Entry:
        """Replace an account's grant: merged into the file as it is now, durable when this returns; raises the generation.

        Raises:
            SupersededError: the file holds another refresh token than generation `expected` had; nothing was written.
            StorageError: storage refused; the file is as it was.
        """
        ...

    async def mark_terminal(self, lock: Lock, verdict: NeedsLogin | None) -> Entry:
        """Store or clear the verdict that a person must log in; raises the generation."""
        ...

    async def add(self, record: Record, client: Client, now: Now, origin: Origin = OWN) -> Entry:
        """Put away a new login: into the file of the same identity if there is one (its unknown fields kept), else a new file.

        The old grant stays until the new file is durable. Raises StorageError.
        """
        ...

    async def set_link(self, lock: Lock, link: Link | None) -> Entry:
        """Note in an account's file that its login is shared with another program's file, or that it no longer is.

        Raises:
            SupersededError: the file is gone.
            StorageError: storage refused.
        """
        ...

    async def remove(self, account: AccountId) -> None:
        """Delete an account's file, durably: the user's own logout. Raises StorageError or `unknown_account`."""
        ...

    async def set_paused(self, account: AccountId, paused: bool) -> Entry:
        """Move the file between `auth/` and `auth-paused/`. Raises StorageError or `unknown_account`."""
        ...

    async def rename(self, lock: Lock, label: str) -> Entry:
        """Give an account another label, durably; what is remembered of it moves along, and the generation rises above both names' last.

        Raises:
            BrokerError: `bad_request` for a label that cannot be or is taken; `unsupported` where the file has no place for one.
            SupersededError: the file is gone.
            StorageError: storage refused; the account has its old name.
        """
        ...

    async def set_default(self, account: AccountId) -> None:
        """Make an account what its provider's name alone means, until it is removed or another one is chosen.

        Raises:
            StorageError: it is so now, and may be forgotten at the next start.
            BrokerError: `unknown_account`.
        """
        ...

    def health(self) -> StoreHealth:
        """Say what is wrong, and what protects."""
        ...
