"""The worker's table of leases: fed by the daemon's push stream, read on every request without a socket call.

Owns: the table, following the stream across daemon restarts, borrowing and reporting with a bound, and cool-downs as this worker sees them. While the daemon
is away the table stays as it is and its leases serve until they expire (promise P5). It must never hold a refresh token: none ever comes over the socket.

What follows from the table is decided in `choose`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final, Protocol

import msgspec

from broker.ipc.schema import (
    Changed,
    Cooldown,
    Lease,
    Removed,
    Report,
    ReportAnswer,
    Snapshot,
    WatchAccount,
    WatchEvent,
)
from broker.model.account import AccountId
from broker.model.clock import Chance, Clock
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.logs import log_id
from broker.observe.tasks import spawn
from broker.proxy.attempts import Leased, Limit, cooldown_seconds
from broker.proxy.choose import MIN_VALIDITY_SECONDS, meant
from broker.proxy.naming import Goal

_log = logging.getLogger(__name__)

_BORROW_WAIT_SECONDS: Final = 10.0
_MAX_COOLING: Final = 4096
_FIRST_PAUSE_SECONDS: Final = 0.1  # a daemon that restarts is back in well under a second
_MAX_PAUSE_SECONDS: Final = 5.0
_MAX_MEANT: Final = 1024  # model names come from clients
_LOGIN_CODES: Final = frozenset({ErrorCode.LOGIN_REQUIRED, ErrorCode.NO_ACCOUNT})


class LeaseSource(Protocol):
    """The daemon, as far as the proxy needs it; `broker.ipc.client.BrokerClient` is one. All raise BrokerError."""

    async def lease(self, account: AccountId | str, *, min_validity: float = ..., max_wait: float = ...) -> Lease:
        """Borrow a token."""
        ...

    async def report(self, report: Report) -> ReportAnswer:
        """Tell what happened with a lease."""
        ...

    def watch(self, last_event_id: str | None = ...) -> AsyncIterator[tuple[str, WatchEvent]]:
        """Follow the accounts."""
        ...


class LeaseTable:
    """All accounts with their leases, as last heard."""

    def __init__(self, source: LeaseSource, clock: Clock, chance: Chance) -> None:
        """Start empty; `follow` fills it."""
        self._source = source
        self._clock = clock
        self._chance = chance
        self._accounts: dict[str, WatchAccount] = {}
        self._cooling: dict[tuple[str, str | None], Cooldown] = {}
        self._strikes: dict[tuple[str, str], int] = {}
        self._ordered: tuple[WatchAccount, ...] | None = ()
        self._meant: dict[tuple[Goal, ...], tuple[WatchAccount, ...]] = {}
        self._prefixes: frozenset[str] | None = frozenset()
        self._providers: frozenset[str] | None = frozenset()
        self.connected = False
        self.settled = asyncio.Event()
        """Set once it is known whether the daemon is there."""
        self.away = "it has not been reached yet"
        """Why nothing was ever heard from the daemon; empty once something was."""
        self._last_event: str | None = None
        self._lost_told = False
        self._untold: dict[tuple[str, str | None], Report] = {}

    def accounts(self) -> tuple[WatchAccount, ...]:
        """Return all accounts in a stable order."""
        if self._ordered is None:
            self._ordered = tuple(self._merged(self._accounts[name]) for name in sorted(self._accounts))
            self._meant.clear()
        return self._ordered

    def meant(self, goals: tuple[Goal, ...]) -> tuple[WatchAccount, ...]:
        """Return the accounts that some of the goals speak of, in the same order; worked out once for each change."""
        accounts = self.accounts()
        found = self._meant.get(goals)
        if found is None:
            if len(self._meant) >= _MAX_MEANT:
                self._meant.clear()
            found = tuple(account for account in accounts if any(meant(account, goal) for goal in goals))
            self._meant[goals] = found
        return found

    @property
    def several(self) -> bool:
        """Whether there is anything to choose from."""
        return len(self._accounts) > 1

    def prefixes(self) -> frozenset[str]:
        """Return the prefixes accounts have."""
        if self._prefixes is None:
            self._prefixes = frozenset(each.view.prefix for each in self._accounts.values() if each.view.prefix)
        return self._prefixes

    def providers(self) -> frozenset[str]:
        """Return the providers there are accounts of."""
        if self._providers is None:
            self._providers = frozenset(each.view.provider for each in self._accounts.values())
        return self._providers

    async def follow(self) -> None:
        """Keep the table up to date until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            heard = False
            try:
                async for event_id, event in self._source.watch(self._last_event):
                    heard = self._hear(event_id, event)
            except BrokerError as error:
                self._lost(error)
            except Exception:  # noqa: BLE001 - an event we stumble over must not end the following for good
                _log.exception("push stream not understood")
                self._last_event = None
            if heard:
                pause = _FIRST_PAUSE_SECONDS
            self.connected = False
            await self._clock.sleep(pause * (0.5 + self._chance.unit()))
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)

    async def borrow(self, account: str) -> Leased:
        """Ask for a token there is none of in the table."""
        try:
            lease = await self._source.lease(account, min_validity=MIN_VALIDITY_SECONDS, max_wait=_BORROW_WAIT_SECONDS)
        except BrokerError as error:
            return _refused(error)
        self._keep(lease)
        return Leased(lease)

    async def reject(self, account: str, generation: int) -> Leased:
        """Report a token as rejected; the answer holds the next one."""
        held = self._accounts.get(account)
        if held is not None and held.lease is not None and held.lease.generation > generation:
            return Leased(held.lease)  # it was renewed while this request was under way
        report = Report(
            account=account,
            generation=generation,
            outcome="rejected",
            min_validity=MIN_VALIDITY_SECONDS,
            max_wait=_BORROW_WAIT_SECONDS,
        )
        try:
            answer = await self._source.report(report)
        except BrokerError as error:
            return _refused(error)
        if answer.lease is None:
            return Leased(None, "the provider rejects its token and there is no newer one")
        self._keep(answer.lease)
        return Leased(answer.lease)

    def limit(self, limit: Limit) -> None:
        """Cool an account down for a model: here at once, for all workers through the daemon."""
        model = limit.model
        key = (limit.account, model)
        strikes = self._strikes.get(key, 0)
        now = self._clock.now().wall
        earlier = self._cooling.get(key)
        if earlier is None or earlier.until <= now:
            self._strikes[key] = strikes + 1  # a burst counts once
        until = now + cooldown_seconds(limit.seconds, strikes)
        self._cooling[key] = Cooldown(model, until, limit.reason)
        self._ordered = None
        if len(self._cooling) > _MAX_COOLING:
            self._forget_ended(now)
        report = Report(
            account=limit.account,
            generation=limit.generation,
            outcome="limited",
            model=model,
            until=until,
            reason=limit.reason,
        )
        spawn(self._tell(report, key), name="proxy-report")

    def served(self, account: str, generation: int, model: str) -> None:
        """Note a success: it ends what the failures before it began."""
        if self._strikes and self._strikes.pop((account, model), None) is not None:
            self._cooling.pop((account, model), None)
            self._ordered = None
            self._untold.pop((account, model), None)
            report = Report(account=account, generation=generation, outcome="ok", model=model)
            spawn(self._tell(report, None), name="proxy-report")

    def held(self) -> int:
        """Return how many leases there are."""
        return sum(account.lease is not None for account in self._accounts.values())

    def _lost(self, error: BrokerError) -> None:
        if self.connected or not self._lost_told:
            _log.warning("daemon not reachable", extra={"code": error.code.value, "detail": error.detail})
            self._lost_told = True
        if not self._accounts:
            self.away = error.detail
        self.settled.set()

    def _hear(self, event_id: str, event: WatchEvent) -> bool:
        match event:
            case Snapshot():
                self._accounts = {each.view.account: each for each in event.accounts}
                # What the daemon was told of it knows better, resets by a person included.
                self._cooling = {key: self._cooling[key] for key in self._untold if key in self._cooling}
                untold, self._untold = self._untold, {}
                for key, report in untold.items():
                    spawn(self._tell(report, key), name="proxy-report")
                _log.info("following the daemon", extra={"accounts": len(event.accounts), "version": event.version})
            case Changed():
                self._change(event.account)
            case Removed():
                self._accounts.pop(event.account, None)
        self._ordered = self._prefixes = self._providers = None
        self._last_event = event_id or self._last_event
        self.connected = True
        self._lost_told = False
        self.away = ""
        self.settled.set()
        return True

    def _forget_ended(self, now: float) -> None:
        """Forget cool-downs that are over, with what came before them: names of models come from clients."""
        self._cooling = {key: each for key, each in self._cooling.items() if each.until > now}
        self._strikes = {key: count for key, count in self._strikes.items() if key in self._cooling}

    def _change(self, account: WatchAccount) -> None:
        name = account.view.account
        known = self._accounts.get(name)
        if known is not None and known.view.cooldowns and not account.view.cooldowns:
            for key in [key for key in self._cooling if key[0] == name]:
                del self._cooling[key]
            now = self._clock.now().wall
            if any(each.until > now for each in known.view.cooldowns):
                # Taken back before it was over, by a person or after a success: what comes next begins anew.
                self._strikes = {key: count for key, count in self._strikes.items() if key[0] != name}
        self._accounts[name] = account

    def _keep(self, lease: Lease) -> None:
        known = self._accounts.get(lease.account)
        if known is None or (known.lease is not None and known.lease.generation > lease.generation):
            return
        self._accounts[lease.account] = WatchAccount(known.view, lease)
        self._ordered = None

    def _merged(self, account: WatchAccount) -> WatchAccount:
        name = account.view.account
        own = tuple(cooldown for (owner, _), cooldown in self._cooling.items() if owner == name)
        if not own:
            return account
        view = msgspec.structs.replace(account.view, cooldowns=account.view.cooldowns + own)
        return WatchAccount(view, account.lease)

    async def _tell(self, report: Report, key: tuple[str, str | None] | None) -> None:
        """Report; what could not be told is told with the next snapshot, if it is a cool-down (`key`)."""
        try:
            await self._source.report(report)
        except BrokerError as error:
            if key is not None:
                self._untold[key] = report
            account = log_id(AccountId.parse(report.account))
            _log.warning(
                "report not taken", extra={"account": account, "outcome": report.outcome, "code": error.code.value}
            )


def _refused(error: BrokerError) -> Leased:
    return Leased(None, f"{error.detail} ({error.hint})" if error.hint else error.detail, error.code in _LOGIN_CODES)
