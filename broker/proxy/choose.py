"""Which accounts to try, and why the others not.

Owns: the judgement of one account for one model, and the order of those that can be used. Pure; it must never ask for a token.

Order within a goal: by the priority of the accounts' files, then those with a token at hand, then by provider as the model's table says, then as the strategy
has it.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, assert_never

import msgspec

from broker.ipc.schema import Cooldown, Lease, WatchAccount
from broker.model.account import StateName
from broker.model.commands import way_in
from broker.model.naming import Strategy
from broker.proxy.naming import Goal

MIN_VALIDITY_SECONDS: Final = 30.0
"""A request begun with less left on its token may be refused before it is read; long uploads take seconds."""

_SHORT_VALIDITY_SECONDS: Final = 1.0  # where the provider's tokens live no longer, what there is must do


class Why(StrEnum):
    """Why an account cannot serve."""

    PAUSED = "paused"
    DISABLED = "disabled"
    NEEDS_LOGIN = "needs_login"
    EXCLUDED = "excluded"
    COOLING = "cooling"


class Unusable(msgspec.Struct, frozen=True):
    """An account that cannot serve, and one sentence why. `until` is wall-clock seconds, for one that cools."""

    account: str
    provider: str
    why: Why
    text: str
    until: float | None = None


class Picking(msgspec.Struct, frozen=True):
    """What decides among equals for one request.

    `turn` is the number of the request. A `session` sticks to its account as long as that can serve, whatever the strategy. `busy` counts the requests
    under way for each account; `draw` are two numbers from 0 to 1, 1 excluded.
    """

    strategy: Strategy = Strategy.ROUND_ROBIN
    turn: int = 0
    session: str | None = None
    busy: Mapping[str, int] = {}
    draw: tuple[float, float] = (0.0, 0.0)


class Candidate(msgspec.Struct, frozen=True):
    """An account to try, and the model to ask it for.

    `lease` None means a token has to be asked for first. `goal` numbers the models of a chain. `pause` is how many seconds to wait before it is worth asking.
    """

    account: str
    provider: str
    lease: Lease | None
    model: str = ""
    goal: int = 0
    pause: float = 0.0


def usable(lease: Lease | None, now: float) -> bool:
    """Tell whether a lease is good for a new request. `now` is wall-clock seconds."""
    if lease is None:
        return False
    if lease.expires_at is None:
        return True
    return lease.expires_at - now >= (_SHORT_VALIDITY_SECONDS if lease.short else MIN_VALIDITY_SECONDS)


def candidates(
    accounts: Sequence[WatchAccount], goals: Sequence[Goal], now: float, picking: Picking
) -> tuple[Candidate, ...]:
    """Return the accounts to try, goal by goal, in order. `accounts` come in a stable order; `now` is wall-clock seconds."""
    if len(goals) == 1:
        if len(accounts) == 1:
            return _alone(accounts[0], goals[0], now)
        return tuple(_of_goal(accounts, goals[0], 0, now, picking))
    return tuple(each for number, goal in enumerate(goals) for each in _of_goal(accounts, goal, number, now, picking))


def cooling(
    accounts: Iterable[WatchAccount], goals: Sequence[Goal], now: float, seconds: float
) -> tuple[Candidate, ...]:
    """Return the accounts that do nothing but cool down, and are ready within so many seconds; each with its pause."""
    found: list[Candidate] = []
    for account in accounts:
        for number, goal in enumerate(goals):
            told = judge(account, goal.model, now) if meant(account, goal) else None
            if told is not None and told.until is not None and told.until - now <= seconds:
                lease = account.lease if usable(account.lease, now) else None
                found.append(Candidate(told.account, told.provider, lease, goal.model, number, told.until - now))
    return tuple(found)


def _alone(account: WatchAccount, goal: Goal, now: float) -> tuple[Candidate, ...]:
    """Return the one account there is, where it can serve: there is nothing to put in order."""
    if not meant(account, goal) or judge(account, goal.model, now) is not None:
        return ()
    view, lease = account.view, account.lease
    return (Candidate(view.account, view.provider, lease if usable(lease, now) else None, goal.model),)


def _of_goal(
    accounts: Iterable[WatchAccount], goal: Goal, number: int, now: float, picking: Picking
) -> Iterable[Candidate]:
    groups: dict[tuple[int, bool, int], list[WatchAccount]] = {}
    for account in accounts:
        if not meant(account, goal) or judge(account, goal.model, now) is not None:
            continue
        view = account.view
        rank = (-view.priority, not usable(account.lease, now), goal.providers.index(view.provider))
        groups.setdefault(rank, []).append(account)
    for rank in sorted(groups):
        for account in _ordered(groups[rank], picking):
            view = account.view
            yield Candidate(view.account, view.provider, None if rank[1] else account.lease, goal.model, number)


def meant(account: WatchAccount, goal: Goal) -> bool:
    """Tell whether a goal speaks of this account at all."""
    view = account.view
    if view.provider not in goal.providers or view.account in goal.without:
        return False
    return goal.prefix is None or view.prefix == goal.prefix


def unusable(accounts: Iterable[WatchAccount], goals: Sequence[Goal], now: float) -> tuple[Unusable, ...]:
    """Return why other accounts the goals speak of are not among the candidates; an account that can serve one of them is not told."""
    told: list[Unusable] = []
    for account in accounts:
        reasons = [judge(account, goal.model, now) for goal in goals if meant(account, goal)]
        found = [reason for reason in reasons if reason is not None]
        if found and len(found) == len(reasons):
            told.append(found[0])
    return tuple(told)


def judge(account: WatchAccount, model: str, now: float) -> Unusable | None:
    """Return why an account cannot serve this model now, or None."""
    view = account.view
    if view.disabled:
        return Unusable(view.account, view.provider, Why.DISABLED, "is disabled in its file")
    if view.paused or view.state == StateName.PAUSED:
        return Unusable(view.account, view.provider, Why.PAUSED, f"is paused; run: ccs-broker resume {view.account}")
    if view.state == StateName.NEEDS_LOGIN:
        cause = f" ({view.reason})" if view.reason else ""
        text = f"needs a login{cause}; run: {way_in(view.provider)}"
        return Unusable(view.account, view.provider, Why.NEEDS_LOGIN, text)
    if view.excluded_models and any(fnmatchcase(model, glob) for glob in view.excluded_models):
        return Unusable(
            view.account, view.provider, Why.EXCLUDED, f"does not serve {model} (excluded_models in its file)"
        )
    cooldown = _cooling(view.cooldowns, model, now) if view.cooldowns else None
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


def _ordered(equals: list[WatchAccount], picking: Picking) -> list[WatchAccount]:
    """Put accounts of which none is better than another into the order to try them."""
    if len(equals) == 1:
        return equals
    if picking.session is not None:
        return _drawn(equals, picking.session)
    match picking.strategy:
        case Strategy.ROUND_ROBIN:
            return _rotated(equals, picking.turn)
        case Strategy.WEIGHTED:
            return _drawn(equals, str(picking.turn))
        case Strategy.FILL_FIRST:
            return sorted(equals, key=lambda account: not account.view.default)
        case Strategy.TWO_CHOICES:
            return _less_busy_first(_rotated(equals, picking.turn), picking)
        case _:
            assert_never(picking.strategy)


def _rotated(equals: list[WatchAccount], turn: int) -> list[WatchAccount]:
    at = turn % len(equals)
    return equals[at:] + equals[:at]


def _drawn(equals: list[WatchAccount], key: str) -> list[WatchAccount]:
    """Put accounts in an order drawn by a key: rendezvous hashing with weights.

    The same key gives the same order in every worker and after a restart, and one account more or less moves its own share of keys only.
    """
    return sorted(equals, key=lambda account: _score(account.view.account, account.view.weight, key))


def _score(account: str, weight: int, key: str) -> float:
    digest = hashlib.blake2b(f"{key}\0{account}".encode(errors="backslashreplace"), digest_size=8).digest()
    unit = (int.from_bytes(digest) + 1) / (2**64 + 1)
    return -math.log(unit) / weight


def _less_busy_first(equals: list[WatchAccount], picking: Picking) -> list[WatchAccount]:
    one = int(picking.draw[0] * len(equals))
    other = int(picking.draw[1] * (len(equals) - 1))
    other += other >= one
    best, second = sorted((equals[one], equals[other]), key=lambda each: picking.busy.get(each.view.account, 0))
    return [best, second, *(each for each in equals if each is not best and each is not second)]
