"""Plan and limits of accounts, asked of their providers.

Owns: asking once for all who ask at the same time, and keeping what was said for a minute. It must never ask by itself: only where a person wants to know.
"""

import asyncio
import logging
import math
from dataclasses import dataclass, field, replace
from typing import assert_never

import msgspec

from broker.daemon.accounts import Accounts
from broker.ipc.schema import AccountQuota, QuotaWindow
from broker.login.runner import run_flow
from broker.login.waiting import within
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.oauth.failures import (
    AnswerLost,
    Failure,
    FlowFailedError,
    Misconfigured,
    Permanent,
    RateLimited,
    Transient,
)
from broker.oauth.transport import Transport
from broker.observe.logs import log_id
from broker.observe.tasks import spawn
from broker.providers.base import Quota
from broker.refresh.attempt import ClientFinder

_log = logging.getLogger(__name__)

KEPT_SECONDS = 60.0
_FAILURE_KEPT_SECONDS = 10.0  # long enough that a script in a loop does not hammer a provider that refuses
_MIN_VALIDITY_SECONDS = 60.0


class _Held(msgspec.Struct, frozen=True):
    until: float
    outcome: AccountQuota | BrokerError


@dataclass(slots=True)
class Quotas:
    """Asks. `max_wait` seconds bound every wait a client asks for; may be replaced at any time."""

    accounts: Accounts
    clients: ClientFinder
    transport: Transport
    max_wait: float
    _held: dict[AccountId, _Held] = field(default_factory=dict)
    _tasks: dict[AccountId, asyncio.Task[None]] = field(default_factory=dict)

    async def read(self, account: AccountId, max_wait: float) -> AccountQuota:
        """Return what the provider says, at most a minute old.

        Raises:
            BrokerError: `unknown_account`; `unsupported` where the provider cannot be asked; why there is no token, as a lease does;
                `rate_limited` or `quota_unavailable` where it refused; `deadline_exceeded`.
        """
        self.accounts.entry(account)
        held = self._fresh(account)
        if held is None:
            wait = min(max_wait, self.max_wait)
            task = self._tasks.get(account) or self._start(account)
            if not await within(self.accounts.clock, asyncio.wait({task}), wait, "quota-deadline"):
                detail = f"the provider of {account} did not answer within {wait:g} s"
                raise BrokerError(ErrorCode.DEADLINE_EXCEEDED, detail, account=str(account))
            held = self._held.get(account)
        if held is None:
            raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, f"{account} is gone", account=str(account))
        if isinstance(held.outcome, BrokerError):
            raise held.outcome
        return held.outcome

    def forget(self, account: AccountId) -> None:
        """Drop what is known of an account that is gone, and what is being asked: the next of its name may be another person's."""
        if (task := self._tasks.get(account)) is not None:
            task.cancel()
        self._held.pop(account, None)
        self.accounts.quotas.forget(account)

    async def close(self) -> None:
        """End the questions under way."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fresh(self, account: AccountId) -> _Held | None:
        held = self._held.get(account)
        return held if held is not None and self.accounts.clock.now().boot < held.until else None

    def _start(self, account: AccountId) -> "asyncio.Task[None]":
        task = spawn(self._fetch(account), name=f"quota-{account.provider}")
        self._tasks[account] = task
        task.add_done_callback(lambda _: self._tasks.pop(account, None))
        return task

    async def _fetch(self, account: AccountId) -> None:
        outcome: AccountQuota | BrokerError
        kept = KEPT_SECONDS
        try:
            outcome = await self._ask(account)
            self.accounts.quotas.remember(account, outcome)
        except BrokerError as error:
            outcome, kept = error, _FAILURE_KEPT_SECONDS
        except FlowFailedError as error:
            outcome, kept = self._failed(account, _refusal(error.failure, account)), _FAILURE_KEPT_SECONDS
        except Exception as fault:  # noqa: BLE001 - whatever a provider answers, the question must get an answer
            _log.error("quota not read", extra={"account": log_id(account), "error": type(fault).__name__})
            outcome = self._failed(account, _unavailable(account, "its answer could not be read"))
            kept = _FAILURE_KEPT_SECONDS
        self._held[account] = _Held(self.accounts.clock.now().boot + kept, outcome)

    def _failed(self, account: AccountId, error: BrokerError) -> BrokerError:
        self.accounts.quotas.failed(account, f"could not be read: {error.detail}", self.accounts.clock.now().wall)
        return error

    async def _ask(self, account: AccountId) -> AccountQuota:
        accounts, clock = self.accounts, self.accounts.clock
        provider = await self.clients.resolve(accounts.registry.get(account.provider))
        if provider.quota(accounts.entry(account).record, clock.now()) is None:
            detail = f"{provider.title} has no way to ask for plan and limits"
            raise BrokerError(ErrorCode.UNSUPPORTED, detail, account=str(account))
        grant = await accounts.engine.lease(account, min_validity=_MIN_VALIDITY_SECONDS, max_wait=self.max_wait)
        transport = self.transport.on_behalf(account.provider, grant.entry.record.routing.proxy_url)
        flow = provider.quota(replace(grant.entry.record, tokens=grant.tokens), clock.now())
        told = await run_flow(flow, transport, clock) if flow is not None else Quota()
        return shown(account, told, clock.now().wall)


def shown(account: AccountId, told: Quota, wall: float) -> AccountQuota:
    """Return a provider's answer as it goes out: numbers that are none are left out, for JSON has no word for them."""
    windows = tuple(
        QuotaWindow(name=each.name, used=_number(each.used), resets_at=_number(each.resets_at), note=each.note)
        for each in told.windows
    )
    return AccountQuota(
        account=str(account), read_at=round(wall, 3), plan=told.plan, windows=windows, notes=tuple(told.notes)
    )


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _refusal(failure: Failure, account: AccountId) -> BrokerError:
    match failure:
        case RateLimited(reason=reason, retry_after=seconds):
            return BrokerError(ErrorCode.RATE_LIMITED, reason, account=str(account), retry_after=seconds)
        case Permanent(reason=reason) | Misconfigured(reason=reason):
            return _unavailable(account, f"it refused: {reason}")
        case Transient(reason=reason) | AnswerLost(reason=reason):
            return _unavailable(account, reason)
        case _ as never:
            assert_never(never)


def _unavailable(account: AccountId, why: str) -> BrokerError:
    detail = f"the provider of {account} did not tell: {why}"
    return BrokerError(ErrorCode.QUOTA_UNAVAILABLE, detail, account=str(account))
