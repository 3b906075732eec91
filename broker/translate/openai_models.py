"""What OpenAI's models, and those of xAI, can be asked for.

Owns: which words of `reasoning_effort` each takes, by the name. A name that is not known is taken for one that takes every word: nothing is known against it.

Source: platform.openai.com, "Reasoning models" and the API reference of `reasoning.effort`; docs.x.ai, "Reasoning"; platform.moonshot.ai, "Thinking models".
"""

import re
from typing import Final

from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.ir import Effort, Reasoning, Value
from broker.translate.limits import UNTOLD, Limits, fitted

_MINIMAL, _LOW, _MEDIUM, _HIGH, _XHIGH = (
    Effort.MINIMAL,
    Effort.LOW,
    Effort.MEDIUM,
    Effort.HIGH,
    Effort.XHIGH,
)


class OpenAIModel(Value, frozen=True):
    """One model; where its `thinking` may be `off`, the word is `none`.

    `bare` says that it takes no temperature, no `top_p` and no log probabilities while it thinks; `rethinks` that it wants what it thought before a call
    back, as `reasoning_content`, and refuses the conversation without. Others refuse that field.
    """

    thinking: ThinkingLimits
    bare: bool = False
    rethinks: bool = False


def _levels(*levels: Effort, off: bool = False, bare: bool = True) -> OpenAIModel:
    return OpenAIModel(ThinkingLimits(ThinkingClass.LEVEL, off=off, levels=levels), bare)


_UNKNOWN: Final = _levels(_MINIMAL, _LOW, _MEDIUM, _HIGH, _XHIGH, off=True, bare=False)
_NONE: Final = OpenAIModel(ThinkingLimits())
_KIMI: Final = OpenAIModel(_UNKNOWN.thinking, rethinks=True)

# The first that fits wins: what is said of a few names stands before what is said of their family.
_FAMILIES: Final = tuple(
    (re.compile(pattern), model)
    for pattern, model in (
        (r"gpt-(?:[34]|image)|chatgpt-|gpt-5[\w.]*-chat", _NONE),
        (r"gpt-oss", _levels(_LOW, _MEDIUM, _HIGH, bare=False)),
        (r"gpt-5-pro", _levels(_HIGH)),
        (r"gpt-5\.\d+-pro", _levels(_MEDIUM, _HIGH, _XHIGH)),
        (r"gpt-5(?:\.1)?-codex-max", _levels(_LOW, _MEDIUM, _HIGH, _XHIGH)),
        (r"gpt-5(?:\.1)?-codex|codex-", _levels(_LOW, _MEDIUM, _HIGH)),
        (r"gpt-5[\w.]*-codex", _levels(_LOW, _MEDIUM, _HIGH, _XHIGH)),
        (r"gpt-5\.1", _levels(_LOW, _MEDIUM, _HIGH, off=True)),
        (r"gpt-5(?:-|$)", _levels(_MINIMAL, _LOW, _MEDIUM, _HIGH)),
        (r"gpt-", _levels(_LOW, _MEDIUM, _HIGH, _XHIGH, off=True)),
        (r"o[134](?:-|$)", _levels(_LOW, _MEDIUM, _HIGH)),
        (r"grok-3-mini", _levels(_LOW, _HIGH, bare=False)),
        (r"grok-", _NONE),
        (r"(?:[\w.-]+/)?(?:[Kk]imi|moonshot)|k\d", _KIMI),
    )
)


def openai_model(name: str, told: Limits = UNTOLD) -> OpenAIModel:
    """Return what is known of a model; what is `told` of it comes first."""
    known = next((model for pattern, model in _FAMILIES if pattern.match(name)), _UNKNOWN)
    return known if told.thinking is None else OpenAIModel(told.thinking, known.bare, known.rethinks)


def word(wish: Reasoning, limits: ThinkingLimits) -> Effort | None:
    """Return the word for a wish that the model takes; None for none, which leaves it to the model, or where it takes none."""
    if wish.effort is Effort.AUTO:
        return None
    if wish.effort is Effort.NONE and limits.off:
        return Effort.NONE
    fits = fitted(wish, Limits(limits))
    return fits.effort if fits is not None else None
