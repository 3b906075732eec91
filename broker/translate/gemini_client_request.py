"""Gemini generateContent, request side: body -> `ir.Request`.

Owns: what each field means. It must never guess at a broken field: every fault is a `bad_request` that names it by path, in camel case whichever way the client
spells it.

Calls of Gemini's clients often have no id: theirs is made of where they stand, the same every time, and `turns` finds their answers by name, in order.

Source: ai.google.dev/api/generate-content, ai.google.dev/gemini-api/docs/function-calling.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from broker.translate import gemini_client_signatures
from broker.translate.blob import spared
from broker.translate.effort import of_budget, parse_effort, split_suffix
from broker.translate.exchange import Route
from broker.translate.fields import bad_field, join, read, shaped
from broker.translate.gemini_client_wire import (
    WireAnswered,
    WireBlob,
    WireCall,
    WireContent,
    WireFile,
    WireFunction,
    WireGeneration,
    WirePart,
    WireRequest,
    WireThinking,
    WireToolConfig,
)
from broker.translate.google_json import camelled, json_schema, standard_base64
from broker.translate.ir import (
    Audio,
    Effort,
    File,
    FunctionTool,
    Image,
    ImageLink,
    ImageOptions,
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

T = TypeVar("T")

EXTRAS: Final = "gemini"
"""Under which name a request keeps what only Google's own models are told."""

_ANY: Final = msgspec.json.Decoder(object)
_GOOGLE_ONLY: Final = (
    ("executableCode", "executable_code"),
    ("codeExecutionResult", "code_execution_result"),
    ("toolCall", "tool_call"),
    ("toolResponse", "tool_response"),
)
_NATIVE: Final = {
    "googleSearch": NativeKind.WEB_SEARCH,
    "googleSearchRetrieval": NativeKind.WEB_SEARCH,
    "codeExecution": NativeKind.CODE_EXECUTION,
    "urlContext": NativeKind.URL_CONTEXT,
}
_MODES: Final = {
    "MODE_UNSPECIFIED": ToolMode.AUTO,
    "AUTO": ToolMode.AUTO,
    "VALIDATED": ToolMode.AUTO,
    "ANY": ToolMode.REQUIRED,
    "NONE": ToolMode.NONE,
}
_SAID: Final = ("output", "result", "error")
_FILES_OF_GOOGLE: Final = "generativelanguage.googleapis.com/"


def decode(body: bytes, route: Route) -> Request:
    """Understand a request body; the route says the model, whether to stream, and whether tokens are only counted.

    Raises:
        BrokerError: `bad_request` whose detail begins with the field's path.
    """
    try:
        return _decode(body, route)
    except RecursionError:
        bad_field("body", "nested too deeply")


def _decode(body: bytes, route: Route) -> Request:
    told = camelled(read(_ANY, body))
    if route.counting and isinstance(told, dict):
        told = told.get("generateContentRequest") or told
    wire = shaped(WireRequest, told)
    asked = (route.model or wire.model or "").removeprefix("models/")
    model, suffix = split_suffix(asked)
    if not model.strip():
        bad_field("model", "must not be empty")
    if wire.cached_content is not None:
        bad_field("cachedContent", "what is cached at Google is not known to the provider of this model")
    tools = _tools(wire.tools)
    generation = wire.generation_config or WireGeneration()
    return Request(
        model=model,
        asked_model=asked,
        messages=_messages(_listed(wire.contents)),
        system=_system(wire.system_instruction),
        tools=tools,
        tool_choice=_tool_choice(wire.tool_config, tools),
        sampling=_sampling(generation),
        output=_output(generation),
        reasoning=_reasoning(generation.thinking_config, suffix),
        image=_image_options(generation),
        stream=bool(route.stream),
        include_usage=True,
        session=wire.session_id if isinstance(wire.session_id, str) and wire.session_id else None,
        extras={} if wire.safety_settings is None else {EXTRAS: {"safetySettings": wire.safety_settings}},
    )


def _listed(value: list[T] | T | None) -> list[T]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


# --------------------------------------------------------------------------------------------------------- contents


def _system(wire: WireContent | None) -> tuple[Text, ...]:
    said: list[Text] = []
    for i, part in enumerate(_listed(wire.parts) if wire else ()):
        if part.text is None:
            bad_field(f"systemInstruction.parts[{i}]", "only text can stand here")
        if part.text:
            said.append(Text(part.text))
    return tuple(said)


def _messages(contents: Sequence[WireContent]) -> tuple[Message, ...]:
    if not contents:
        bad_field("contents", "must hold at least one turn")
    messages: list[Message] = []
    model = _ModelTurn()
    for i, content in enumerate(contents):
        path = f"contents[{i}]"
        parts = [(part, f"{path}.parts[{j}]") for j, part in enumerate(_listed(content.parts))]
        if content.role == "model":
            # A chat of Google's SDK sends each chunk of an answer back as a turn of its own: they are one.
            for j, (part, at) in enumerate(parts):
                model.add(part, at, f"gemini_{i}_{j}")
        elif content.role in (None, "", "user", "function"):
            messages += model.taken()
            messages.append(Message(Role.USER, tuple(said for part, at in parts for said in _user(part, at))))
        else:
            bad_field(join(path, "role"), "unknown role; expected user or model")
    return (*messages, *model.taken())


