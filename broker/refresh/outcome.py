"""What follows from the end of a refresh: the next state, and what a caller is told while it lasts.

Owns: the table from `Failure` to `State` and from `State` to `BrokerError`. Pure.
"""

from typing import assert_never

from broker.model.account import (
    AccountId,
    Active,
    Ambiguous,
    Backoff,
    Freshness,
    NeedsLogin,
    Paused,
    Refreshing,
    State,
    Unsaved,
)
from broker.model.clock import Now
from broker.model.commands import way_in
from broker.model.errors import BrokerError, ErrorCode
from broker.model.network import PROXY_HINT
from broker.oauth.failures import AnswerLost, Failure, Misconfigured, Permanent, RateLimited, Transient
from broker.refresh import backoff
from broker.refresh.life import remaining
from broker.refresh.plan import Known, judge, renewable

STORAGE_RETRY_SECONDS = 5.0
_STORAGE_CAP_SECONDS = 60.0
_REPEAT_AT_ONCE_SECONDS = 0.2


def failed(failure: Failure, known: Known, now: Now, failures: int, unit: float) -> State:
    """Return the state after a refresh that failed; `failures` counts this one and those in a row before it."""
    match failure:
        case Permanent(reason=reason):
            return NeedsLogin(reason, now.wall, known.tokens.refresh_digest())
        case Transient(reason=reason):
            return Backoff(now.boot + backoff.delay(failures, unit), reason, failures)
        case RateLimited(reason=reason, retry_after=seconds):
            until = now.boot + backoff.told(seconds, failures, unit)
            return Backoff(until, reason, failures, ErrorCode.RATE_LIMITED)
        case Misconfigured(reason=reason):
            wait = backoff.delay(failures, unit, base=backoff.MISCONFIGURED_SECONDS)
            return Backoff(now.boot + wait, reason, failures, ErrorCode.MISCONFIGURED)
        case AnswerLost(reason=reason):
            return _lost(reason, known, now, failures, unit)
        case _ as never:
            assert_never(never)


def _lost(reason: str, known: Known, now: Now, failures: int, unit: float) -> State:
    digest = known.tokens.refresh_digest()
    if known.policy.forgives_repeat and failures == 1:
        return Backoff(now.boot + _REPEAT_AT_ONCE_SECONDS, reason, failures, ErrorCode.ANSWER_LOST)
    spendable = known.policy.forgives_repeat or judge(known, now, 0.0) is Freshness.DEAD
    if spendable or digest is None:
        # Nothing is left that a further try could harm.
        return Backoff(now.boot + backoff.delay(failures, unit), reason, failures, ErrorCode.ANSWER_LOST)
    return Ambiguous(now.wall, digest)


def unwritable(reason: str, now: Now, failures: int, unit: float) -> Backoff:
    """Return the state after storage was found unwritable before the refresh: nothing was spent."""
    wait = backoff.delay(failures, unit, base=STORAGE_RETRY_SECONDS, cap=_STORAGE_CAP_SECONDS)
    return Backoff(now.boot + wait, reason, failures, ErrorCode.STORAGE_UNWRITABLE)


def renewed(known: Known, now: Now, failures: int, unit: float) -> State:
    """Return the state after a new grant arrived; `failures` counts refreshes in a row that helped nothing, this one included.

    A grant that is already due again backs off instead of spinning.
    """
    if judge(known, now, 0.0) is Freshness.FRESH:
        return Active()
    reason = "the provider issued a token that has already ended or is about to"
    return Backoff(now.boot + backoff.delay(failures, unit), reason, failures)


def refusal(account: AccountId, known: Known, now: Now) -> BrokerError | None:
    """Say why a caller cannot have a token now; None where a refresh may help."""
    name = str(account)
    login = f"Run: {way_in(account.provider)}"
    error: BrokerError | None = None
    match known.state:
        case Paused():
            hint = f"Run: ccs-broker resume {name}"
            error = BrokerError(ErrorCode.ACCOUNT_PAUSED, f"{name} is paused", account=name, hint=hint)
        case NeedsLogin(reason=reason):
            detail = f"{name} needs a new login: {reason}"
            error = BrokerError(ErrorCode.LOGIN_REQUIRED, detail, account=name, hint=login)
        case Backoff(until=until, reason=reason, code=code) if until > now.boot:
            detail = f"{name} could not be renewed: {reason}"
            error = BrokerError(code, detail, account=name, retry_after=until - now.boot)
        case Ambiguous():
            error = _ambiguous(name, known, now)
        case Unsaved(reason=reason):
            detail = f"{name} has a grant that storage refuses ({reason}); none newer can be had until it is saved"
            error = BrokerError(ErrorCode.STORAGE_UNWRITABLE, detail, account=name)
        case Active() | Refreshing() | Backoff():
            pass
        case _ as never:
            assert_never(never)
    if error is None and not renewable(known):
        ended = bool(known.tokens.access_token) and remaining(known.life, now, known.skew) <= 0
        why = "the token or key in its file has ended" if ended else "it has no usable token"
        detail = f"{name} cannot be served: {why}, and there is nothing to renew it with"
        error = BrokerError(ErrorCode.LOGIN_REQUIRED, detail, account=name, hint=login)
    return error


def disabled(account: AccountId) -> BrokerError:
    """Say that the account's own file takes it out of service."""
    name = str(account)
    hint = 'Set "disabled": false in its file.'
    return BrokerError(ErrorCode.ACCOUNT_PAUSED, f"{name} is disabled by its file", account=name, hint=hint)


def unreachable(account: AccountId, why: str) -> BrokerError:
    """Say that the account's own file names a way out that cannot be taken."""
    name = str(account)
    detail = f"{name} is not served: proxy_url in its file {why}"
    return BrokerError(ErrorCode.MISCONFIGURED, detail, account=name, hint=PROXY_HINT)


def _ambiguous(name: str, known: Known, now: Now) -> BrokerError | None:
    left = remaining(known.life, now, known.skew)
    if left <= 0 or judge(known, now, 0.0) is Freshness.DEAD:
        return None
    detail = f"a renewal of {name} was sent and its answer lost; its token is good for {left:.0f} s more"
    return BrokerError(ErrorCode.ANSWER_LOST, detail, account=name, retry_after=left)
