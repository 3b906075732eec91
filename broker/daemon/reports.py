"""What clients tell about the tokens they borrowed.

Owns: turning a report into a cool-down, a renewal or nothing. It must never trust a report further than that: the worst a lying client of the same
user can do is make an account rest for an hour, or be renewed once.
"""

import logging

import msgspec

from broker.daemon.accounts import Accounts
from broker.daemon.publisher import Publisher
from broker.daemon.views import lease_of
from broker.ipc.schema import Report, ReportAnswer
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.audit import Audit, Event
from broker.observe.logs import log_id
from broker.observe.metrics import Metrics
from broker.observe.redact import redact

_log = logging.getLogger(__name__)

_OUTCOMES = ("rejected", "limited", "ok")
_MAX_TEXT = 200


class Reports(msgspec.Struct):
    """Takes reports. `max_wait` seconds bound every wait a report asks for; may be replaced at any time."""

    accounts: Accounts
    publisher: Publisher
    metrics: Metrics
    audit: Audit
    max_wait: float
    _rejections: dict[AccountId, int] = msgspec.field(default_factory=dict)

    async def take(self, report: Report, waited: float = 0.0) -> ReportAnswer:
        """Act on a report; `waited` seconds of its `max_wait` are over.

        Raises:
            BrokerError: `bad_request` naming the field, `unknown_provider`, `unknown_account`, or for `rejected` what a lease raises.
        """
        _check(report)
        named = AccountId.parse(report.account)
        account = self.accounts.named(named.provider, named.label)
        self.metrics.reported(account.provider, report.outcome)
        if report.outcome == "rejected":
            return await self._rejected(account, report, waited)
        if report.outcome == "limited":
            return self._limited(account, report)
        self.accounts.engine.accepted(account)
        if self.accounts.cooldowns.succeeded(account, report.model, self.accounts.clock.now().wall):
            self.publisher.touch(account)
        return ReportAnswer()

    async def _rejected(self, account: AccountId, report: Report, waited: float) -> ReportAnswer:
        current = self.accounts.entry(account).generation
        if report.generation >= current and self._rejections.get(account) != current:
            # Hundreds of callers find out at once; the log and the trail need to know it once.
            self._rejections[account] = current
            self.audit.record(Event.REJECTED, account, generation=report.generation)
            _log.info("token rejected by the api", extra={"account": log_id(account), "generation": report.generation})
        grant = await self.accounts.engine.rejected(
            account,
            report.generation,
            min_validity=report.min_validity,
            max_wait=min(report.max_wait, self.max_wait),
            waited=waited,
        )
        return ReportAnswer(lease=lease_of(grant.entry, grant.tokens, short=grant.short))

    def _limited(self, account: AccountId, report: Report) -> ReportAnswer:
        now = self.accounts.clock.now().wall
        seconds = report.retry_after if report.until is None else report.until - now
        made = self.accounts.cooldowns.limit(account, report.model, seconds, redact(report.reason), now)
        self.publisher.touch(account)
        fields = {"account": log_id(account), "model": report.model, "seconds": round(made.until - now, 1)}
        _log.info("cool-down set", extra=fields)
        return ReportAnswer(cooldown=made)


def _check(report: Report) -> None:
    if report.outcome not in _OUTCOMES:
        raise _fault(f"outcome must be one of {', '.join(_OUTCOMES)}, not {report.outcome[:60]!r}")
    for name in ("generation", "until", "retry_after", "min_validity", "max_wait"):
        value = getattr(report, name)
        if value is not None and value < 0:
            raise _fault(f"{name} must not be negative")
    for name in ("model", "reason"):
        value = getattr(report, name)
        if value is not None and (len(value) > _MAX_TEXT or not value.isprintable()):
            raise _fault(f"{name} must be printable and have at most {_MAX_TEXT} characters")


def _fault(detail: str) -> BrokerError:
    return BrokerError(ErrorCode.BAD_REQUEST, detail)