class _ModelTurn:
    """What the model said, until the user speaks."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def taken(self) -> list[Message]:
        """Return the turn as a message, none where nothing was said."""
        parts, self._parts = self._parts, []
        return [Message(Role.ASSISTANT, tuple(parts))] if parts else []

    def add(self, wire: WirePart, path: str, call_id: str) -> None:
        own, thoughts = gemini_client_signatures.read(wire.thought_signature)
        if thoughts:
            # Their words are in the signature; where they stand as parts as well, nothing proves those.
            self._parts = [part for part in self._parts if not isinstance(part, Thinking) or _proven(part)]
            self._parts += thoughts
        if wire.function_call is not None:
            self._parts.append(_call(wire.function_call, path, call_id, own))
        elif wire.function_response is not None:
            bad_field(join(path, "functionResponse"), "a function is answered by the user, not by the model")
        elif wire.text is not None or _only_signed(wire):
            self._text(wire.text or "", own, thought=bool(wire.thought))
        elif not wire.thought:  # an image made on the way to another
            self._parts.append(_media(wire, path, own))

    def _text(self, text: str, own: str | None, *, thought: bool) -> None:
        last = self._parts[-1] if self._parts else None
        if not text and own is None:
            return
        if thought:
            self._parts.append(Thinking(text, own))
        elif isinstance(last, Text) and last.signature is None and own is None:
            self._parts[-1] = Text(last.text + text)
        else:
            self._parts.append(Text(text, own))


def _proven(thought: Thinking) -> bool:
    return thought.signature is not None or thought.redacted is not None


def _only_signed(wire: WirePart) -> bool:
    # Some of Google's SDKs leave out a text that is empty.
    return bool(wire.thought_signature) and wire == WirePart(
        thought=wire.thought, thought_signature=wire.thought_signature
    )


def _user(wire: WirePart, path: str) -> list[Part]:
    if wire.function_call is not None:
        bad_field(join(path, "functionCall"), "a function is called by the model, not by the user")
    if wire.function_response is not None:
        return [_answered(wire.function_response, join(path, "functionResponse"))]
    if wire.text is not None:
        return [Text(wire.text)] if wire.text else []
    return [_media(wire, path, None)]


def _call(wire: WireCall, path: str, call_id: str, signature: str | None) -> ToolCall:
    if not wire.name:
        bad_field(join(path, "functionCall.name"), "is required")
    return ToolCall(wire.id or call_id, wire.name, wire.args or {}, signature)


def _answered(wire: WireAnswered, path: str) -> ToolResult:
    response = wire.response or {}
    is_error = set(response) == {"error"} and bool(response["error"])
    # Google's clients put what a function said under one of these names.
    value: object = next((response[name] for name in _SAID if set(response) == {name}), response)
    media = tuple(_media(part, f"{path}.parts[{i}]", None) for i, part in enumerate(wire.parts or ()))
    if not isinstance(value, str) and not media:
        return ToolResult(wire.id or "", (), wire.name, is_error, value)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return ToolResult(wire.id or "", (Text(text), *media), wire.name, is_error)


def _media(wire: WirePart, path: str, signature: str | None) -> Media:  # noqa: RET503 - bad_field does not return
    if wire.inline_data is not None:
        return _inline(wire.inline_data, join(path, "inlineData"), signature)
    if wire.file_data is not None:
        return _linked(wire.file_data, join(path, "fileData"))
    for name, field in _GOOGLE_ONLY:
        if getattr(wire, field) is not None:
            bad_field(join(path, name), "this means something to Google's own models only")
    bad_field(path, "a part without content known here")


def _inline(wire: WireBlob, path: str, signature: str | None) -> Media:
    if not wire.mime_type or "/" not in wire.mime_type:
        bad_field(join(path, "mimeType"), "is required, like image/png")
    if not wire.data:
        bad_field(join(path, "data"), "holds no data")
    mime, data = wire.mime_type.strip().lower(), spared(standard_base64(wire.data))
    match mime.partition("/")[0]:
        case "image":
            return Image(mime, data, signature)
        case "audio":
            return Audio(mime, data)
        case _:
            return File(mime, data, wire.display_name)


def _linked(wire: WireFile, path: str) -> ImageLink:
    uri, at = wire.file_uri or "", join(path, "fileUri")
    scheme, _, rest = uri.partition("://")
    if scheme.lower() not in ("http", "https") or rest.startswith(_FILES_OF_GOOGLE):
        bad_field(at, "files uploaded to Google are not available here; send the content as inlineData")
    if not (wire.mime_type or "").lower().startswith("image/"):
        bad_field(at, "only images can be named by their URL; send the content as inlineData")
    return ImageLink(uri, at)


# ------------------------------------------------------------------------------------------------------------ tools


def _tools(wire: list[dict[str, object]] | dict[str, object] | None) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for i, tool in enumerate(_listed(wire)):
        for name, value in tool.items():
            at = f"tools[{i}].{name}"
            if name == "functionDeclarations":
                tools += _functions(shaped(list[WireFunction], _listed(value), at), at)
            elif value is not None:
                tools.append(_native(name, value, at))
    return tuple(tools)


def _functions(wires: list[WireFunction], path: str) -> list[Tool]:
    tools: list[Tool] = []
    for i, wire in enumerate(wires):
        if not wire.name:
            bad_field(f"{path}[{i}].name", "must not be empty")
        own = wire.parameters_json_schema
        schema = own if own is not None else None if wire.parameters is None else json_schema(wire.parameters)
        tools.append(FunctionTool(wire.name, wire.description, schema))
    return tools


def _native(name: str, settings: object, path: str) -> NativeTool:
    kind = _NATIVE.get(name)
    if kind is None:
        bad_field(path, "this tool runs at Google only; the model asked for is another vendor's")
    return NativeTool(kind, settings if isinstance(settings, dict) else {})


def _tool_choice(wire: WireToolConfig | None, tools: tuple[Tool, ...]) -> ToolChoice | None:
    calling = wire.function_calling_config if wire else None
    if calling is None:
        return None
    at = "toolConfig.functionCallingConfig"
    mode = _MODES.get((calling.mode or "AUTO").upper())
    if mode is None:
        bad_field(f"{at}.mode", "unknown mode; expected AUTO, ANY, VALIDATED or NONE")
    declared = {tool.name for tool in tools if isinstance(tool, FunctionTool)}
    names = tuple(calling.allowed_function_names or ())
    for i, name in enumerate(names):
        if name not in declared:
            bad_field(f"{at}.allowedFunctionNames[{i}]", "no function of this name is declared")
    return ToolChoice(mode, names)


# --------------------------------------------------------------------------------------------------------- settings


def _sampling(wire: WireGeneration) -> Sampling:
    for name, value in (("maxOutputTokens", wire.max_output_tokens), ("candidateCount", wire.candidate_count)):
        if value is not None and value < 1:
            bad_field(f"generationConfig.{name}", "must be at least 1")
    return Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        max_tokens=wire.max_output_tokens,
        stop=tuple(wire.stop_sequences or ()),
        seed=wire.seed,
        presence_penalty=wire.presence_penalty,
        frequency_penalty=wire.frequency_penalty,
        logprobs=wire.response_logprobs,
        top_logprobs=wire.logprobs,
        n=wire.candidate_count or 1,
    )


def _output(wire: WireGeneration) -> JsonOutput | None:
    if wire.response_mime_type not in (None, "", "text/plain", "application/json"):
        bad_field("generationConfig.responseMimeType", "expected text/plain or application/json")
    schema: JsonObject | None = wire.response_json_schema
    if schema is None and wire.response_schema is not None:
        schema = json_schema(wire.response_schema)
    return JsonOutput(schema) if schema is not None or wire.response_mime_type == "application/json" else None


def _reasoning(wire: WireThinking | None, suffix: Reasoning | None) -> Reasoning | None:
    """Read how hard to think: the model's suffix beats the fields. Who only asks to see thoughts leaves it to the model."""
    visible = wire is not None and bool(wire.include_thoughts)
    wish = suffix or (_wish(wire) if wire is not None else None)
    if wish is None:
        return Reasoning(effort=Effort.AUTO, visible=True) if visible else None
    return Reasoning(wish.effort, wish.budget, visible)


def _wish(wire: WireThinking) -> Reasoning | None:
    level = (wire.thinking_level or "").lower()
    if level and level != "thinking_level_unspecified":
        wish = parse_effort(level)
        if wish is None or wish.effort is None:
            bad_field("generationConfig.thinkingConfig.thinkingLevel", f"unknown level; expected {', '.join(Effort)}")
        return wish
    return None if wire.thinking_budget is None else of_budget(wire.thinking_budget)


def _image_options(wire: WireGeneration) -> ImageOptions:
    modalities: list[str] = []
    for i, word in enumerate(wire.response_modalities or ()):
        if word.upper() not in ("TEXT", "IMAGE", "MODALITY_UNSPECIFIED"):
            bad_field(f"generationConfig.responseModalities[{i}]", "expected TEXT or IMAGE")
        modalities.append(word.lower())
    image = wire.image_config
    return ImageOptions(
        tuple(word for word in modalities if word in ("text", "image")),
        image.aspect_ratio if image else None,
        image.image_size if image else None,
    )
