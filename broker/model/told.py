"""What the config tells of models: who serves one, and how much it takes.

Owns: the table `[models."NAME"]`, what of it cannot be, and which of several tables a name means. Pure. Which models there are besides, the proxy knows.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from broker.model.account import valid_provider_name
from broker.model.naming import fittest


class ThinkingKind(StrEnum):
    """How a model is told how hard to think: not at all, by a number of tokens, by a word."""

    NONE = "none"
    BUDGET = "budget"
    LEVEL = "level"


class ThinkingLevel(StrEnum):
    """The words, in rising order."""

    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class ToldThinking(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model thinks: tokens from `low` to `high`, or the words it knows. `off` says it can be told not to, `dynamic` that it may be left to it."""

    kind: ThinkingKind
    low: int = 0
    high: int = 0
    off: bool = False
    dynamic: bool = False
    levels: tuple[ThinkingLevel, ...] = ()


class ToldModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[models."NAME"]: a model that the proxy does not know, or knows otherwise; `NAME` may hold `*`. What is left out stays as it is known."""

    providers: tuple[str, ...] = ()
    title: str | None = None
    owner: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    thinking: ToldThinking | None = None


class Told:
    """All there is in the config."""

    def __init__(self, models: Mapping[str, ToldModel]) -> None:
        """Hold the tables by name."""
        self._exact = {name: model for name, model in models.items() if "*" not in name}
        self._patterns = {name: model for name, model in models.items() if "*" in name}

    @property
    def named(self) -> Mapping[str, ToldModel]:
        """The tables of one model each: these can be listed."""
        return self._exact

    def of(self, name: str) -> ToldModel | None:
        """Return the table of a model: the one of its name, else that of the pattern with the most letters.

        Raises:
            BrokerError: `bad_request` where it fits several patterns equally well; the detail names them.
        """
        exact = self._exact.get(name)
        if exact is not None or not self._patterns:
            return exact
        best = fittest(name, self._patterns, "[models] tables")
        return self._patterns[best] if best is not None else None


def faults(model: ToldModel) -> Iterator[tuple[str, str]]:
    """Yield what cannot be of a table, each with its key."""
    for name in model.providers:
        if not valid_provider_name(name):
            yield "providers", f"{name[:60]!r} is no name of a provider"
    for key in ("input_tokens", "output_tokens"):
        value = getattr(model, key)
        if value is not None and value <= 0:
            yield key, "must be greater than 0"
    if model.thinking is not None:
        for text in _thinking(model.thinking):
            yield "thinking", text


_ORDER: Final = tuple(ThinkingLevel)


def _thinking(told: ToldThinking) -> Iterator[str]:
    by_number, by_word = told.kind is ThinkingKind.BUDGET, told.kind is ThinkingKind.LEVEL
    if by_number and not (0 <= told.low <= told.high and told.high):
        yield "a budget needs high, greater than 0 and not less than low"
    if not by_number and (told.low or told.high or told.off):
        yield f"low, high and off belong to kind budget, not to {told.kind}"
    if by_word and not told.levels:
        yield "kind level needs levels"
    if not by_word and told.levels:
        yield f"levels belong to kind level, not to {told.kind}"
    if list(told.levels) != sorted(set(told.levels), key=_ORDER.index):
        yield f"levels stand in rising order, each once: {', '.join(_ORDER)}"
    if told.kind is ThinkingKind.NONE and told.dynamic:
        yield "dynamic says nothing of a model that does not think"
