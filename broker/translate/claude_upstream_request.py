"""Anthropic messages as an upstream, request side: `ir.Request` -> body.

Owns: what each neutral field becomes. It must never know a URL, a header or a login.

Left out because Anthropic has no such thing: seed, penalties, log probabilities, the shape of images, JSON output without a schema.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Final, assert_never

import msgspec

from broker.translate.blob import Base64
from broker.translate.claude_models import DEFAULT_MAX_TOKENS, Chance, ClaudeModel, Off, claude_model
from broker.translate.claude_schema import output_schema
from broker.translate.effort import ThinkingClass, fit
from broker.translate.exchange import Target
from broker.translate.fields import bad_field
from broker.translate.ir import (
    Audio,
    Effort,
    File,
    FunctionTool,
    Image,
    ImageLink,
    Media,
    Message,
    NativeKind,
    NativeTool,
    Part,
    Reasoning,
    Request,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from broker.translate.names import ToolNames
from broker.translate.signatures import SignatureMemory
from broker.translate.signers import Signer, unmarked
from broker.translate.thoughts import recall
from broker.translate.turns import Answered, Turn, laid_out

_Object = dict[str, object]

_LEAST_BUDGET: Final = 1024
_OFF: Final[_Object] = {"type": "disabled"}
# Anthropic refuses a conversation the model opens.
_BEGINNING: Final[_Object] = {"role": "user", "content": [{"type": "text", "text": "(The conversation begins.)"}]}
_UNANSWERED: Final = "(no answer)"
_NATIVE: Final = {
    NativeKind.WEB_SEARCH: {"type": "web_search_20250305", "name": "web_search"},
    NativeKind.URL_CONTEXT: {"type": "web_fetch_20250910", "name": "web_fetch"},
    NativeKind.CODE_EXECUTION: {"type": "code_execution_20250825", "name": "code_execution"},
}
_THOUGHTS: Final = ("thinking", "redacted_thinking")
_ID_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]")


def build(request: Request, target: Target) -> tuple[_Object, ToolNames]:
    """Return the body's object and the names its functions go by.

    Raises:
        BrokerError: `bad_request` for a medium Anthropic does not take, for more than one answer, or where nobody says anything.
    """
    if request.sampling.n > 1:
        bad_field("n", "the model asked for gives one answer at a time")
    names = ToolNames.of(request)
    model = claude_model(target.model, target.limits)
    most = _most(request.sampling, model)
    thinking = _thinking(request.reasoning, model, most)
    if request.tools and request.tool_choice is not None and request.tool_choice.mode is ToolMode.REQUIRED:
        thinking = _unthinking(thinking, model)  # refused where a call is forced
    messages = _messages(request, names, target.signatures if thinking.get("thinking", _OFF) != _OFF else None)
    if model.thinking.kind is ThinkingClass.BUDGET and "thinking" in thinking and _thoughts_lost(messages):
        del thinking["thinking"]  # refused within such a turn where thinking has a budget
        messages = _messages(request, names, None)
    thinks = thinking.get("thinking", _OFF) != _OFF
    if thinks or not model.continues:
        _unbegin(messages)
    body: _Object = {"model": target.model, "max_tokens": most, "messages": messages}
    if request.system and request.messages:
        system = [_text(part) for part in request.system if part.text]
        if system:
            body["system"] = system
    body.update(_sampling(request.sampling, Chance.NONE if thinks else model.chance))
    if request.tools:
        body.update(_tools(request, names))
    if thinking or request.output is not None:
        body.update(_output(request, thinking))
    if request.stream:
        body["stream"] = True
    return body, names


def counted(request: Request, target: Target) -> _Object:
    """Return the body of count_tokens: only what is read, nothing about the answer."""
    body, _ = build(request, target)
    return {
        key: value
        for key, value in body.items()
        if key in ("model", "messages", "system", "tools", "tool_choice", "thinking")
    }


# --------------------------------------------------------------------------------------------------------- messages


def _messages(request: Request, names: ToolNames, memory: SignatureMemory | None) -> list[_Object]:
    """Return the messages; with thoughts where there is a memory to look those up in that the client did not send back."""
    # Instructions alone are what the user has to say.
    turns = laid_out(request.messages or (Message(Role.USER, request.system),))
    messages: list[_Object] = []
    for turn in turns:
        blocks = _blocks(turn, names, memory)
        if not blocks:
            continue
        role = turn.role.value
        if messages and messages[-1]["role"] == role:
            before = messages[-1]["content"]
            assert isinstance(before, list)
            before.extend(blocks)
        else:
            messages.append({"role": role, "content": blocks})
    if not messages:
        bad_field("messages", "nothing is left that a user says")
    if messages[0]["role"] == Role.ASSISTANT.value:
        messages.insert(0, dict(_BEGINNING))
    return messages


def _unbegin(messages: list[_Object]) -> None:
    """Take away what the client began of the answer: refused while thinking, and by newer models always."""
    if messages[-1]["role"] == Role.ASSISTANT.value:
        messages.pop()
    if messages == [_BEGINNING]:
        bad_field("messages", "nothing is left that a user says")


def _thoughts_lost(messages: Sequence[_Object]) -> bool:
    """Tell whether the model is in the middle of a turn, answers to its calls being all it was told since, that no longer begins with what it thought."""
    spoken: list[list[_Object]] = []
    for message in takewhile(_goes_on, reversed(messages)):
        content = message["content"]
        assert isinstance(content, list)
        spoken += [content] if message["role"] == Role.ASSISTANT.value else []
    return bool(spoken) and spoken[-1][0]["type"] not in _THOUGHTS


def _goes_on(message: _Object) -> bool:
    """Tell whether a turn of the model's goes on with this message."""
    content = message["content"]
    assert isinstance(content, list)
    return message["role"] == Role.ASSISTANT.value or any(block["type"] == "tool_result" for block in content)


