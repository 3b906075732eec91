"""Anthropic messages, request side: body -> `ir.Request`.

Owns: what each field means. It must never guess at a broken field: every fault is a `bad_request` that names it by path.

A `system` message among the others (Claude Code sends reminders so) stays where it stands, as the user's: moved to the front it would be read before
what it comments on, and change the beginning that caches live on.
"""

from typing import Final

import msgspec

from broker.translate import claude_signatures
from broker.translate.blob import Base64
from broker.translate.claude_wire import (
    WireBlock,
    WireMessage,
    WireRequest,
    WireSource,
    WireTool,
    WireToolChoice,
)
from broker.translate.effort import of_budget, parse_effort, split_suffix
from broker.translate.fields import bad_field, join, read, read_text_or_none
from broker.translate.ir import (
    Effort,
    File,
    FunctionTool,
    Image,
    ImageLink,
    JsonOutput,
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

_REQUEST: Final = msgspec.json.Decoder(WireRequest)
_CONTENT: Final = msgspec.json.Decoder(str | list[WireBlock] | None)
_BLOCKS: Final = "text, image, document, search_result, tool_use, tool_result, thinking or redacted_thinking"
# Claude Code's note to Anthropic who pays stands first. It is no instruction, and differs between conversations, so that others' caches would miss.
_BILLING: Final = "x-anthropic-billing-header:"
_MODES: Final = {"auto": ToolMode.AUTO, "none": ToolMode.NONE, "any": ToolMode.REQUIRED}
# Anthropic's own tools are named by type and date; those with a counterpart elsewhere, by how the type begins.
_NATIVE: Final = (
    ("web_search_", NativeKind.WEB_SEARCH),
    ("web_fetch_", NativeKind.URL_CONTEXT),
    ("code_execution_", NativeKind.CODE_EXECUTION),
)


def decode(body: bytes, *, counting: bool = False) -> Request:
    """Understand a request body; `counting` is for `count_tokens`, which needs no `max_tokens`.

    Raises:
        BrokerError: `bad_request` whose detail begins with the field's path.
    """
    wire = read(_REQUEST, body)
    if not wire.messages:
        bad_field("messages", "must hold at least one message")
    if wire.max_tokens is None and not counting:
        bad_field("max_tokens", "is required")
    if wire.max_tokens is not None and wire.max_tokens < 1:
        bad_field("max_tokens", "must be at least 1")
    for name, value in (("mcp_servers", wire.mcp_servers), ("container", wire.container)):
        if value:
            bad_field(name, "this works at Anthropic only; the model asked for is another vendor's")
    model, suffix = split_suffix(wire.model)
    if not model.strip():
        bad_field("model", "must not be empty")
    tools = tuple(_tool(tool, f"tools[{i}]") for i, tool in enumerate(wire.tools or ()))
    return Request(
        model=model,
        asked_model=wire.model,
        messages=tuple(_message(message, f"messages[{i}]") for i, message in enumerate(wire.messages)),
        system=_system(wire.system),
        tools=tools,
        tool_choice=_tool_choice(wire, tools),
        parallel_tool_calls=_parallel(wire.tool_choice),
        sampling=Sampling(
            temperature=wire.temperature,
            top_p=wire.top_p,
            top_k=wire.top_k,
            max_tokens=wire.max_tokens,
            stop=tuple(wire.stop_sequences or ()),
        ),
        output=_output(wire),
        reasoning=_reasoning(wire, suffix),
        stream=bool(wire.stream),
        include_usage=True,
        session=_session(wire),
    )


# --------------------------------------------------------------------------------------------------------- messages


def _system(wire: str | list[WireBlock] | None) -> tuple[Text, ...]:
    if isinstance(wire, str):
        return (Text(wire),) if wire else ()
    texts = [_text(block, f"system[{i}]") for i, block in enumerate(wire or ())]
    return tuple(text for text in texts if not text.text.startswith(_BILLING))


def _text(block: WireBlock, path: str) -> Text:
    if block.type != "text":
        bad_field(join(path, "type"), "only text can stand here")
    if block.text is None:
        bad_field(join(path, "text"), "is required")
    return Text(block.text)


def _message(wire: WireMessage, path: str) -> Message:  # noqa: RET503 - bad_field does not return
    blocks = [WireBlock("text", text=wire.content)] if isinstance(wire.content, str) else wire.content
    at = join(path, "content")
    match wire.role:
        case "assistant":
            return Message(Role.ASSISTANT, _assistant(blocks, at))
        case "user":
            return Message(Role.USER, tuple(_user(block, f"{at}[{i}]") for i, block in enumerate(blocks)))
        case "system":
            return Message(Role.USER, tuple(_text(block, f"{at}[{i}]") for i, block in enumerate(blocks)))
        case _:
            bad_field(join(path, "role"), "unknown role; expected user, assistant or system")


def _user(block: WireBlock, path: str) -> Part:
    if block.type != "tool_result":
        return _media(block, path)
    if not block.tool_use_id:
        bad_field(join(path, "tool_use_id"), "is required")
    at = join(path, "content")
    content = read(_CONTENT, block.content, at)
    return ToolResult(block.tool_use_id, _parts(content, at), is_error=bool(block.is_error))


def _assistant(blocks: list[WireBlock], path: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    carried: str | None = None
    for i, block in enumerate(blocks):
        at = f"{path}[{i}]"
        if block.type == "tool_use":
            parts.append(_tool_use(block, at, carried))
            carried = None
        elif block.type == "thinking":
            own, of_call = claude_signatures.read(block.signature)
            carried = of_call or carried
            if block.thinking or own:
                parts.append(Thinking(block.thinking or "", own))
        elif block.type == "redacted_thinking":
            # Only Anthropic can read it, and requests for Anthropic do not come by this way.
            continue
        else:
            parts.append(_media(block, at))
    return tuple(parts)


def _tool_use(block: WireBlock, path: str, signature: str | None) -> ToolCall:
    if not block.id:
        bad_field(join(path, "id"), "is required")
    if not block.name:
        bad_field(join(path, "name"), "is required")
    return ToolCall(block.id, block.name, block.input or {}, signature)


def _parts(content: str | list[WireBlock] | None, path: str) -> tuple[Media, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple(_media(block, f"{path}[{i}]") for i, block in enumerate(content or ()))


def _media(block: WireBlock, path: str) -> Media:  # noqa: RET503 - bad_field does not return
    match block:
        case WireBlock(type="text"):
            return _text(block, path)
        case WireBlock(type="image", source=WireSource() as source):
            return _image(source, join(path, "source"))
        case WireBlock(type="document", source=WireSource() as source):
            return _document(source, block.title, join(path, "source"))
        case WireBlock(type="search_result"):
            return Text(_searched(block, path))
        case WireBlock(type="image" | "document"):
            bad_field(join(path, "source"), "is required")
        case _:
            bad_field(join(path, "type"), f"unknown type of block; expected {_BLOCKS}")


def _image(source: WireSource, path: str) -> Image | ImageLink:
    if source.type == "url" and source.url:
        return ImageLink(source.url, join(path, "url"))
    return Image(*_base64(source, path))


def _document(source: WireSource, title: str | None, path: str) -> Media:  # noqa: RET503 - bad_field does not return
    match source.type:
        case "text":
            said_text = read_text_or_none(source.data, join(path, "data"))
            return Text(_titled(title, str(said_text or "")))
        case "content":
            at = join(path, "content")
            said = _parts(read(_CONTENT, source.content, at), at)
            if any(not isinstance(part, Text) for part in said):
                bad_field(at, "only text can stand here")
            return Text(_titled(title, "\n".join(part.text for part in said if isinstance(part, Text))))
        case "url":
            bad_field(join(path, "url"), "documents by URL are not fetched from here; send the content")
        case _:
            mime, data = _base64(source, path)
            return File(mime, data, title)


def _base64(source: WireSource, path: str) -> tuple[str, Base64]:
    if source.type != "base64":
        why = "uploaded files are not available here; send the content" if source.type == "file" else "expected base64"
        bad_field(join(path, "type"), why)
    if not source.media_type or "/" not in source.media_type:
        bad_field(join(path, "media_type"), "is required, like image/png")
    data = read_text_or_none(source.data, join(path, "data"))
    if not data:
        bad_field(join(path, "data"), "holds no data")
    return source.media_type.strip().lower(), data


def _titled(title: str | None, text: str) -> str:
    return f"{title}\n\n{text}" if title else text


def _searched(block: WireBlock, path: str) -> str:
    at = join(path, "content")
    said = _parts(read(_CONTENT, block.content, at), at)
    text = "\n".join(part.text for part in said if isinstance(part, Text))
    where = block.source if isinstance(block.source, str) else None
    return "\n".join(line for line in (block.title, where, text) if line)


# --------------------------------------------------------------------------------------------------------- settings


def _tool(tool: WireTool, path: str) -> Tool:
    if not tool.name:
        bad_field(join(path, "name"), "must not be empty")
    if tool.type in (None, "custom"):
        return FunctionTool(tool.name, tool.description, tool.input_schema, tool.strict)
    kind = next((kind for start, kind in _NATIVE if str(tool.type).startswith(start)), None)
    if kind is not None:
        return NativeTool(kind)
    if tool.input_schema is None:
        bad_field(join(path, "type"), "this tool runs at Anthropic only; the model asked for is another vendor's")
    return FunctionTool(tool.name, tool.description, tool.input_schema)


def _tool_choice(wire: WireRequest, tools: tuple[Tool, ...]) -> ToolChoice | None:
    choice = wire.tool_choice
    if choice is None:
        return None
    if choice.type != "tool":
        if choice.type not in _MODES:
            bad_field("tool_choice.type", "unknown choice; expected auto, any, tool or none")
        return ToolChoice(_MODES[choice.type])
    declared = {told.name: tool for told, tool in zip(wire.tools or (), tools, strict=True)}
    tool = declared.get(choice.name or "")
    if tool is None:
        bad_field("tool_choice.name", "no tool of this name is declared")
    if isinstance(tool, NativeTool):
        return ToolChoice(ToolMode.AUTO)  # it may be called, and nothing narrower can be said of it elsewhere
    return ToolChoice(ToolMode.REQUIRED, (tool.name,))


def _parallel(wire: WireToolChoice | None) -> bool | None:
    return False if wire is not None and wire.disable_parallel_tool_use else None


def _output(wire: WireRequest) -> JsonOutput | None:
    asked = wire.output_config.format if wire.output_config else None
    asked = asked or wire.output_format
    return JsonOutput(asked.schema) if asked is not None and asked.type == "json_schema" else None


def _reasoning(wire: WireRequest, suffix: Reasoning | None) -> Reasoning | None:
    """Read how hard to think: the model's suffix beats the fields, which are shown only where they ask for it."""
    thinking = wire.thinking
    visible = thinking is not None and thinking.type in ("enabled", "adaptive") and thinking.display != "omitted"
    wish = suffix or _wish(wire)
    if wish is None:
        return None
    return Reasoning(wish.effort, wish.budget, visible)


def _wish(wire: WireRequest) -> Reasoning | None:
    effort = wire.output_config.effort if wire.output_config else None
    thinking = wire.thinking
    if thinking is not None and thinking.type == "disabled":
        return Reasoning(effort=Effort.NONE)
    if thinking is not None and thinking.type == "enabled":
        if thinking.budget_tokens is None or thinking.budget_tokens < 1:
            bad_field("thinking.budget_tokens", "is required, and at least 1")
        return of_budget(thinking.budget_tokens)
    if thinking is not None and thinking.type != "adaptive":
        bad_field("thinking.type", "unknown type; expected enabled, adaptive or disabled")
    if effort is None:
        return Reasoning(effort=Effort.AUTO) if thinking is not None else None
    wish = parse_effort(effort)
    if wish is None or wish.effort is None:
        bad_field("output_config.effort", f"unknown effort; expected {', '.join(Effort)}")
    return wish


def _session(wire: WireRequest) -> str | None:
    user = wire.metadata.user_id if wire.metadata else None
    return user if isinstance(user, str) and user else None
