"""OpenAI Responses, request side: body -> `ir.Request`.

Owns: what each field means. It must never guess at a broken field: every fault is a `bad_request` that names it by path.

Nothing is remembered between requests: a client that wants the provider to keep the conversation is told so, and one that sends it whole (`store: false`, as
Codex does) is served. A custom tool, whose input is free text, becomes a function with one text; tools of a namespace become tools beside the others.

A developer's message after others stays where it stands, as the user's: moved to the front it would be read before what it comments on, and change the
beginning that caches live on.
"""

from typing import Final

import msgspec

from broker.translate import claude_signatures
from broker.translate.data_url import image_at, split_data_url
from broker.translate.effort import parse_effort, split_suffix
from broker.translate.fields import bad_field, join, read, read_arguments, read_text, read_text_or_none
from broker.translate.ir import (
    Effort,
    File,
    FunctionTool,
    Image,
    JsonObject,
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
from broker.translate.responses_spaces import Spaces
from broker.translate.responses_wire import NULL, WireChoice, WireEcho, WireItem, WirePart, WireRequest, WireTool

_REQUEST: Final = msgspec.json.Decoder(WireRequest)
_ECHO: Final = msgspec.json.Decoder(WireEcho)
_CONVERSATION: Final = msgspec.json.Decoder()
_OUTPUT: Final = msgspec.json.Decoder(str | list[WirePart])

COMPACT_YOURSELF: Final = (
    "only OpenAI can compact a conversation so; let the client do it: Codex does where its provider has another name than OpenAI"
    " (`name` in [model_providers.X])"
)
"""What to do about a request for compaction that went to another vendor. Source: openai/codex, `supports_remote_compaction`."""

EXTRAS: Final = "openai-responses"
"""The name under which `Request.extras` holds what only an answer in this dialect needs: `echo`, `custom`, `spaces` and `encrypted`."""

INPUT: Final = "input"
"""The one argument of a function that stands for a custom tool."""

_MODES: Final = {"auto": ToolMode.AUTO, "none": ToolMode.NONE, "required": ToolMode.REQUIRED}
_NATIVE: Final = (
    ("web_search", NativeKind.WEB_SEARCH),
    ("code_interpreter", NativeKind.CODE_EXECUTION),
)
_FREE_TEXT: Final[JsonObject] = {
    "type": "object",
    "properties": {INPUT: {"type": "string", "description": "The whole input of the tool, as it is."}},
    "required": [INPUT],
}


def decode(body: bytes) -> Request:
    """Understand a request body.

    Raises:
        BrokerError: `bad_request` whose detail begins with the field's path.
    """
    wire = read(_REQUEST, body)
    _check(wire)
    model, suffix = split_suffix(wire.model)
    if not model.strip():
        bad_field("model", "must not be empty")
    spaces = Spaces(wire.tools or ())
    system, messages = _conversation(wire, spaces)
    if not messages and not system:
        bad_field("input", "must hold at least one item")
    tools = tuple(_tool(tool, path) for path, tool in spaces.tools)
    return Request(
        model=model,
        asked_model=wire.model,
        messages=messages,
        system=system,
        tools=tools,
        tool_choice=_tool_choice(wire.tool_choice, tools, spaces),
        parallel_tool_calls=wire.parallel_tool_calls,
        sampling=Sampling(
            temperature=wire.temperature,
            top_p=wire.top_p,
            max_tokens=wire.max_output_tokens,
            logprobs=True if wire.top_logprobs else None,
            top_logprobs=wire.top_logprobs or None,
        ),
        output=_output(wire),
        reasoning=_reasoning(wire, suffix),
        stream=bool(wire.stream),
        include_usage=True,
        session=_session(wire),
        extras={EXTRAS: _extras(wire, body, spaces)},
    )


def _check(wire: WireRequest) -> None:
    if wire.previous_response_id:
        bad_field("previous_response_id", "answers are not kept here; send the conversation in input")
    if _CONVERSATION.decode(wire.conversation) is not None:
        bad_field("conversation", "conversations are not kept here; send them in input")
    if wire.prompt is not None:
        bad_field("prompt", "prompts kept at OpenAI are not available here; send their text")
    if wire.background:
        bad_field("background", "requests are not run in the background here")


def _extras(wire: WireRequest, body: bytes, spaces: Spaces) -> JsonObject:
    custom = frozenset(tool.name for _, tool in spaces.tools if tool.type == "custom" and tool.name)
    encrypted = "reasoning.encrypted_content" in (wire.include or ())
    return {"echo": _ECHO.decode(body), "custom": custom, "spaces": spaces.back, "encrypted": encrypted}


# ------------------------------------------------------------------------------------------------------------ input


def _conversation(wire: WireRequest, spaces: Spaces) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    system = [Text(wire.instructions)] if wire.instructions else []
    if isinstance(wire.input, str):
        return tuple(system), (Message(Role.USER, (Text(wire.input),)),)
    messages: list[Message] = []
    carried: str | None = None
    for i, item in enumerate(wire.input):
        path = f"input[{i}]"
        if item.role in ("system", "developer") and item.type in (None, "message"):
            told = _instructions(item, path)
            if messages:
                messages.append(Message(Role.USER, tuple(told)))
            else:
                system.extend(told)
            continue
        if item.type == "reasoning":
            carried = claude_signatures.read(item.encrypted_content)[1] or carried
        message = _item(item, path, carried, spaces)
        if item.type in ("function_call", "custom_tool_call"):
            carried = None
        if message is not None:
            messages.append(message)
    return tuple(system), tuple(messages)


def _instructions(item: WireItem, path: str) -> list[Text]:
    parts: list[Text] = []
    for i, part in enumerate(_content(item, path)):
        if not isinstance(part, Text):
            bad_field(f"{path}.content[{i}].type", f"a {item.role} message holds text only")
        parts.append(part)
    return parts


def _item(  # noqa: RET503 - one case a type; bad_field does not return
    item: WireItem, path: str, carried: str | None, spaces: Spaces
) -> Message | None:
    match item.type:
        case None | "message":
            return _message(item, path)
        case "reasoning":
            own = claude_signatures.read(item.encrypted_content)[0]
            text = "".join(part.text or "" for part in item.summary or ())
            return Message(Role.ASSISTANT, (Thinking(text, own),)) if text or own else None
        case "function_call":
            return _call(item, path, read_arguments(item.arguments or "", join(path, "arguments")), carried, spaces)
        case "custom_tool_call":
            return _call(item, path, {INPUT: item.input or ""}, carried, spaces)
        case "function_call_output" | "custom_tool_call_output":
            return Message(Role.USER, (_result(item, path),))
        case "image_generation_call":
            image = read_text_or_none(item.result, join(path, "result"))
            return Message(Role.ASSISTANT, (Image("image/png", image),)) if image else None
        case "compaction_trigger" | "context_compaction":
            bad_field(join(path, "type"), COMPACT_YOURSELF)
        case "web_search_call" | "code_interpreter_call" | "compaction" | "item_reference":
            bad_field(join(path, "type"), f"{item.type} means something to the provider that made it only")
        case _:
            bad_field(join(path, "type"), "unknown type of item")


def _message(item: WireItem, path: str) -> Message:
    if item.role not in ("user", "assistant"):
        bad_field(join(path, "role"), "unknown role; expected user, assistant, system or developer")
    return Message(Role(item.role), tuple(_content(item, path)))


def _content(item: WireItem, path: str) -> tuple[Media, ...]:
    at = join(path, "content")
    if item.content is None:
        bad_field(at, "is required")
    if isinstance(item.content, str):
        return (Text(item.content),)
    return tuple(_part(part, f"{at}[{i}]") for i, part in enumerate(item.content))


def _part(part: WirePart, path: str) -> Media:  # noqa: RET503 - bad_field does not return
    match part:
        case WirePart(type="input_text" | "output_text" | "text" | "summary_text", text=str(text)):
            return Text(text)
        case WirePart(type="refusal", refusal=str(text)):
            return Text(text)
        case WirePart(type="input_image") if part.image_url != NULL:
            at = join(path, "image_url")
            return image_at(read_text(part.image_url, at), at)
        case WirePart(type="input_file") if part.file_data != NULL:
            at = join(path, "file_data")
            return File(*split_data_url(read_text(part.file_data, at), at), part.filename)
        case WirePart(type="input_file" | "input_image", file_id=str()):
            bad_field(join(path, "file_id"), "uploaded files are not available here; send the content")
        case WirePart(type="input_file", file_url=str()):
            bad_field(join(path, "file_url"), "files by URL are not fetched from here; send the content")
        case WirePart(type="input_text" | "output_text" | "refusal" | "input_image" | "input_file"):
            bad_field(path, f"a part of type {part.type} without content")
        case _:
            bad_field(join(path, "type"), "unknown type; expected input_text, output_text, input_image or input_file")


def _call(item: WireItem, path: str, arguments: JsonObject, signature: str | None, spaces: Spaces) -> Message:
    if not item.call_id:
        bad_field(join(path, "call_id"), "is required")
    if not item.name:
        bad_field(join(path, "name"), "is required")
    name = spaces.one(item.namespace, item.name)
    return Message(Role.ASSISTANT, (ToolCall(item.call_id, name, arguments, signature),))


def _result(item: WireItem, path: str) -> Part:
    if not item.call_id:
        bad_field(join(path, "call_id"), "is required")
    at = join(path, "output")
    output = read(_OUTPUT, item.output, at)
    if isinstance(output, str):
        return ToolResult(item.call_id, (Text(output),))
    return ToolResult(item.call_id, tuple(_part(part, f"{at}[{i}]") for i, part in enumerate(output)))


# --------------------------------------------------------------------------------------------------------- settings


def _tool(tool: WireTool, path: str) -> Tool:  # noqa: RET503 - bad_field does not return
    if tool.type in ("function", "custom") and not tool.name:
        bad_field(join(path, "name"), "is required")
    if tool.type == "function":
        return FunctionTool(str(tool.name), tool.description, tool.parameters, tool.strict)
    if tool.type == "custom":
        return FunctionTool(str(tool.name), tool.description, _FREE_TEXT)
    kind = next((kind for start, kind in _NATIVE if tool.type.startswith(start)), None)
    if kind is not None:
        return NativeTool(kind, optional=True)
    bad_field(join(path, "type"), "unknown tool; expected function, custom, namespace, web_search or code_interpreter")


def _tool_choice(wire: str | WireChoice | None, tools: tuple[Tool, ...], spaces: Spaces) -> ToolChoice | None:
    if wire is None:
        return None
    if isinstance(wire, str):
        if wire not in _MODES:
            bad_field("tool_choice", f"unknown choice; expected {', '.join(_MODES)} or an object")
        return ToolChoice(_MODES[wire])
    declared = {tool.name for tool in tools if isinstance(tool, FunctionTool)}
    if wire.type in ("function", "custom"):
        return ToolChoice(ToolMode.REQUIRED, (_declared(wire, declared, "tool_choice", spaces),))
    if wire.type == "allowed_tools":
        named = [
            _declared(tool, declared, f"tool_choice.tools[{i}]", spaces)
            for i, tool in enumerate(wire.tools or ())
            if tool.type in ("function", "custom")
        ]
        return ToolChoice(_MODES.get(wire.mode or "auto", ToolMode.AUTO), tuple(named))
    # A tool of the provider's own: it may be called, and nothing narrower can be said of it elsewhere.
    return ToolChoice(ToolMode.AUTO)


def _declared(wire: WireChoice, declared: set[str], path: str, spaces: Spaces) -> str:
    name = spaces.one(wire.namespace, wire.name or "")
    if name not in declared:
        bad_field(join(path, "name"), "no tool of this name is declared")
    return name


def _output(wire: WireRequest) -> JsonOutput | None:
    form = wire.text.format if wire.text else None
    if form is None or form.type == "text":
        return None
    return JsonOutput(form.schema, form.name, form.strict) if form.type == "json_schema" else JsonOutput()


def _reasoning(wire: WireRequest, suffix: Reasoning | None) -> Reasoning | None:
    """Read how hard to think; a summary that is asked for makes it visible, and the model's suffix beats the fields."""
    asked = wire.reasoning
    visible = asked is not None and asked.summary not in (None, "none")
    wish = suffix
    if wish is None and asked is not None and asked.effort is not None:
        wish = parse_effort(asked.effort)
        if wish is None:
            bad_field("reasoning.effort", f"unknown effort; expected {', '.join(Effort)}")
    if wish is None:
        return Reasoning(effort=Effort.AUTO, visible=True) if visible else None
    return Reasoning(wish.effort, wish.budget, visible or None)


def _session(wire: WireRequest) -> str | None:
    return next((value for value in (wire.prompt_cache_key, wire.user) if isinstance(value, str) and value), None)