def _blocks(turn: Turn, names: ToolNames, memory: SignatureMemory | None) -> list[_Object]:
    if turn.answers:
        return [_answer(answer) for answer in turn.answers]
    blocks: list[_Object] = []
    begun = 0  # what led to the next call stands from here on
    for part in turn.parts:
        if type(part) is ToolCall:
            if memory is not None and not any(block["type"] in _THOUGHTS for block in blocks[begun:]):
                known = recall(memory, Signer.ANTHROPIC, part.id)
                blocks[begun:begun] = [block for thought in known for block in _thought(thought)]
            begun = len(blocks) + 1
        blocks += _part(part, names, thinks=memory is not None)
    # What was only thought is no turn: Anthropic refuses a message without something said.
    return [] if all(map(_is_thought, blocks)) else blocks


def _is_thought(block: _Object) -> bool:
    return block["type"] in _THOUGHTS


def _answer(answer: Answered) -> _Object:
    block: _Object = {"type": "tool_result", "tool_use_id": _call_id(answer.call.id)}
    result = answer.result
    if result is None:
        return block | {"content": _UNANSWERED}
    content = [block for part in _said(result) for block in _media(part)]
    return block | ({"content": content} if content else {}) | ({"is_error": True} if result.is_error else {})


def _said(result: ToolResult) -> tuple[Media, ...]:
    if result.structured is None:
        return result.content
    return (Text(msgspec.json.encode(result.structured).decode()),)


def _part(part: Part, names: ToolNames, *, thinks: bool) -> list[_Object]:
    match part:
        case Text():  # as nearly always
            return _media(part)
        case Thinking():
            return _thought(part) if thinks else []
        case ToolCall(identifier, name, arguments):
            return [{"type": "tool_use", "id": _call_id(identifier), "name": names.outward(name), "input": arguments}]
        case ToolResult():
            # It answers a call this conversation does not hold (any more): what it says is kept, as text.
            return [block for said in _said(part) for block in _media(said)]
        case _:
            return _media(part)


def _thought(part: Thinking) -> list[_Object]:
    """Return what Anthropic thought itself; what is unsigned, or signed by another vendor, it does not take back."""
    redacted = unmarked(Signer.ANTHROPIC, part.redacted)
    if redacted is not None:
        return [{"type": "redacted_thinking", "data": redacted}]
    signature = unmarked(Signer.ANTHROPIC, part.signature)
    return [] if signature is None else [{"type": "thinking", "thinking": part.text, "signature": signature}]


def _media(part: Media) -> list[_Object]:  # noqa: RET503 - bad_field does not return
    match part:
        case Text():
            return [_text(part)] if part.text.strip() else []
        case Image(mime, data):
            return [{"type": "image", "source": _inline(mime, data)}]
        case ImageLink(url):
            return [{"type": "image", "source": {"type": "url", "url": url}}]
        case File(mime, data, name):
            return [_document(mime, data, name)]
        case Audio():
            bad_field("messages", "the model asked for takes no audio")
        case _:
            assert_never(part)


def _text(part: Text) -> _Object:
    block: _Object = {"type": "text", "text": part.text}
    return block if part.cache is None else block | {"cache_control": part.cache}


def _inline(mime: str, data: Base64) -> _Object:
    return {"type": "base64", "media_type": mime, "data": data}


def _document(mime: str, data: Base64, name: str | None) -> _Object:
    named: _Object = {"title": name} if name else {}
    if mime == "application/pdf":
        return {"type": "document", "source": _inline(mime, data)} | named
    if not mime.startswith("text/") and mime != "application/json":
        bad_field("messages", f"the model asked for takes no files of type {mime[:100]}")
    try:
        text = base64.b64decode(str(data), validate=True).decode()
    except ValueError:  # UnicodeDecodeError is one
        bad_field("messages", f"a file of type {mime[:100]} is no text in base64")
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}} | named


