"""What the codec must know of Gemini models to write a valid request.

Owns: thinking limits and the most output tokens, by family of names. It must never decide which models exist: a name not
known here is sent on with the mildest assumptions. The numbers of 2.5 Pro and Flash and the output limits of 2.5 Flash-Lite and 3 Flash are those of
Google's documentation; the other rows follow their nearest relative and want checking when a model is added.
"""

from functools import lru_cache

from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.ir import Effort, Value
from broker.translate.limits import UNTOLD, Limits


class GeminiModel(Value, frozen=True):
    """Limits of one family. `max_output` is tokens, None where unknown."""

    thinking: ThinkingLimits = ThinkingLimits()
    max_output: int | None = None


def _budget(low: int, high: int, *, off: bool) -> ThinkingLimits:
    return ThinkingLimits(ThinkingClass.BUDGET, low, high, off=off, dynamic=True)


def _levels(*levels: Effort) -> ThinkingLimits:
    # The third generation still takes the budget -1, which is how "leave it to the model" is said.
    return ThinkingLimits(ThinkingClass.LEVEL, dynamic=True, levels=levels)


_OUTPUT = 65536

# The first prefix that fits wins: longer names stand before the shorter ones they begin with.
_FAMILIES: tuple[tuple[str, GeminiModel], ...] = (
    ("gemini-3-pro-image", GeminiModel(_levels(Effort.LOW, Effort.HIGH), 32768)),
    ("gemini-3-pro", GeminiModel(_levels(Effort.LOW, Effort.HIGH), _OUTPUT)),
    (
        "gemini-3.1-pro",
        GeminiModel(_levels(Effort.LOW, Effort.MEDIUM, Effort.HIGH), _OUTPUT),
    ),
    (
        "gemini-3",
        GeminiModel(_levels(Effort.MINIMAL, Effort.LOW, Effort.MEDIUM, Effort.HIGH), _OUTPUT),
    ),
    ("gemini-2.5-flash-image", GeminiModel(max_output=32768)),
    ("gemini-2.5-flash-lite", GeminiModel(_budget(512, 24576, off=True), _OUTPUT)),
    ("gemini-2.5-flash", GeminiModel(_budget(0, 24576, off=True), _OUTPUT)),
    ("gemini-2.5-pro", GeminiModel(_budget(128, 32768, off=False), _OUTPUT)),
    ("gemini-2.0", GeminiModel(max_output=8192)),
    ("gemini-1", GeminiModel(max_output=8192)),
    # Aliases such as gemini-flash-latest: every generation that thinks takes a budget.
    ("gemini-", GeminiModel(_budget(0, 24576, off=True))),
)
_UNKNOWN = GeminiModel()
_KEPT = 64  # names that were asked for of late, so that the rows above are not gone through for each request


def gemini_model(name: str, told: Limits = UNTOLD) -> GeminiModel:
    """Return the limits of a model by its name, with or without `models/` before it; what is `told` of them comes first."""
    known = _known(name)
    if told is UNTOLD:
        return known
    return GeminiModel(told.thinking or known.thinking, told.max_output or known.max_output)


@lru_cache(_KEPT)
def _known(name: str) -> GeminiModel:
    name = name.removeprefix("models/")
    return next((model for prefix, model in _FAMILIES if name.startswith(prefix)), _UNKNOWN)
