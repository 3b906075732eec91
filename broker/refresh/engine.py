"""The refresh engine: who waits, who is served, what runs in the background.

Owns: the flights, the waiters and the loop that wakes when something is due. Decisions are `plan`'s and `outcome`'s, what is known
of an account is in `cells`, the steps of one refresh are `attempt`'s. It must never let a waiter's fate decide a refresh's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from broker.config import RefreshConfig
from broker.model.account import (
    AccountId,
    Active,
    Backoff,
    Freshness,
    NeedsLogin,
    Paused,
    Refreshing,
    State,
    Unsaved,
)
from broker.model.clock import Chance, Clock, Now
from broker.model.commands import way_in
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Digest
from broker.oauth.failures import Transient
from broker.oauth.transport import Transport
from broker.observe.tasks import spawn
from broker.refresh import backoff, outcome, plan
from broker.refresh.attempt import LOCK_WAIT_SECONDS, Attempt, ClientFinder, Failed, Providers, Result, Unwritable
from broker.refresh.cells import Cell, Cells
from broker.refresh.flight import Flights, either
from broker.refresh.grant import Grant, granted
from broker.refresh.pace import Pace
from broker.refresh.plan import Reason, Refresh, Wait
from broker.refresh.rescue import Rescue
from broker.refresh.turns import GroupLocks, Turns
from broker.store.base import LockTimeoutError, StorageError, Store
from broker.store.emergency import EmergencyCopies

_log = logging.getLogger(__name__)

WAKE_SECONDS = 60.0
"""The loop looks at the clocks at least this often, whatever it expects: with the store's rescan that makes two wake-ups a minute.

