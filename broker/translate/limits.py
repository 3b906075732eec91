"""What the config says of a model's limits.

Owns: `Limits`, which stand before what a codec knows of a family of names. It must never decide which models exist.
"""

import msgspec

from broker.translate.effort import ThinkingClass, ThinkingLimits, fit, level_of
from broker.translate.ir import Effort, Reasoning, Sampling, Value


class Limits(Value, frozen=True):
    """How a model thinks and the most tokens it gives in an answer; None where nothing is said of it."""

    thinking: ThinkingLimits | None = None
    max_output: int | None = None


UNTOLD = Limits()


def fitted(wish: Reasoning | None, limits: Limits) -> Reasoning | None:
    """Return a wish as dialects take it that know words only: fitted to the model where the config tells how it thinks, else as it is."""
    if wish is None or limits.thinking is None:
        return wish
    if limits.thinking.kind is ThinkingClass.NONE:
        return None
    found = fit(wish, limits.thinking)
    if found is None:
        return wish
    if found.level is not None:
        return Reasoning(effort=found.level, visible=wish.visible)
    tokens = found.budget or 0
    level = Effort.AUTO if tokens < 0 else level_of(tokens) if tokens else Effort.NONE
    return Reasoning(effort=level, visible=wish.visible)


def capped(sampling: Sampling, limits: Limits) -> Sampling:
    """Return the settings with no more tokens asked for than the config says the model gives."""
    asked, most = sampling.max_tokens, limits.max_output
    if asked is None or most is None or asked <= most:
        return sampling
    return msgspec.structs.replace(sampling, max_tokens=most)
