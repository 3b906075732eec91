"""The table of what is known of each account.

Owns: the cells, and how store changes and results of refreshes alter them. It must never start a refresh or wait for anything.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

import msgspec

from broker.model.account import AccountId, Active, NeedsLogin, State, Tokens, Unsaved
from broker.model.clock import Chance, Clock, Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Digest
from broker.oauth.failures import AnswerLost, Permanent
from broker.providers.base import RefreshPolicy
from broker.refresh import life, outcome
from broker.refresh.attempt import (
    Adopted,
    Failed,
    Providers,
    Renewed,
    Result,
    Stranded,
    Unwritable,
    Vanished,
)
from broker.refresh.life import Life
from broker.refresh.plan import Known
from broker.store.base import Change, Entry, Gone, Updated

_log = logging.getLogger(__name__)

_SKEW_NOTED_SECONDS = 60.0  # a Date header has whole seconds and is read late; less is noise
_UNSAVED_RETRY_SECONDS = 5.0
_ACTIVE = Active()


class Cell(msgspec.Struct):
    """One account. `trouble` is its state apart from being paused or under refresh.

    `renewed_wall` is when this process last renewed it; `rejected` names the access token an API refused, `rejections` counts
    refreshes caused by that, `stranded` is a grant that only memory has.
    """

    entry: Entry
    life: Life
    policy: RefreshPolicy
    trouble: State
    jitter: float
    failures: int = 0
    rejected: Digest | None = None
    rejections: int = 0
    rejected_at: float = 0.0
    renewed_wall: float | None = None
    stranded: Stranded | None = None

    @property
    def tokens(self) -> Tokens:
        """The newest grant, stored or not."""
        return self.stranded.tokens if self.stranded else self.entry.record.tokens

    @property
    def servable(self) -> bool:
        """Whether the user leaves the account in service, and its file says no way out that cannot be taken."""
        record = self.entry.record
        return not (self.entry.paused or record.disabled or record.routing.proxy_fault)


class Cells:
    """All accounts, and everybody who wants to know when one changes."""

    def __init__(self, providers: Providers, clock: Clock, chance: Chance) -> None:
        """Start empty."""
        self._providers = providers
        self._clock = clock
        self._chance = chance
        self._cells: dict[AccountId, Cell] = {}
        self._expected: dict[AccountId, tuple[Digest, Life]] = {}
        self._skew: dict[str, float] = {}
        self._listeners: list[Callable[[AccountId], None]] = []

    def __iter__(self) -> Iterator[tuple[AccountId, Cell]]:
        return iter(list(self._cells.items()))

    def some(self, accounts: Iterable[AccountId]) -> list[tuple[AccountId, Cell]]:
        """Return the cells of those accounts that exist."""
        return [(account, cell) for account in accounts if (cell := self._cells.get(account)) is not None]

    def find(self, account: AccountId) -> Cell | None:
        """Return an account's cell; None where there is no such account."""
        return self._cells.get(account)

    def get(self, account: AccountId) -> Cell:
        """Return an account's cell; raises `unknown_account`, listing what exists."""
        cell = self._cells.get(account)
        if cell is None:
            there = ", ".join(sorted(map(str, self._cells))) or "none"
            detail = f"no account {account}; there are: {there}"
            raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, detail, account=str(account))
        return cell

    def subscribe(self, listener: Callable[[AccountId], None]) -> Callable[[], None]:
        """Call `listener` after each change of an account; return the way to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, account: AccountId) -> None:
        """Tell everybody that an account changed."""
        for listener in list(self._listeners):
            listener(account)

    def renew_policies(self) -> None:
        """Ask the providers anew when their tokens are to be renewed."""
        for account, cell in self._cells.items():
            cell.policy = self._providers.get(account.provider).policy

    def known(self, cell: Cell) -> Known:
        """Return what `plan` and `outcome` decide on."""
        skew = self._skew.get(cell.entry.account.provider, 0.0)
        return Known(cell.tokens, cell.life, cell.trouble, cell.policy, cell.jitter, skew, cell.rejected)

    def known_of(self, entry: Entry) -> Known:
        """Return the same of an entry just read under the lock, which the table may not have yet."""
        cell = self._cells.get(entry.account)
        if cell is not None and entry.record.tokens == cell.entry.record.tokens:
            return self.known(cell)
        tokens, provider = entry.record.tokens, entry.account.provider
        return Known(
            tokens,
            life.of_file(tokens, self._clock.now()),
            Active(),
            self._providers.get(provider).policy,
            skew=self._skew.get(provider, 0.0),
            rejected=cell.rejected if cell else None,
        )

    def expect(self, account: AccountId, tokens: Tokens, received: Now) -> None:
        """Remember the life of a grant of our own that is about to appear in the store."""
        if tokens.access_token:
            self._expected[account] = (tokens.access_token.digest(), life.of_own(tokens, received))

    def learn_skew(self, provider: str, seconds: float) -> None:
        """Note how far a provider's clock is ahead of ours."""
        self._skew[provider] = seconds if abs(seconds) >= _SKEW_NOTED_SECONDS else 0.0

    def skews(self) -> Mapping[str, float]:
        """Return how many seconds the providers' clocks are ahead of ours, where that is worth a word."""
        return {provider: seconds for provider, seconds in self._skew.items() if seconds}

    def on_change(self, change: Change) -> None:
        """Take over what the store says."""
        match change:
            case Updated(entry=entry):
                self.take(entry)
                self.tell(entry.account)
            case Gone(account=account):
                self._cells.pop(account, None)
                self.tell(account)
            case _ as never:
                assert_never(never)

    def take(self, entry: Entry, now: Now | None = None) -> None:
        """Take over an entry, first seen `now`: a new grant clears every trouble, other changes only those they bear on."""
        account, settled = entry.record.account, entry.terminal or _ACTIVE
        cell = self._cells.get(account)
        if cell is None:
            policy = self._providers.get(account.provider).policy
            self._cells[account] = Cell(entry, self._life_of(entry, now), policy, settled, self._chance.unit())
            return
        before, after = cell.entry.record.tokens, entry.record.tokens
        if cell.stranded is not None and after.refresh_digest() == before.refresh_digest():
            cell.entry = entry  # other fields changed; the unsaved grant is still the newest
            return
        if not after.same_grant(before):
            cell.life, cell.stranded = self._life_of(entry), None
            cell.rejected, cell.trouble = None, settled
            # A grant of our own may be of no more use than the last: `_renew` counts on.
            cell.failures = cell.failures if cell.life.own else 0
        elif entry.client != cell.entry.client or NeedsLogin in (type(entry.terminal), type(cell.trouble)):
            cell.failures, cell.trouble = 0, settled
        cell.entry = entry

    def land(self, account: AccountId, result: Result) -> None:
        """Turn the result of a refresh into what is known of the account."""
        cell = self._cells.get(account)
        if cell is not None:
            self._alter(account, cell, result, self._clock.now(), self._chance.unit())
            self.tell(account)

    def _alter(self, account: AccountId, cell: Cell, result: Result, now: Now, unit: float) -> None:
        match result:
            case Renewed(entry=entry, received=received):
                cell.renewed_wall = received.wall
                self._renew(cell, entry, now, unit)
            case Adopted(entry=entry):
                self.take(entry)
            case Failed(failure=failure):
                cell.failures += 1
                if not isinstance(failure, Permanent | AnswerLost):
                    cell.rejected = None  # the old token is better than none, if the API was wrong about it
                cell.trouble = outcome.failed(failure, self.known(cell), now, cell.failures, unit)
            case Unwritable(reason=reason):
                cell.failures += 1
                cell.trouble = outcome.unwritable(reason, now, cell.failures, unit)
            case Stranded(reason=reason):
                cell.stranded, cell.rejected = result, None
                cell.life = life.of_own(result.tokens, result.received)
                since = cell.trouble.since if isinstance(cell.trouble, Unsaved) else now.wall
                cell.trouble = Unsaved(since, reason, now.boot + _UNSAVED_RETRY_SECONDS)
                _log.error("renewed, but storage refuses the grant: %s", reason, extra={"provider": account.provider})
            case Vanished():
                del self._cells[account]
            case _ as never:
                assert_never(never)

    def _renew(self, cell: Cell, entry: Entry, now: Now, unit: float) -> None:
        failures = cell.failures + 1
        cell.stranded = None
        self.take(entry)
        cell.rejected, cell.jitter = None, unit
        cell.trouble = outcome.renewed(replace(self.known(cell), state=Active()), now, failures, unit)
        cell.failures = 0 if isinstance(cell.trouble, Active) else failures

    def _life_of(self, entry: Entry, now: Now | None = None) -> Life:
        if not self._expected:
            return life.of_file(entry.record.tokens, now or self._clock.now())
        digest, span = self._expected.pop(entry.account, (None, None))
        token = entry.record.tokens.access_token
        if span is not None and token and token.digest() == digest:
            return span
        return life.of_file(entry.record.tokens, self._clock.now())
