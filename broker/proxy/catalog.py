"""The table of models as the config has it: the proxy's own, with what `[models."NAME"]` says over it.

Owns: who serves a model that the config names, its limits for the codecs, and which models are listed. Pure. What the table says by itself is `models`' own.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from broker.model.errors import BrokerError
from broker.model.told import Told, ToldModel, ToldThinking
from broker.proxy import models
from broker.proxy.models import OWN, Model
from broker.proxy.upstreams.base import Kind
from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.ir import Effort
from broker.translate.limits import UNTOLD, Limits


class Catalog:
    """The models of one config."""

    def __init__(self, told: Mapping[str, ToldModel] | None = None) -> None:
        """Lay the config's tables over the proxy's own."""
        self._told = Told(told or {})

    def providers(self, name: str) -> tuple[str, ...]:
        """Return who serves a model by the config; nothing where it does not say.

        Raises:
            BrokerError: `bad_request` where the name fits several patterns equally well.
        """
        told = self._told.of(name)
        return told.providers if told is not None else ()

    def limits(self, name: str) -> Limits:
        """Return what the config says of a model's limits, by what its upstream calls it; raises as `providers`."""
        told = self._told.of(name)
        if told is None or (told.thinking is None and told.output_tokens is None):
            return UNTOLD
        return Limits(_thinking(told.thinking) if told.thinking is not None else None, told.output_tokens)

    def served(self, present: Collection[str], kinds: Mapping[str, Kind]) -> tuple[Model, ...]:
        """Return the models that providers which are `present` serve, by name: the table's, and the config's that are no patterns."""
        found = {model.id: model for model in models.served({kinds[name] for name in present})}
        for name, told in self._told.named.items():
            if not told.providers and name not in found and _known_to_nobody(name, present, kinds):
                continue
            if told.providers and not set(told.providers) & set(present):
                found.pop(name, None)
                continue
            found[name] = _over(models.find(name, models.TABLE) or Model(name, name, (), 0, 0, "unknown"), told)
        return tuple(found[name] for name in sorted(found))

    def known_limits(self, listed: Iterable[Model]) -> dict[str, Limits]:
        """Return what the config says of the limits of listed models, by the names they are listed under; nothing of a name that fits two patterns."""
        found = {}
        for model in listed:
            provider, slash, name = model.id.partition("/")
            try:
                limits = self.limits(name if slash and provider in OWN else model.id)
            except BrokerError:
                continue
            if limits is not UNTOLD:
                found[model.id] = limits
        return found


def idle(told: Mapping[str, ToldModel], kinds: Mapping[str, Kind]) -> Iterator[tuple[str, str]]:
    """Yield the tables that do nothing, and why: nobody serves what they speak of."""
    for name, table in sorted(told.items()):
        strange = [each for each in table.providers if each not in kinds]
        if strange:
            yield name, f"the proxy serves from no provider {', '.join(strange)}"
        elif not table.providers and "*" not in name and _known_to_nobody(name, kinds.keys(), kinds):
            yield name, "the proxy does not know who serves it, so it needs providers"


def _known_to_nobody(name: str, present: Collection[str], kinds: Mapping[str, Kind]) -> bool:
    try:
        return not set(models.providers_of(name, kinds)) & set(present)
    except BrokerError:
        return True


def _over(known: Model, told: ToldModel) -> Model:
    given = {
        "title": told.title,
        "owner": told.owner,
        "input_tokens": told.input_tokens,
        "output_tokens": told.output_tokens,
    }
    return msgspec.structs.replace(known, **{key: value for key, value in given.items() if value is not None})


def _thinking(told: ToldThinking) -> ThinkingLimits:
    levels = tuple(Effort(level.value) for level in told.levels)
    return ThinkingLimits(ThinkingClass(told.kind.value), told.low, told.high, told.off, told.dynamic, levels)