A suspend or a clock step is noticed at once where the system tells of it (`Clock.nap`), else within this time; leases judge the clocks anyway.
"""

_REJECTIONS_FORGOTTEN_SECONDS = 2 * backoff.RETRY_AFTER_CAP_SECONDS  # longer than any pause between them
_QUIET_PAUSES = 2.0


class Engine:
    """Serves grants and keeps them fresh. Built by `broker.daemon.assembly`; all calls are on one event loop."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        transport: Transport,
        clients: ClientFinder,
        clock: Clock,
        chance: Chance,
        config: RefreshConfig,
        copies: EmergencyCopies | None = None,
        groups: GroupLocks | None = None,
        prepare: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Take what it works with; nothing runs before `start`.

        Without `copies` no emergency copy is kept; without `groups` a `serial_group` holds within this process only. `prepare` makes ready what sends, and
        tells whether that took a while.
        """
        self._prepare = prepare
        self._store = store
        self._clock = clock
        self._config = config
        self._cells = Cells(providers, clock, chance)
        self._attempt = Attempt(store, providers, clients, transport, clock, self._cells.expect, self._learn_skew)
        self._rescue = Rescue(copies, self._cells, self._attempt, clock)
        self._turns = Turns(groups)
        self._pace = Pace()
        self._flights = Flights()
        self._wake = asyncio.Event()
        self._stirred: set[AccountId] | None = None  # whom the loop has to look at; None for all
        self._changed = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._stopping = False
        self._halt = asyncio.Event()

    # -- life cycle

    async def start(self) -> None:
        """Take over what the store holds, bring interrupted rotations to their end, and begin to look ahead."""
        self._unsubscribe = self._store.subscribe(self._cells.on_change)
        self._cells.subscribe(self._on_cell)
        now = self._clock.now()
        for entry in self._store.entries().values():
            self._cells.take(entry, now)
        await self._rescue.load()
        recovering = [self._flights.join(each, partial(self._recover, each)) for each in self._pending()]
        if recovering:
            await asyncio.wait(recovering, timeout=self._config.request_timeout_seconds)
        self._loop_task = spawn(self._loop(), name="refresh-loop")

    def go_by(self, config: RefreshConfig) -> None:
        """Go on by other settings, and by what the providers say now."""
        self._config = config
        self._cells.renew_policies()
        self._stirred = None
        self._wake.set()

    async def stop(self) -> None:
        """Start no refresh any more and wait for those in flight, within the configured limit."""
        self._stopping = True
        self._halt.set()  # what waits for its turn need not be waited for
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.wait([self._loop_task])
        for account, cell in self._cells:
            if cell.stranded is not None:
                self._fly(account, Reason.UNSAVED)  # once more: it is never dropped silently
        left = await self._flights.drain(self._config.stop_timeout_seconds)
        if left:
            _log.error("stopped with %d refreshes unanswered; the journal has them", left)
        for account, cell in self._cells:
            if cell.stranded is not None:
                extra = {"provider": account.provider}
                _log.error("stopped with an unsaved grant; %s", self._rescue.where(account), extra=extra)
        if self._unsubscribe is not None:
            self._unsubscribe()

    def _pending(self) -> list[AccountId]:
        now, pending = self._clock.now(), frozenset(self._store.pending_accounts())
        if not pending and self._rescue.none:
            return []
        return [each for each, cell in self._cells if each in pending or self._rescue.due(each, cell, now)]

    # -- what is known

    def state(self, account: AccountId) -> State:
        """Return the account's state; raises `unknown_account`."""
        cell = self._cells.get(account)
        if isinstance(cell.trouble, Active):
            if self._flights.running(account):
                return Refreshing(self._clock.now().boot)
            if cell.entry.paused:
                return Paused()
        return cell.trouble

    def flying(self, account: AccountId) -> bool:
        """Tell whether a refresh of the account is under way, which its state may not show."""
        return self._flights.running(account)

    def next_refresh(self, account: AccountId) -> float | None:
        """Return when the loop means to renew the account, in wall-clock seconds; None where it does not."""
        cell, now = self._cells.get(account), self._clock.now()
        match plan.decide(self._cells.known(cell), now, ahead=self._config.ahead):
            case Refresh():
                return now.wall
            case Wait(boot=boot):
                return now.wall + boot - now.boot
            case _:
                return None

    def last_refresh(self, account: AccountId) -> float | None:
        """Return when the account was last renewed, in wall-clock seconds, as far as this process or the account's file knows."""
        cell = self._cells.get(account)
        return cell.renewed_wall or cell.tokens.last_refresh

    def peek(self, account: AccountId) -> Grant | None:
        """Return a servable grant without waiting; None where there is none."""
        cell = self._cells.find(account)
        if cell is None or not cell.servable:
            return None
        now, known = self._clock.now(), self._cells.known(cell)
        return None if plan.judge(known, now, 0.0) is Freshness.DEAD else granted(cell.entry, known, now, 0.0)

    def at_hand(self, account: AccountId, min_validity: float) -> Grant | None:
        """Return what `lease` would, where that is neither refused nor waited for, and nothing is due; else None."""
        cell = self._cells.find(account)
        if cell is None or not cell.servable:
            return None
        now, known = self._clock.now(), self._cells.known(cell)
        return (
            granted(cell.entry, known, now, min_validity)
            if plan.judge(known, now, min_validity) is Freshness.FRESH
            else None
        )

    def problems(self) -> Sequence[str]:
        """Return sentences about accounts that are in danger, not merely in need of a login."""
        cells = list(self._cells)
        unsaved = [
            f"{account}: renewed, but storage refuses the new grant ({cell.trouble.reason}); do not stop the daemon; {self._rescue.where(account)}"
            for account, cell in cells
            if isinstance(cell.trouble, Unsaved)
        ]
        refused = {
            f"{cell.trouble.reason}; no login is renewed before that is mended": None
            for _, cell in cells
            if isinstance(cell.trouble, Backoff) and cell.trouble.code is ErrorCode.STORAGE_UNWRITABLE
        }
        return [*unsaved, *refused, *self._rescue.problems()]

    def skews(self) -> Mapping[str, float]:
        """Return how many seconds the providers' clocks are ahead of ours, where that is worth a word."""
        return self._cells.skews()

    async def forget(self, account: AccountId) -> None:
        """Keep nothing of an account the user logged out of. Raises StorageError."""
        await self._rescue.forget(account)

    def subscribe(self, listener: Callable[[AccountId], None]) -> Callable[[], None]:
        """Call `listener` on the event loop whenever an account's state or grant changed, or it vanished."""
        return self._cells.subscribe(listener)

    # -- serving

    async def lease(self, account: AccountId, *, min_validity: float, max_wait: float, waited: float = 0.0) -> Grant:
        """Return a token good for `min_validity` seconds, waiting `max_wait` at most, `waited` of which are over.

        Raises:
            BrokerError: `unknown_account`, or why there is none by the deadline.
        """
        deadline = self._clock.now().boot + max_wait - waited
        while True:
            cell, now = self._cells.get(account), self._clock.now()
            self._refuse_service(account, cell, now)
            known = self._cells.known(cell)
            if (fresh := plan.judge(known, now, min_validity)) is not Freshness.DEAD:
                if fresh is Freshness.STALE and self._may_start(cell, now):
                    self._start_paced(account, Reason.EXPIRING, now)
                return granted(cell.entry, known, now, min_validity)
            if isinstance(cell.trouble, Backoff) and now.boot < cell.trouble.until <= deadline:
                await either(self._clock.sleep(cell.trouble.until - now.boot), self._changed)
                continue
            self._refuse(account, cell, now)
            if now.boot >= deadline and max_wait > waited:
                raise _late(account, max_wait)
            task = self._fly(account, Reason.ASKED)
            if not await self._flights.wait(task, deadline - now.boot):
                raise _late(account, max_wait)

    async def renew(self, account: AccountId, *, max_wait: float) -> Grant:
        """Renew now, whatever the plan says (joining a refresh under way); raises as `lease` does."""
        cell, now = self._cells.get(account), self._clock.now()
        if not isinstance(cell.trouble, Backoff):
            self._refuse(account, cell, now)
        before = cell.tokens
        if not await self._flights.wait(self._fly(account, Reason.FORCED), max_wait):
            raise _late(account, max_wait)
        cell, now = self._cells.get(account), self._clock.now()
        if cell.tokens == before:
            self._refuse(account, cell, now)
            raise BrokerError(ErrorCode.REFRESH_FAILED, f"{account} could not be renewed", account=str(account))
        return granted(cell.entry, self._cells.known(cell), now, 0.0)

    async def rejected(
        self, account: AccountId, generation: int, *, min_validity: float, max_wait: float, waited: float = 0.0
    ) -> Grant:
        """Take a report that the API refused the token of `generation` (401), and return the grant to use next.

        Compare-and-swap: a report about an older generation gets the current grant and causes no refresh. Raises as `lease` does;
        `refresh_failed` where fresh tokens keep being rejected.
        """
        cell, now = self._cells.get(account), self._clock.now()
        token = cell.tokens.access_token
        if generation >= cell.entry.generation and token and cell.rejected != token.digest():
            self._note_rejection(account, cell, now, token.digest(), now.boot + max_wait - waited)
        return await self.lease(account, min_validity=min_validity, max_wait=max_wait, waited=waited)

    def accepted(self, account: AccountId) -> None:
        """Take a report that the API accepted the account's token: earlier rejections are forgotten, once they have had time to come back.

        An API may reject a token at one of its endpoints and accept it at the next: that must not be a loop either.
        """
        cell = self._cells.find(account)
        if cell is None:
            return
        if self._clock.now().boot - cell.rejected_at > _QUIET_PAUSES * backoff.rejection_pause(cell.rejections):
            cell.rejections = 0

    def _note_rejection(self, account: AccountId, cell: Cell, now: Now, digest: Digest, deadline: float) -> None:
        if not plan.renewable(self._cells.known(cell)):
            detail = f"the API rejects the token of {account} and there is nothing to renew it with"
            hint = f"Run: {way_in(account.provider)}"
            raise BrokerError(ErrorCode.LOGIN_REQUIRED, detail, account=str(account), hint=hint)
        if isinstance(cell.trouble, NeedsLogin):
            cell.rejected = digest  # of no use any more, and a final answer is not asked for again
            return
        if isinstance(cell.trouble, Backoff) and cell.trouble.until > max(now.boot, deadline):
            # The token endpoint is not asked sooner for it, and this token is better than none.
            self._refuse(account, cell, now)
        since = now.boot - cell.rejected_at
        if since > _REJECTIONS_FORGOTTEN_SECONDS:
            cell.rejections = 0
        pause = backoff.rejection_pause(cell.rejections)
        if cell.rejections and since < pause:
            raise BrokerError(
                ErrorCode.REFRESH_FAILED,
                f"the API keeps rejecting fresh tokens of {account}; the token is not the cause",
                account=str(account),
                hint="Check the account's access with the provider.",
                retry_after=pause - since,
            )
        cell.rejected, cell.rejections, cell.rejected_at = digest, cell.rejections + 1, now.boot
        if not (isinstance(cell.trouble, Backoff) and cell.trouble.until > now.boot):
            self._fly(account, Reason.REJECTED)

    def _refuse(self, account: AccountId, cell: Cell, now: Now) -> None:
        """Raise what stands between the account and a refresh that could help."""
        error = outcome.refusal(account, self._cells.known(cell), now)
        if error is None and self._stopping:
            error = BrokerError(ErrorCode.STOPPING, "the daemon is stopping", account=str(account))
        if error is not None:
            raise error

    def _refuse_service(self, account: AccountId, cell: Cell, now: Now) -> None:
        """Raise where the user took the account out of service."""
        if cell.entry.record.disabled:
            raise outcome.disabled(account)
        if cell.entry.record.routing.proxy_fault:
            raise outcome.unreachable(account, cell.entry.record.routing.proxy_fault)
        resting = replace(self._cells.known(cell), state=Paused()) if cell.entry.paused else None
        if resting is not None and (error := outcome.refusal(account, resting, now)) is not None:
            raise error

    # -- refreshing

    def _may_start(self, cell: Cell, now: Now) -> bool:
        """Tell whether a stale token is to be renewed behind the caller's back."""
        decision = plan.decide(self._cells.known(cell), now, ahead=True)
        return isinstance(decision, Refresh) and not self._stopping

    def _fly(self, account: AccountId, reason: Reason) -> "asyncio.Task[None]":
        delay = 0.0 if self._flights.running(account) else self._reserve(account)
        return self._flights.join(account, partial(self._refresh, account, reason, delay, self._served_now(account)))

    def _served_now(self, account: AccountId) -> Digest | None:
        """Return what names the access token a refresh is decided on: one that is there by the turn of the refresh makes it needless."""
        cell = self._cells.find(account)
        return token.digest() if cell is not None and (token := cell.entry.record.tokens.access_token) else None

    def _reserve(self, account: AccountId) -> float:
        """Take the next free moment for a POST to the account's provider; return the seconds until it."""
        cell, now = self._cells.find(account), self._clock.now().boot
        if cell is None or cell.stranded is not None:
            return 0.0  # nothing will be sent
        return self._pace.take(account.provider, now)

    async def _refresh(self, account: AccountId, reason: Reason, delay: float, decided_on: Digest | None) -> None:
        if delay > 0:
            await either(self._clock.sleep(delay), self._halt)
        cell = self._cells.find(account)
        if cell is None or (delay > 0 and self._stopping):
            return
        self._cells.tell(account)
        _log.info("refresh started", extra={"provider": account.provider, "reason": reason.value})
        try:
            if self._prepare is not None and await self._prepare():
                self._pace.late(account.provider, self._clock.now().boot)
            result = await self._try(account, cell, decided_on)
        except Exception as fault:  # noqa: BLE001 - a waiter must learn of a fault of ours, not spin on it
            _log.exception("refresh broke off", extra={"provider": account.provider})
            result = Failed(Transient(f"a fault of ours: {type(fault).__name__}"))
        if result is None:
            return
        # Before it lands: once an account is told to have landed, its flight is over.
        await self._rescue.follow(account, result)
        self._cells.land(account, result)

    async def _try(self, account: AccountId, cell: Cell, decided_on: Digest | None) -> Result | None:
        """Do one refresh; None where it was not begun, as the engine stopped while the account waited for its turn."""
        if (kept := cell.stranded) is not None:
            return await self._attempt.save(account, kept.tokens, kept.entry, kept.received)
        group = cell.policy.serial_group
        try:
            async with self._turns.take(group, LOCK_WAIT_SECONDS):
                if group is not None and self._stopping:
                    return None
                return await self._attempt.renew(account, decided_on, self._cells.known_of)
        except LockTimeoutError:
            return Failed(Transient(f"another process is renewing a login of {group}"))
        except StorageError as error:
            return Unwritable(error.detail)

    async def _recover(self, account: AccountId) -> None:
        result = await self._attempt.recover(account, self._cells.known_of)
        result = await self._rescue.settle(account, result)
        await self._rescue.follow(account, result)
        self._cells.land(account, result)

    # -- the loop

    async def _loop(self) -> None:
        due = 0.0
        while True:
            self._wake.clear()
            now, stirred, self._stirred = self._clock.now(), self._stirred, set()
            pause = self._sweep(now, self._cells if stirred is None else self._cells.some(stirred))
            due = now.boot + pause if stirred is None else min(due, now.boot + pause)
            if await either(self._clock.nap_until(due), self._wake):
                self._stirred = None

    def _sweep(self, now: Now, cells: Iterable[tuple[AccountId, Cell]]) -> float:
        """Start what is due; return the seconds until the next look."""
        pause = WAKE_SECONDS
        for account, cell in cells:
            if self._flights.running(account):
                continue
            if self._rescue.due(account, cell, now):
                self._flights.join(account, partial(self._recover, account))
                continue
            match plan.decide(self._cells.known(cell), now, ahead=self._config.ahead):
                case Refresh(reason=reason):
                    pause = min(pause, self._start_paced(account, reason, now))
                case Wait(boot=boot):
                    pause = min(pause, max(boot - now.boot, 0.0))
        return pause

    def _start_paced(self, account: AccountId, reason: Reason, now: Now) -> float:
        if wait := self._pace.wait(account.provider, now.boot):
            return wait
        self._fly(account, reason)
        return WAKE_SECONDS

    def _learn_skew(self, provider: str, seconds: float) -> None:
        self._cells.learn_skew(provider, seconds)
        self._stirred = None  # it bears on all of the provider's

    def _on_cell(self, account: AccountId) -> None:
        if self._stirred is not None:
            self._stirred.add(account)
        self._wake.set()
        self._changed.set()
        self._changed = asyncio.Event()


def _late(account: AccountId, max_wait: float) -> BrokerError:
    detail = f"{account} could not be renewed within the {max_wait:g} s you gave"
    return BrokerError(ErrorCode.DEADLINE_EXCEEDED, detail, account=str(account))
