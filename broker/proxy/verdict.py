"""What a client is told when no account could serve it.

Owns: the one status and sentence that a list of failed and unusable accounts comes to, with the reason of each. Pure.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from broker.ipc.schema import WatchAccount
from broker.model.commands import way_in
from broker.proxy import choose
from broker.proxy.attempts import MAX_COOLDOWN_SECONDS, Tried
from broker.proxy.choose import Unusable, Why
from broker.proxy.failures import failure
from broker.proxy.naming import Goal
from broker.translate.ir import Failure

_ACCOUNTS_TOLD: Final = 20


class Asked(msgspec.Struct, frozen=True):
    """What was asked for.

    `providers` are those that serve `model`. `repeats_on_error` marks clients that repeat a 401 or 5xx (Claude Code): where a person must act,
    they are told 403, at which they stop. `away` says why the daemon cannot be asked, empty when it can; `there` are the providers there are accounts of.
    """

    model: str
    providers: tuple[str, ...]
    repeats_on_error: bool = False
    away: str = ""
    there: frozenset[str] = frozenset()


def given_up(
    asked: Asked, tried: Sequence[Tried], accounts: Sequence[WatchAccount], goals: Sequence[Goal], now: float
) -> Failure:
    """Return what to tell once all that could be tried was; `accounts` are all there are, `goals` what was wanted, `now` as for `verdict`."""
    failed = {each.account for each in tried}
    others = [each for each in choose.unusable(accounts, goals, now) if each.account not in failed]
    return verdict(asked, tried, others, now)


def verdict(asked: Asked, tried: Sequence[Tried], unusable: Sequence[Unusable], now: float) -> Failure:
    """Return what to tell. `now` is wall-clock seconds.

    What an upstream said last comes first (404 only where nobody is worth waiting for): its error, or for a 429 the time until the first account is ready,
    as where all merely cool down; else 503 with the reason of each account, or 403 as `Asked` says.
    """
    own = [each.failure for each in tried if each.failure is not None and each.failure.status != 401]
    waits = _waits(tried, unusable, now)
    # That one provider has not the model says nothing of the one that has it and merely cools down.
    told = [each for each in own if each.status != 404] or ([] if waits else own)
    if told and told[-1].status != 429:
        return _with_others(told[-1], tried, unusable)
    if waits:
        return _limited(asked, tried, unusable, min(waits))
    if asked.away and not tried and not unusable:
        text = f"the daemon is not reachable ({asked.away}); start it: ccs-broker serve"
        return failure(503, text, reason="daemon_unreachable")
    login = (
        not (tried or unusable)
        or any(each.login for each in tried)
        or any(each.why is Why.NEEDS_LOGIN for each in unusable)
    )
    status = 403 if login and asked.repeats_on_error else 503
    if not tried and not unusable:
        names = " or ".join(asked.providers)
        text = f"no account of {names} is logged in; run: {way_in(asked.providers[0])}"
        if not asked.there.isdisjoint(asked.providers):
            text = f"no account of {names} has the prefix or the model of {asked.model}; run: ccs-broker list"
        return failure(status, text, reason="auth_not_found")
    text = f"no account can serve {asked.model}: {_reasons(tried, unusable)}"
    return failure(status, text, reason="auth_unavailable")


def _with_others(own: Failure, tried: Sequence[Tried], unusable: Sequence[Unusable]) -> Failure:
    if len(tried) + len(unusable) == 1:
        return own
    return msgspec.structs.replace(own, message=f"{own.message} [{_reasons(tried, unusable)}]")


def _limited(asked: Asked, tried: Sequence[Tried], unusable: Sequence[Unusable], wait: float) -> Failure:
    wait = min(max(wait, 1.0), MAX_COOLDOWN_SECONDS)
    if len(tried) == 1 and not unusable and tried[0].failure is not None:
        return msgspec.structs.replace(tried[0].failure, retry_after=wait)
    text = f"no account can serve {asked.model} for {wait:.0f} s more: {_reasons(tried, unusable)}"
    return failure(429, text, reason="model_cooldown", retry_after=wait)


def _waits(tried: Sequence[Tried], unusable: Sequence[Unusable], now: float) -> list[float]:
    hints = [
        each.failure.retry_after or 1.0 for each in tried if each.failure is not None and each.failure.status == 429
    ]
    return hints + [each.until - now for each in unusable if each.until is not None]


def _reasons(tried: Sequence[Tried], unusable: Sequence[Unusable]) -> str:
    told = [f"{each.account}: {each.text}" for each in tried]
    told += [f"{each.account} {each.text}" for each in unusable]
    more = len(told) - _ACCOUNTS_TOLD
    return "; ".join(told[:_ACCOUNTS_TOLD]) + (f"; and {more} more" if more > 0 else "")
