"""Which accounts to try, and why the others not.

Owns: the judgement of one account for one model, and the order of those that can be used. Pure; it must never ask for a token.

Order: those with a token at hand first, then by provider as the model's table says, a provider's default account before the others, the others in turn.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from broker.ipc.schema import Cooldown, Lease, WatchAccount
from broker.model.account import StateName

MIN_VALIDITY_SECONDS: Final = 30.0
"""A request begun with less left on its token may be refused before it is read; long uploads take seconds."""

_SHORT_VALIDITY_SECONDS: Final = 1.0  # where the provider's tokens live no longer, what there is must do


class Why(StrEnum):
    """Why an account cannot serve."""

    PAUSED = "paused"
    DISABLED = "disabled"
    NEEDS_LOGIN = "needs_login"
    COOLING = "cooling"


class Unusable(msgspec.Struct, frozen=True):
    """An account that cannot serve, and one sentence why. `until` is wall-clock seconds, for one that cools."""

    account: str
    provider: str
    why: Why
    text: str
    until: float | None = None


class Candidate(msgspec.Struct, frozen=True):
    """An account to try. `lease` None means a token has to be asked for first."""

    account: str
    provider: str
    lease: Lease | None


def usable(lease: Lease | None, now: float) -> bool:
    """Tell whether a lease is good for a new request. `now` is wall-clock seconds."""
    if lease is None:
        return False
    if lease.expires_at is None:
        return True
    return lease.expires_at - now >= (_SHORT_VALIDITY_SECONDS if lease.short else MIN_VALIDITY_SECONDS)


def candidates(
    accounts: Iterable[WatchAccount], providers: Sequence[str], model: str, now: float, turn: int
) -> tuple[Candidate, ...]:
    """Return the accounts to try for a model, in order.

    `accounts` in a stable order; only those of `providers` count, which are ranked by their place. `turn` rotates the accounts of a provider
    that are not its default.
    """
    ranked: list[tuple[bool, int, int, Candidate]] = []
    others: dict[str, int] = {}
    for account in accounts:
        view = account.view
        if view.provider not in providers or judge(account, model, now) is not None:
            continue
        place = -1
        if not view.default:
            place = others.get(view.provider, 0)
            others[view.provider] = place + 1
        lease = account.lease if usable(account.lease, now) else None
        ranked.append(
            (lease is None, providers.index(view.provider), place, Candidate(view.account, view.provider, lease))
        )
    if len(ranked) == 1:
        return (ranked[0][3],)
    ranked.sort(key=lambda entry: (entry[0], entry[1], _turned(entry[2], turn, others.get(entry[3].provider, 1))))
    return tuple(entry[3] for entry in ranked)


def unusable(
    accounts: Iterable[WatchAccount], providers: Sequence[str], model: str, now: float
) -> tuple[Unusable, ...]:
    """Return why the other accounts of `providers` are not among the candidates."""
    found = (judge(account, model, now) for account in accounts if account.view.provider in providers)
    return tuple(reason for reason in found if reason is not None)


def judge(account: WatchAccount, model: str, now: float) -> Unusable | None:
    """Return why an account cannot serve this model now, or None."""
    view = account.view
    if view.disabled:
        return Unusable(view.account, view.provider, Why.DISABLED, "is disabled in its file")
    if view.paused or view.state == StateName.PAUSED:
        return Unusable(view.account, view.provider, Why.PAUSED, f"is paused; run: ccs-broker resume {view.account}")
    if view.state == StateName.NEEDS_LOGIN:
        cause = f" ({view.reason})" if view.reason else ""
        text = f"needs a login{cause}; run: ccs-broker login {view.provider}"
        return Unusable(view.account, view.provider, Why.NEEDS_LOGIN, text)
    cooldown = _cooling(view.cooldowns, model, now)
    if cooldown is not None:
        text = f"cools down for {cooldown.until - now:.0f} s more ({cooldown.reason or 'limited by the provider'})"
        return Unusable(view.account, view.provider, Why.COOLING, text, cooldown.until)
    return None


def _cooling(cooldowns: Iterable[Cooldown], model: str, now: float) -> Cooldown | None:
    found: Cooldown | None = None
    for cooldown in cooldowns:
        if cooldown.until > now and cooldown.model in (None, model) and (found is None or cooldown.until > found.until):
            found = cooldown
    return found


def _turned(place: int, turn: int, size: int) -> int:
    return place if place < 0 else (place - turn) % size
