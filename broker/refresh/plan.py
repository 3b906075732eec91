"""Whether to refresh now, when to look again, and whether a caller may have what there is.

Owns: every rule about time and tokens. Pure: all of it are functions of what is known and one reading of the clocks.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import msgspec

from broker.model.account import (
    Active,
    Ambiguous,
    Backoff,
    Freshness,
    NeedsLogin,
    Paused,
    Refreshing,
    State,
    Tokens,
    Unsaved,
)
from broker.model.clock import Now
from broker.model.errors import ErrorCode
from broker.model.quick import quickly_made
from broker.model.secret import Digest
from broker.providers.base import RefreshPolicy
from broker.refresh.life import Life, need, remaining

_JITTER_SHARE = 0.2
_ASSUMED_LIFETIME_SECONDS = 3600.0


class Reason(StrEnum):
    """Why a refresh is started; it stands in the log and in the metrics."""

    EXPIRING = "expiring"
    EXPIRED = "expired"
    MISSING = "missing"
    ASKED = "asked"
    REJECTED = "rejected"
    FORCED = "forced"
    LOST_ANSWER = "lost_answer"
    UNSAVED = "unsaved"


@quickly_made
@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of one account. `jitter` in [0, 1) is drawn anew for each grant; `rejected` names an access token an API refused."""

    tokens: Tokens
    life: Life
    state: State
    policy: RefreshPolicy
    jitter: float = 0.0
    skew: float = 0.0
    rejected: Digest | None = None


class Refresh(msgspec.Struct, frozen=True):
    """Do it now."""

    reason: Reason


class Wait(msgspec.Struct, frozen=True):
    """Look again at `boot` seconds of the boot clock, or when something changes."""

    boot: float


class Idle(msgspec.Struct, frozen=True):
    """Nothing will be due until something changes."""


Decision = Refresh | Wait | Idle


def renewable(known: Known) -> bool:
    """Tell whether there is anything to renew with."""
    return known.tokens.refresh_token is not None and bool(known.tokens.refresh_token)


def lead(known: Known) -> float:
    """Return how many seconds before its end a token is renewed, jitter included.

    At most `lead_share` of the lifetime, so that a token of a few seconds is not renewed the moment it arrives.
    """
    lifetime = known.life.lifetime or _ASSUMED_LIFETIME_SECONDS
    base = min(known.policy.lead_seconds, known.policy.lead_share * lifetime)
    return base * (1 + _JITTER_SHARE * known.jitter)


def judge(known: Known, now: Now, min_validity: float) -> Freshness:
    """Say whether a caller who needs `min_validity` seconds may have the token there is.

    A token an API has rejected is dead whatever its expiry says.
    """
    token = known.tokens.access_token
    if not token or (known.rejected is not None and token.digest() == known.rejected):
        return Freshness.DEAD
    left = remaining(known.life, now, known.skew)
    if left <= 0 or left < need(known.life, min_validity):
        return Freshness.DEAD
    return Freshness.STALE if left < lead(known) else Freshness.FRESH


def decide(known: Known, now: Now, *, ahead: bool) -> Decision:
    """Decide what the background loop does with an account.

    `ahead` false (the setting) leaves renewals to callers; what was begun is still finished: unsaved grants are retried.
    """
    match known.state:
        case Refreshing() | NeedsLogin():
            return Idle()
        case Unsaved(retry_at=retry_at):
            return Refresh(Reason.UNSAVED) if now.boot >= retry_at else Wait(retry_at)
        case Backoff(until=until) if until > now.boot:
            return Wait(until) if ahead else Idle()
        case Backoff(code=ErrorCode.ANSWER_LOST) if renewable(known):
            return Refresh(Reason.LOST_ANSWER) if ahead else Idle()
        case Ambiguous():
            return _decide_ambiguous(known, now, ahead=ahead)
        case Active() | Paused() | Backoff():
            return _decide_by_life(known, now, ahead=ahead)
        case _ as never:
            assert_never(never)


def _decide_by_life(known: Known, now: Now, *, ahead: bool) -> Decision:
    if not renewable(known) or not ahead:
        return Idle()
    if not known.tokens.access_token:
        return Refresh(Reason.MISSING)
    left = remaining(known.life, now, known.skew)
    margin = lead(known)
    if left <= 0:
        return Refresh(Reason.EXPIRED)
    if left <= margin:
        return Refresh(Reason.EXPIRING)
    return Wait(now.boot + left - margin)


def _decide_ambiguous(known: Known, now: Now, *, ahead: bool) -> Decision:
    """Spend the old refresh token only when the access token has ended.

    Its successor never reached us, so nothing is lost by trying then; an earlier try could revoke what still works.
    """
    if may_spend(known, now):
        return Refresh(Reason.LOST_ANSWER) if ahead else Idle()
    return Wait(now.boot + remaining(known.life, now, known.skew))


def settled(known: Known, now: Now, decided_on: Digest | None) -> bool:
    """Tell, after the file was read again under the lock, whether somebody else has already done the work.

    `decided_on` is the digest of the access token the refresh was decided on: another one that is fresh means another process
    or program renewed the login meanwhile.
    """
    token = known.tokens.access_token
    if not token or token.digest() == decided_on:
        return False
    return judge(known, now, 0.0) is Freshness.FRESH


def may_spend(known: Known, now: Now) -> bool:
    """Tell whether a refresh token whose last answer was lost may be presented again.

    At once where the provider forgives a repeat; else only when the access token is of no more use.
    """
    return known.policy.forgives_repeat or judge(known, now, 0.0) is Freshness.DEAD
