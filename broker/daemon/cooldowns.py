"""Which accounts to leave alone for a while, because the API said so.

Owns: the table of cool-downs, by account and model, fed by reports and shared with all proxies through the push stream. Pure: `now` is wall-clock
seconds. `kept_cooldowns` brings it over restarts. It must never touch refreshing: a cooled-down account is renewed like any other.
"""

from collections.abc import Callable, Mapping

from broker.ipc.schema import Cooldown
from broker.model.account import AccountId

MAX_SECONDS = 3600.0
"""A provider may name the end of its quota window, hours away; asking once an hour costs one request and finds out about raised limits."""

DEFAULT_SECONDS = 60.0
_MIN_SECONDS = 1.0
_MAX_MODELS = 100  # per account: model names come from clients


class Cooldowns:
    """The cool-downs in force."""

    def __init__(self) -> None:
        """Start with none."""
        self._table: dict[AccountId, dict[str | None, Cooldown]] = {}
        self.on_change: Callable[[], None] = _nobody

    def limit(self, account: AccountId, model: str | None, seconds: float | None, reason: str, now: float) -> Cooldown:
        """Set an account aside for `model`, or altogether, for `seconds` (a minute where the API did not say); returns what is now in force.

        A late report never shortens what an earlier one set.
        """
        models = self._live(account, now)
        asked = DEFAULT_SECONDS if seconds is None else seconds
        until = now + min(max(asked, _MIN_SECONDS), MAX_SECONDS)
        standing = models.get(model)
        if standing is not None and standing.until >= until:
            return standing
        made = Cooldown(model, round(until, 3), reason)
        models[model] = made
        if len(models) > _MAX_MODELS:
            del models[min(models, key=lambda each: models[each].until)]
        self._table[account] = models
        self.on_change()
        return made

    def succeeded(self, account: AccountId, model: str | None, now: float) -> bool:
        """Take a success: ends the cool-down of `model` and of the whole account; tells whether there was one."""
        models = self._live(account, now)
        found = [models.pop(each, None) for each in {model, None}]
        ended = any(found)
        if ended:
            self.on_change()
        return ended

    def move(self, kept: tuple[Cooldown, ...], account: AccountId) -> None:
        """Give an account what `of` said of it under its former name."""
        if kept:
            self._table[account] = {each.model: each for each in kept}
            self.on_change()

    def clear(self, account: AccountId) -> bool:
        """Forget all of an account's cool-downs; tells whether there were any."""
        cleared = bool(self._table.pop(account, None))
        if cleared:
            self.on_change()
        return cleared

    def all(self, now: float) -> dict[AccountId, tuple[Cooldown, ...]]:
        """Return all that are in force."""
        return {account: found for account in list(self._table) if (found := self.of(account, now))}

    def restore(self, kept: Mapping[AccountId, tuple[Cooldown, ...]], now: float) -> None:
        """Take over what an earlier process knew; none holds longer than one set now could."""
        for account, cooldowns in kept.items():
            latest = {
                each.model: Cooldown(each.model, min(each.until, now + MAX_SECONDS), each.reason) for each in cooldowns
            }
            self._table[account] = dict(list(latest.items())[:_MAX_MODELS])

    def of(self, account: AccountId, now: float) -> tuple[Cooldown, ...]:
        """Return an account's cool-downs in force, the whole account's first, then by model."""
        models = self._live(account, now)
        return tuple(models[model] for model in sorted(models, key=lambda each: (each is not None, each or "")))

    def _live(self, account: AccountId, now: float) -> dict[str | None, Cooldown]:
        models = self._table.get(account)
        if models is None:
            return {}
        for model in [model for model, each in models.items() if each.until <= now]:
            del models[model]
        if not models:
            del self._table[account]
        return models


def _nobody() -> None:
    """Nobody keeps them."""
