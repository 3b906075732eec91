"""How hard to think, written into the body of an Anthropic client in place.

Owns: which members say it, and what Anthropic refuses beside them. Every other byte stays as it is.

Held after the edit (docs.anthropic.com, "Extended thinking", "Adaptive thinking", "Context editing"): a budget is at least 1024 and less than `max_tokens`;
while thinking there is no `temperature` but 1, no `top_k`, no `top_p` below 0.95; where a call is forced there is no thinking, as far as the model can do
without; within a turn whose first thoughts were lost there is none with a budget; without thinking no thoughts are cleared, and where it is switched off effort
is `high` at most.
"""

from typing import Final

import msgspec

from broker.translate.claude_models import Off, claude_model
from broker.translate.effort import Thinking, fit
from broker.translate.fields import attempt, read
from broker.translate.ir import Effort, Reasoning
from broker.translate.limits import UNTOLD, Limits
from broker.translate.paths import found, put, removed

LEAST_BUDGET: Final = 1024
_LEAST_TOP_P: Final = 0.95
_NULL: Final = msgspec.Raw(b"null")
_THOUGHTS: Final = ("thinking", "redacted_thinking")
_EFFORT: Final = ("output_config", "effort")
_LOUD: Final = (b'"xhigh"', b'"max"')


class _Asked(msgspec.Struct):
    max_tokens: object = None
    temperature: object = None
    top_p: object = None
    tool_choice: object = None
    messages: msgspec.Raw = _NULL


class _Message(msgspec.Struct):
    role: object = None
    content: msgspec.Raw = _NULL


class _Block(msgspec.Struct):
    type: object = None


class _Edit(msgspec.Struct):
    type: object = None


_ASKED: Final = msgspec.json.Decoder(_Asked)
_MESSAGES: Final = msgspec.json.Decoder(list[_Message])
_BLOCKS: Final = msgspec.json.Decoder(list[_Block])
_EDITS: Final = msgspec.json.Decoder(list[_Edit])


def with_thinking(body: bytes, wish: Reasoning, model: str, told: Limits = UNTOLD, *, count: bool = False) -> bytes:
    """Return a body that asks the model to think so; as it is where the model is known not to think. `count` is for a request that only counts tokens.

    Raises:
        BrokerError: `bad_request` where it is no JSON object.
    """
    known = claude_model(model, told)
    asked = read(_ASKED, body)
    if wish.effort is Effort.NONE and known.off is not Off.NEVER:
        return _silent(body, known.off)
    fitted = fit(wish, known.thinking)
    if fitted is None:
        return body
    if _forced(asked.tool_choice):
        return _silent(body, known.off)
    if fitted.level is not None:
        return _adaptive(body, asked, fitted.level if wish.effort is not Effort.AUTO else None, count=count)
    return _budgeted(body, asked, fitted)


def _adaptive(body: bytes, asked: _Asked, level: Effort | None, *, count: bool) -> bytes:
    body = removed(put(body, ("thinking", "type"), b'"adaptive"'), ("thinking", "budget_tokens"))
    if count:
        return body  # a count is not told how hard to work
    if level is None:
        return _unsampled(without_empty(removed(body, _EFFORT), _EFFORT[:1]), asked)
    return _unsampled(put(body, _EFFORT, msgspec.json.encode(level)), asked)


def _budgeted(body: bytes, asked: _Asked, fitted: Thinking) -> bytes:
    budget = fitted.budget or 0
    if isinstance(asked.max_tokens, int):
        # Thoughts count against the limit: a quarter of it is left to say something.
        budget = min(budget, asked.max_tokens - asked.max_tokens // 4)
    if budget < LEAST_BUDGET or _thoughts_lost(asked.messages):
        return _silent(body, Off.SILENCE)
    body = put(body, ("thinking", "type"), b'"enabled"')
    return _unsampled(put(body, ("thinking", "budget_tokens"), b"%d" % budget), asked)


def _unsampled(body: bytes, asked: _Asked) -> bytes:
    if asked.temperature != 1:
        body = removed(body, ("temperature",))
    if not isinstance(asked.top_p, float | int) or asked.top_p < _LEAST_TOP_P:
        body = removed(body, ("top_p",))
    return removed(body, ("top_k",))


def _silent(body: bytes, off: Off) -> bytes:
    body = _uncleared(body)
    if off is not Off.DISABLED:
        return removed(body, ("thinking",))
    if found(body, _EFFORT) in _LOUD:
        body = put(body, _EFFORT, b'"high"')
    return put(body, ("thinking",), b'{"type":"disabled"}')


def _uncleared(body: bytes) -> bytes:
    """Return a body that does not ask to clear thoughts, which is refused without thinking."""
    edits = found(body, ("context_management", "edits"))
    listed = attempt(_EDITS, edits or b"[]") or []
    for place in reversed(range(len(listed))):
        if str(listed[place].type).startswith("clear_thinking_"):
            body = removed(body, ("context_management", "edits", str(place)))
    return without_empty(without_empty(body, ("context_management", "edits")), ("context_management",))


def without_empty(body: bytes, path: tuple[str, ...]) -> bytes:
    """Return a body without the object or list at a path, if there is nothing in it; raises as `paths.found`."""
    there = found(body, path)
    return removed(body, path) if there is not None and there.strip(b" \t\r\n{}[]") == b"" else body


def _forced(choice: object) -> bool:
    return isinstance(choice, dict) and choice.get("type") in ("any", "tool")


def _thoughts_lost(messages: msgspec.Raw) -> bool:
    """Tell whether the model is in the middle of a turn, answers to its calls being all it was told since, that no longer begins with what it thought."""
    begun: object = None
    answered: bool | None = None
    said = attempt(_MESSAGES, messages) or []
    for message in reversed(said):
        if message.role == "assistant":
            if answered is False:
                break
            begun, answered = next(iter(_types(message)), "text"), None
        elif message.role == "user":
            answered = bool(answered) or "tool_result" in _types(message)
    return begun is not None and begun not in _THOUGHTS


def _types(message: _Message) -> list[object]:
    """Return the types of what a message holds; text alone has none."""
    return [block.type for block in attempt(_BLOCKS, message.content) or []]
