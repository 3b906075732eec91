"""How a login stands, and what a failed one is called.

Owns: the union of a login's states, and the table from `Failure` to `BrokerError` as a login sees it. Pure.
"""

from dataclasses import dataclass
from typing import assert_never

from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.oauth import device
from broker.oauth.failures import AnswerLost, Failure, Misconfigured, Permanent, RateLimited, Transient


@dataclass(frozen=True, slots=True)
class Waiting:
    """The person has not come back from the provider's page."""


@dataclass(frozen=True, slots=True)
class Finishing:
    """The provider said yes; the code is exchanged and the account set up."""


@dataclass(frozen=True, slots=True)
class Done:
    """Stored as `account` in `file`. `notes` are sentences for the person."""

    account: AccountId
    file: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """Ended without a login."""

    error: BrokerError


LoginState = Waiting | Finishing | Done | Failed


def name_of(state: LoginState) -> str:
    """Return what a state is called on the socket."""
    match state:
        case Waiting():
            return "waiting"
        case Finishing():
            return "finishing"
        case Done():
            return "done"
        case Failed():
            return "failed"
        case _ as never:
            assert_never(never)


def expired(what: str, seconds: float) -> BrokerError:
    """Return the error of a login for which somebody's time is over: `what` did not happen."""
    told = f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
    return BrokerError(ErrorCode.LOGIN_EXPIRED, f"{what} within {told}")


def addressed(error: BrokerError, provider: str) -> BrokerError:
    """Return the error with the provider's name where its hint leaves a gap for one."""
    error.hint = error.hint.replace("login PROVIDER", f"login {provider}")
    return error


def error_of(failure: Failure, *, setting_up: bool) -> BrokerError:
    """Return what a person is told. `setting_up`: the code was exchanged already, and a step after it failed."""
    error: BrokerError
    match failure:
        case Permanent(reason=reason) if setting_up:
            error = BrokerError(ErrorCode.LOGIN_DENIED, reason, hint="Use an account that may use this service.")
        case Permanent(code=device.DENIED, reason=reason):
            error = BrokerError(ErrorCode.LOGIN_DENIED, reason)
        case Permanent(code=device.EXPIRED, reason=reason):
            error = BrokerError(ErrorCode.LOGIN_EXPIRED, reason)
        case Permanent(reason=reason):
            detail = f"the provider did not accept the code: {reason}"
            error = BrokerError(ErrorCode.LOGIN_FAILED, detail, retryable=False)
        case Misconfigured(code=code, reason=reason):
            hint = "Log in again with --project PROJECT_ID." if code == "project_required" else None
            error = BrokerError(ErrorCode.MISCONFIGURED, reason, hint=hint)
        case RateLimited(reason=reason, retry_after=seconds):
            error = BrokerError(ErrorCode.RATE_LIMITED, reason, retry_after=seconds)
        case Transient(reason=reason):
            error = BrokerError(ErrorCode.LOGIN_FAILED, reason)
        case AnswerLost(reason=reason):
            error = BrokerError(ErrorCode.LOGIN_FAILED, f"no usable answer came from the provider: {reason}")
        case _ as never:
            assert_never(never)
    return error
