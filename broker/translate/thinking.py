"""How hard to think, written into a client's body on its way to an upstream of the same dialect.

Owns: which members say it in each dialect, fitted to the model. Every other byte stays as it is. A wish for a model of which it is not known that it can be
told changes nothing, but for the wish not to think, which takes away what asks for it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from broker.translate import claude_thinking
from broker.translate.codecs import Dialect
from broker.translate.effort import ThinkingClass, ThinkingLimits, fit, split_suffix
from broker.translate.fields import attempt
from broker.translate.gemini_models import gemini_model
from broker.translate.ir import Effort, Reasoning
from broker.translate.limits import UNTOLD, Limits
from broker.translate.openai_models import openai_model, word
from broker.translate.paths import found, put, removed

# Google's JSON takes both spellings of a name.
_COUNTED: Final = ("generateContentRequest", "generate_content_request")
_GENERATION: Final = ("generationConfig", "generation_config")
_THINKING: Final = ("thinkingConfig", "thinking_config")
_BUDGET: Final = ("thinkingBudget", "thinking_budget")
_LEVEL: Final = ("thinkingLevel", "thinking_level")

_REASONING: Final = ("reasoning", "effort")
_TEXT: Final = msgspec.json.Decoder(str)
_SAMPLED: Final = ("temperature", "top_p")
_LOGPROBS: Final = ("logprobs", "top_logprobs")


def with_thinking(
    dialect: Dialect, body: bytes, wish: Reasoning, model: str, told: Limits = UNTOLD, *, count: bool = False
) -> bytes:
    """Return a body that asks the model to think so. `told` is what the config says of the model; `count` is for a request that only counts tokens.

    Of what a client may say in each dialect, Code Assist and Antigravity take Gemini's. Raises:
        BrokerError: `bad_request` where it is no JSON object.
    """
    match dialect:
        case Dialect.CLAUDE:
            return claude_thinking.with_thinking(body, wish, model, told, count=count)
        case Dialect.OPENAI_CHAT:
            return _openai(body, wish, model, told, ("reasoning_effort",))
        case Dialect.RESPONSES:
            return _openai(body, wish, model, told, _REASONING)
        case _:
            return _gemini(body, wish, gemini_model(model, told).thinking, count=count)


def unsuffixed(body: bytes, model: str) -> bytes:
    """Return a Gemini body that names this model where it names one with a suffix, itself or in what is to be counted; raises as `with_thinking`."""
    for path in (("model",), (*spelled(body, (), _COUNTED), "model")):
        there = attempt(_TEXT, found(body, path) or b"")
        if there is not None and split_suffix(there)[1] is not None:
            told = f"models/{model}" if there.startswith("models/") else model
            body = put(body, path, msgspec.json.encode(told))
    return body


def spelled(body: bytes, above: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the path of the member that has one of these names, as it is spelled there; as the first where it is not there. Raises as `paths.found`."""
    paths = [(*above, name) for name in names]
    return next((path for path in paths if found(body, path) is not None), paths[0])


# ----------------------------------------------------------------------------------------------------------- OpenAI


def _openai(body: bytes, wish: Reasoning, model: str, told: Limits, path: tuple[str, ...]) -> bytes:
    known = openai_model(model, told)
    off = wish.effort is Effort.NONE
    if known.thinking.kind is ThinkingClass.NONE and not off:
        return body
    level = word(wish, known.thinking)
    if level is None:
        body = removed(body, path)
        return claude_thinking.without_empty(body, path[:-1]) if path[:-1] else body
    body = put(body, path, msgspec.json.encode(level))
    return _unsampled(body) if known.bare and level is not Effort.NONE else body


def _unsampled(body: bytes) -> bytes:
    for name in _SAMPLED:
        there = found(body, (name,))
        if there is not None and there.strip() not in (b"1", b"1.0", b"null"):
            body = removed(body, (name,))
    for name in _LOGPROBS:
        body = removed(body, (name,))
    return body


# ----------------------------------------------------------------------------------------------------------- Gemini


def _gemini(body: bytes, wish: Reasoning, limits: ThinkingLimits, *, count: bool) -> bytes:
    above: tuple[str, ...] = ()
    if count:
        above = spelled(body, (), _COUNTED)
        if found(body, above) is None:
            return body  # contents alone are counted
    path = spelled(body, spelled(body, above, _GENERATION), _THINKING)
    fits = fit(wish, limits)
    if fits is None:
        return removed(body, path) if wish.effort is Effort.NONE else body
    if fits.budget == 0:
        return put(body, path, b'{"thinkingBudget":0}')  # no thoughts can be asked to be shown
    told, other = (_BUDGET, _LEVEL) if fits.level is None else (_LEVEL, _BUDGET)
    value: object = fits.budget if fits.level is None else fits.level
    for name in other:
        body = removed(body, (*path, name))
    return put(body, spelled(body, path, told), msgspec.json.encode(value))
