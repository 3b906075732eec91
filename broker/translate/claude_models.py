"""What Anthropic's models can be asked for.

Owns: how each is told to think, how much it may say and which settings of chance it takes, by the name. A name that is not known is taken for a new one.

Source: docs.anthropic.com, "Models overview", "Extended thinking", "Adaptive thinking", "Effort", "Migration guide", "What's new".
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.ir import Effort, Value
from broker.translate.limits import UNTOLD, Limits

DEFAULT_MAX_TOKENS: Final = 32_000
"""Anthropic wants a limit and other dialects need none: this is what is asked for then, less where the model gives less."""

_LEVELS: Final = (Effort.LOW, Effort.MEDIUM, Effort.HIGH, Effort.MAX)
_ADAPTIVE: Final = ThinkingLimits(ThinkingClass.LEVEL, levels=_LEVELS)
_FINER: Final = ThinkingLimits(ThinkingClass.LEVEL, levels=(*_LEVELS[:-1], Effort.XHIGH, Effort.MAX))
_BUDGET: Final = ThinkingLimits(ThinkingClass.BUDGET, low=1024, high=128_000, off=True)
_NONE: Final = ThinkingLimits()

_FAMILY_FIRST: Final = re.compile(r"claude-(?:opus|sonnet|haiku)-(\d+)(?:-(\d{1,2})(?!\d))?")
_SWITCHED: Final = re.compile(r"claude-(?:opus|sonnet)-5(?!-\d{1,2}(?!\d))|claude-haiku-5")
_KEPT: Final = 64  # names that were asked for of late
_VERSION_FIRST: Final = re.compile(r"claude-(\d+)(?:-(\d{1,2}))?-(?:opus|sonnet|haiku|instant)")


class Chance(StrEnum):
    """Which of temperature, `top_p` and `top_k` a model takes: all, all but `top_p` beside a temperature, none."""

    ALL = "all"
    EITHER = "either"
    NONE = "none"


class Off(StrEnum):
    """How a model is told not to think: by silence, by the type `disabled` (refused beside an effort above `high`), or not at all."""

    SILENCE = "silence"
    DISABLED = "disabled"
    NEVER = "never"


class ClaudeModel(Value, frozen=True):
    """One model. `max_output` is tokens, None where it is not known to be less than `DEFAULT_MAX_TOKENS`.

    `continues` says that it goes on with an answer that the client began.
    """

    thinking: ThinkingLimits
    max_output: int | None = None
    chance: Chance = Chance.ALL
    off: Off = Off.SILENCE
    continues: bool = True


def claude_model(name: str, told: Limits = UNTOLD) -> ClaudeModel:
    """Return what is known of a model; what is `told` of it comes first."""
    known = _known(name)
    if told is UNTOLD:
        return known
    thinking, most = told.thinking or known.thinking, told.max_output or known.max_output
    return ClaudeModel(thinking, most, known.chance, known.off, known.continues)


@lru_cache(_KEPT)
def _known(name: str) -> ClaudeModel:
    old = _VERSION_FIRST.search(name)
    if old:
        version = _version(old)
        if version < (3, 7):
            return ClaudeModel(_NONE, 8192 if version == (3, 5) else 4096)
        return ClaudeModel(_BUDGET)
    new = _FAMILY_FIRST.search(name)
    if new is None and not name.startswith("claude-"):
        # What only speaks Anthropic's dialect is not Anthropic's, and takes what the dialect has.
        return ClaudeModel(_ADAPTIVE)
    if new is None:
        return ClaudeModel(_FINER, chance=Chance.NONE, off=Off.NEVER, continues=False)
    version = _version(new)
    chance = Chance.ALL if version < (4, 1) else Chance.EITHER if version < (4, 7) else Chance.NONE
    thinking = _BUDGET if version < (4, 6) else _ADAPTIVE if version < (4, 7) else _FINER
    return ClaudeModel(thinking, chance=chance, off=_off(name, version), continues=version < (4, 6))


def _off(name: str, version: tuple[int, int]) -> Off:
    """From the fifth generation on models think unless told not to, and some of them always."""
    if version < (5, 0):
        return Off.SILENCE
    return Off.DISABLED if _SWITCHED.search(name) else Off.NEVER


def _version(found: re.Match[str]) -> tuple[int, int]:
    return int(found[1]), int(found[2] or 0)
