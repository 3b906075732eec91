"""How hard to think: words, budgets, and what a model can do of it.

Owns: the scale between levels and token budgets, the `model(value)` suffix, and fitting a wish to a model's limits. It must never write a
dialect's field. A wish that does not fit is moved to the nearest thing that does, in silence: it was written for another family of models.
"""

import re
from enum import StrEnum

from broker.translate.ir import Effort, Reasoning, Value

_BUDGETS = {
    Effort.NONE: 0,
    Effort.AUTO: -1,
    Effort.MINIMAL: 512,
    Effort.LOW: 1024,
    Effort.MEDIUM: 8192,
    Effort.HIGH: 24576,
    Effort.XHIGH: 32768,
    Effort.MAX: 128000,
}
_SCALE = (Effort.MINIMAL, Effort.LOW, Effort.MEDIUM, Effort.HIGH, Effort.XHIGH, Effort.MAX)
_THRESHOLDS = ((512, Effort.MINIMAL), (1024, Effort.LOW), (8192, Effort.MEDIUM), (24576, Effort.HIGH))
_SUFFIX = re.compile(r"^(.+)\(([^()]*)\)$", re.DOTALL)


class ThinkingClass(StrEnum):
    """How a model is told to think: not at all, by a number, by a word."""

    NONE = "none"
    BUDGET = "budget"
    LEVEL = "level"


class ThinkingLimits(Value, frozen=True):
    """What a model can be asked for.

    Budgets are tokens between `low` and `high`; `off` says 0 is allowed as well, `dynamic` that -1 is. `levels` are the words it knows,
    lowest first; never empty for the class LEVEL.
    """

    kind: ThinkingClass = ThinkingClass.NONE
    low: int = 0
    high: int = 0
    off: bool = False
    dynamic: bool = False
    levels: tuple[Effort, ...] = ()


class Thinking(Value, frozen=True):
    """A wish that fits: exactly one of the two is set. A budget of 0 is off, -1 leaves it to the model."""

    budget: int | None = None
    level: Effort | None = None


def split_suffix(model: str) -> tuple[str, Reasoning | None]:
    """Take `model(value)` apart; a suffix that is no level and no number belongs to the name."""
    if "(" not in model:
        return model, None
    found = _SUFFIX.match(model)
    wish = parse_effort(found[2]) if found else None
    return (found[1].rstrip(), wish) if found and wish else (model, None)


def parse_effort(text: str) -> Reasoning | None:
    """Read a level or a number of tokens (-1 and below leave it to the model); None where it is neither."""
    text = text.strip().lower()
    if text in Effort.__members__.values():
        return Reasoning(effort=Effort(text))
    if not text.removeprefix("-").isdecimal() or len(text) > 9:
        return None
    return of_budget(int(text))


def of_budget(tokens: int) -> Reasoning:
    """Return the wish for a number of tokens, in its normal form."""
    if tokens < 0:
        return Reasoning(effort=Effort.AUTO)
    return Reasoning(budget=tokens) if tokens else Reasoning(effort=Effort.NONE)


def level_of(tokens: int) -> Effort:
    """Return the level a number of tokens stands for."""
    return next((level for most, level in _THRESHOLDS if tokens <= most), Effort.XHIGH)


def fit(wish: Reasoning, limits: ThinkingLimits) -> Thinking | None:
    """Fit a wish to a model; None where the model cannot think or nothing was wished."""
    tokens = _BUDGETS[wish.effort] if wish.effort is not None else wish.budget
    if limits.kind is ThinkingClass.NONE or tokens is None:
        return None
    if tokens < 0 and limits.dynamic:
        return Thinking(budget=-1)
    if limits.kind is ThinkingClass.BUDGET:
        return Thinking(budget=_fit_budget(tokens, limits))
    if tokens < 0:
        return Thinking(level=limits.levels[(len(limits.levels) - 1) // 2])
    wanted = wish.effort if wish.effort in _SCALE else level_of(tokens)
    return Thinking(level=_nearest(wanted, limits.levels))


def _fit_budget(tokens: int, limits: ThinkingLimits) -> int:
    if tokens < 0:
        return (limits.low + limits.high) // 2
    if tokens == 0 and limits.off:
        return 0
    return min(max(tokens, limits.low), limits.high)


def _nearest(wanted: Effort, levels: tuple[Effort, ...]) -> Effort:
    place = _SCALE.index(wanted)
    # min() keeps the first of equals, and levels stand lowest first: ties go to the lower.
    return min(levels, key=lambda level: abs(_SCALE.index(level) - place))