def _call_id(identifier: str) -> str:
    return _ID_FORBIDDEN.sub("_", identifier)


# ------------------------------------------------------------------------------------------------------------ tools


def _tools(request: Request, names: ToolNames) -> _Object:
    choice = request.tool_choice
    tools = [_tool(tool, names) for tool in _offered(request.tools, choice)]
    if not tools:
        return {}
    ruled = _choice(choice, names, parallel=request.parallel_tool_calls)
    return {"tools": tools} | ({"tool_choice": ruled} if ruled else {})


def _offered(tools: Sequence[Tool], choice: ToolChoice | None) -> Iterable[Tool]:
    """Return the tools that may be called: of several names in a choice Anthropic knows nothing, so the others are not offered."""
    if choice is None or len(choice.names) < 2:
        return tools
    return [tool for tool in tools if isinstance(tool, FunctionTool) and tool.name in choice.names]


def _tool(tool: Tool, names: ToolNames) -> _Object:
    if isinstance(tool, NativeTool):
        return dict(_NATIVE[tool.kind])
    out: _Object = {"name": names.outward(tool.name)}
    if tool.description:
        out["description"] = tool.description
    schema = dict(tool.parameters or {})
    out["input_schema"] = schema if schema.get("type") == "object" else {"type": "object", **schema}
    return out


def _choice(choice: ToolChoice | None, names: ToolNames, *, parallel: bool | None) -> _Object:
    single: _Object = {"disable_parallel_tool_use": True} if parallel is False else {}
    if choice is None:
        return {"type": "auto", **single} if single else {}
    match choice.mode:
        case ToolMode.NONE:
            return {"type": "none"}
        case ToolMode.REQUIRED if len(choice.names) == 1:
            return {"type": "tool", "name": names.outward(choice.names[0]), **single}
        case ToolMode.REQUIRED:
            return {"type": "any", **single}
        case ToolMode.AUTO:
            return {"type": "auto", **single}
        case _:
            assert_never(choice.mode)


# --------------------------------------------------------------------------------------------------------- settings


def _most(sampling: Sampling, model: ClaudeModel) -> int:
    asked = DEFAULT_MAX_TOKENS if sampling.max_tokens is None else sampling.max_tokens
    return max(1, asked if model.max_output is None else min(asked, model.max_output))


def _sampling(sampling: Sampling, chance: Chance) -> _Object:
    out: _Object = {}
    stop = [text for text in sampling.stop if text.strip()] if sampling.stop else None
    if stop:
        out["stop_sequences"] = stop
    if chance is Chance.NONE:
        return out
    warmth = sampling.temperature
    if warmth is not None:
        out["temperature"] = min(warmth, 1.0)  # Anthropic's scale ends there
    if sampling.top_k is not None:
        out["top_k"] = sampling.top_k
    if sampling.top_p is not None and (warmth is None or chance is Chance.ALL):
        out["top_p"] = sampling.top_p
    return out


def _thinking(wish: Reasoning | None, model: ClaudeModel, most: int) -> _Object:
    fitted = fit(wish, model.thinking) if wish else None
    if wish is None or fitted is None:
        return {}
    if wish.effort is Effort.NONE and model.off is not Off.NEVER:
        return _unthinking({}, model)
    if fitted.level is not None:
        effort: _Object = {} if wish.effort is Effort.AUTO else {"effort": fitted.level.value}
        return {"thinking": {"type": "adaptive"}, **effort}
    # Thoughts count against the limit: a quarter of it is left to say something.
    budget = min(fitted.budget or 0, most - most // 4)
    return {"thinking": {"type": "enabled", "budget_tokens": budget}} if budget >= _LEAST_BUDGET else {}


def _unthinking(thinking: _Object, model: ClaudeModel) -> _Object:
    """Return how hard to work without thinking; some models have to be told that, and then take no effort above `high`."""
    effort = {key: value for key, value in thinking.items() if key == "effort"}
    if model.off is not Off.DISABLED:
        return effort
    if effort.get("effort") in (Effort.XHIGH, Effort.MAX):
        effort = {"effort": Effort.HIGH.value}
    return {"thinking": _OFF, **effort}


def _output(request: Request, thinking: _Object) -> _Object:
    out: _Object = {key: value for key, value in thinking.items() if key == "thinking"}
    config: _Object = {key: value for key, value in thinking.items() if key == "effort"}
    if request.output is not None and request.output.schema is not None:
        config["format"] = {"type": "json_schema", "schema": output_schema(request.output.schema)}
    return out | ({"output_config": config} if config else {})
