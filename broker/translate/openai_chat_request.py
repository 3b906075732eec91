"""OpenAI chat completions, request side: body -> `ir.Request`.

Owns: what each field means. It must never guess at a broken field: every fault is a `bad_request` that names it by path.
"""

import msgspec

from broker.translate.blob import Base64
from broker.translate.data_url import image_at, is_data_url, split_data_url
from broker.translate.effort import parse_effort, split_suffix
from broker.translate.fields import bad_field, join, read, read_arguments, read_text, read_text_or_none
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
from broker.translate.openai_chat_wire import (
    WireAudio,
    WireCall,
    WireChoice,
    WireFile,
    WireImage,
    WireMessage,
    WirePart,
    WireRequest,
    WireTool,
    WireUrl,
)

_REQUEST = msgspec.json.Decoder(WireRequest)
_CONTENT = msgspec.json.Decoder(str | list[WirePart | str] | None)
_URL = msgspec.json.Decoder(WireUrl | str | None)
_ANYTHING = msgspec.json.Decoder()
_STRING = msgspec.json.Decoder(str)

_ANY_IMAGE = ImageOptions()
_INSTRUCTIONS = ("system", "developer")
_SAID_BY_ASSISTANT = ("text", "refusal", "image_url")
_MODES = {
    "auto": ToolMode.AUTO,
    "none": ToolMode.NONE,
    "required": ToolMode.REQUIRED,
    "any": ToolMode.REQUIRED,
}
_NATIVE = {
    "google_search": NativeKind.WEB_SEARCH,
    "code_execution": NativeKind.CODE_EXECUTION,
    "url_context": NativeKind.URL_CONTEXT,
}
_SOUNDS = {
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "pcm16": "audio/pcm",
}  # other formats are called like their media type
_BY_ENDING = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}


def decode(body: bytes) -> Request:
    """Understand a request body.

    Raises:
        BrokerError: `bad_request` whose detail begins with the field's path.
    """
    wire = read(_REQUEST, body)
    if not wire.messages:
        bad_field("messages", "must hold at least one message")
    if wire.functions is not None:
        bad_field("functions", "this deprecated field is not supported; use tools")
    if wire.function_call is not None:
        bad_field("function_call", "this deprecated field is not supported; use tool_choice")
    model, suffix = split_suffix(wire.model)
    if not model.strip():
        bad_field("model", "must not be empty")
    system, messages = _conversation(wire.messages)
    tools = _tools(wire)
    return Request(
        model=model,
        asked_model=wire.model,
        messages=messages,
        system=system,
        tools=tools,
        tool_choice=_tool_choice(wire.tool_choice, tools),
        parallel_tool_calls=wire.parallel_tool_calls,
        sampling=_sampling(wire),
        output=_output(wire),
        reasoning=suffix or _reasoning(wire.reasoning_effort),
        image=_image_options(wire),
        stream=bool(wire.stream),
        include_usage=bool(wire.stream_options and wire.stream_options.include_usage),
        session=_session(wire),
        extras=_extras(wire),
    )


# --------------------------------------------------------------------------------------------------------- messages


def _conversation(wire: list[WireMessage]) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    system: list[Text] = []
    messages: list[Message] = []
    for i, message in enumerate(wire):
        role, path = message.role, f"messages[{i}]"
        if role == "user":
            messages.append(Message(Role.USER, tuple(_media(message, path))))
        elif role == "assistant":
            messages.append(Message(Role.ASSISTANT, _assistant(message, path)))
        elif role == "tool":
            messages.append(Message(Role.USER, (_tool_result(message, path),)))
        elif role in _INSTRUCTIONS:
            system.extend(_instructions(message, path))
        else:
            bad_field(f"{path}.role", "unknown role; expected system, developer, user, assistant or tool")
    return tuple(system), tuple(messages)


def _instructions(message: WireMessage, path: str) -> list[Text]:
    parts: list[Text] = []
    for i, part in enumerate(_media(message, path)):
        if not isinstance(part, Text):
            bad_field(f"{path}.content[{i}].type", f"a {message.role} message holds text only")
        parts.append(part)
    return parts


def _media(message: WireMessage, path: str) -> list[Media]:
    path = f"{path}.content"
    content = read(_CONTENT, message.content, path)
    if content is None:
        bad_field(path, "is required")
    return _parts(content, path)


def _parts(content: str | list[WirePart | str], path: str) -> list[Media]:
    if isinstance(content, str):
        return [Text(content)]
    return [Text(p) if isinstance(p, str) else _part(p, f"{path}[{i}]") for i, p in enumerate(content)]


def _part(part: WirePart, path: str) -> Media:  # noqa: RET503 - bad_field does not return
    match part:
        case WirePart(type="text", text=str(text)):
            return Text(text, cache=_cache(part.cache_control))
        case WirePart(type="refusal", refusal=str(text)):
            return Text(text)
        case WirePart(type="image_url"):
            return _image(part.image_url, join(path, "image_url"))
        case WirePart(type="video_url"):
            plain, at = _url(part.video_url, join(path, "video_url"))
            return File(*split_data_url(plain, at))
        case WirePart(type="input_audio", input_audio=WireAudio() as sound):
            return _audio(sound, join(path, "input_audio"))
        case WirePart(type="file", file=WireFile() as file):
            return _file(file, join(path, "file"))
        case WirePart(type="text" | "refusal" | "input_audio" | "file"):
            bad_field(join(path, part.type), "is required")
        case _:
            bad_field(join(path, "type"), "unknown type; expected text, image_url, input_audio, file or video_url")


def _cache(mark: object) -> JsonObject | None:
    return mark if isinstance(mark, dict) and mark.get("type") == "ephemeral" else None


def _url(value: msgspec.Raw, path: str) -> tuple[Base64, str]:
    """Return a URL, which is text or stands in an object, and where it stands."""
    if _is_text(value):
        return read_text(value, path), path
    wire = read(_URL, value, path)
    if not isinstance(wire, WireUrl):
        bad_field(path, "is required")
    at = join(path, "url")
    return read_text(wire.url, at), at


def _is_text(value: msgspec.Raw) -> bool:
    return bytes(memoryview(value)[:1]) == b'"'


def _image(value: msgspec.Raw, path: str) -> Image | ImageLink:
    return image_at(*_url(value, path))


def _audio(sound: WireAudio, path: str) -> Audio:
    word = sound.format.lower()
    if not word.isalnum() or not word.isascii():
        bad_field(join(path, "format"), "unknown format; expected a word like wav or mp3")
    data = read_text(sound.data, join(path, "data"))
    if not data:
        bad_field(join(path, "data"), "holds no data")
    return Audio(_SOUNDS.get(word, f"audio/{word}"), data)


def _file(file: WireFile, path: str) -> File:
    at = join(path, "file_data")
    content = read_text_or_none(file.file_data, at)
    if not content:
        why = "uploaded files are not available here; send file_data" if file.file_id else "is required"
        bad_field(join(path, "file_id") if file.file_id else at, why)
    if is_data_url(content):
        return File(*split_data_url(content, at), file.filename)
    known = _BY_ENDING.get((file.filename or "").rpartition(".")[2].lower())
    if known is None:
        bad_field(at, "expected a data: URL, or a filename whose ending says what it is")
    return File(known, content, file.filename)


def _assistant(message: WireMessage, path: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    if message.function_call is not None:
        bad_field(join(path, "function_call"), "this deprecated field is not supported; use tool_calls")
    if message.audio is not None:
        bad_field(join(path, "audio"), "earlier audio answers are not available here; send their text")
    if message.reasoning_content:
        parts.append(Thinking(message.reasoning_content))
    at = f"{path}.content"
    content = read(_CONTENT, message.content, at)
    if isinstance(content, list):
        for i, part in enumerate(content):
            if isinstance(part, WirePart) and part.type not in _SAID_BY_ASSISTANT:
                bad_field(f"{at}[{i}].type", "an assistant message holds text, refusals and images")
    parts += _parts(content if content is not None else message.refusal or "", at)
    images = [_earlier_image(image, f"{path}.images[{i}]") for i, image in enumerate(message.images or ())]
    parts = _signed(parts, images, _signature(message.extra_content))
    if message.tool_calls:
        parts += [_tool_call(call, f"{path}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls)]
    return tuple(parts)


def _signed(parts: list[Part], images: list[Part], signature: str | None) -> list[Part]:
    """Put a message's own signature on its last text, or where that says nothing on an empty one after the images."""
    if signature is None:
        return parts + images
    last = parts[-1] if parts else None
    if isinstance(last, Text) and last.text:
        return [*parts[:-1], Text(last.text, signature, last.cache), *images]
    return [*parts, *images, Text("", signature)]


def _earlier_image(image: WireImage, path: str) -> Part:
    found = _image(image.image_url, join(path, "image_url"))
    if isinstance(found, ImageLink):
        return found
    return Image(found.mime, found.data, _signature(image.extra_content))


def _tool_call(call: WireCall, path: str) -> ToolCall:
    if call.type != "function":
        bad_field(join(path, "type"), "only function calls are supported")
    function = call.function
    arguments = function.arguments
    if isinstance(arguments, str):
        arguments = read_arguments(arguments, f"{path}.function.arguments")
    # Where Google's documentation puts it, then where other proxies do.
    signature = (
        _signature(call.extra_content)
        or _told(call.thought_signature)
        or _signature(call.provider_specific_fields)
        or _told(function.thought_signature)
    )
    return ToolCall(call.id, function.name, arguments or {}, signature)


def _signature(place: object) -> str | None:
    """Find a thought signature in an object, or in what the object holds of Google's."""
    inner = place.get("google", place) if isinstance(place, dict) else None
    if not isinstance(inner, dict):
        return None
    return _told(inner.get("thought_signature")) or _told(inner.get("thoughtSignature"))


def _told(signature: object) -> str | None:
    return signature if isinstance(signature, str) and signature else None


def _tool_result(message: WireMessage, path: str) -> ToolResult:
    path = f"{path}.content"
    call_id = message.tool_call_id or ""
    if _is_text(message.content):
        return ToolResult(call_id, (Text(read(_STRING, message.content, path)),), message.name)
    value = read(_ANYTHING, message.content, path)
    if _is_content(value):
        content = read(_CONTENT, message.content, path)
        return ToolResult(call_id, tuple(_parts(content or [], path)), message.name)
    return ToolResult(call_id, (), message.name, structured=value)


def _is_content(value: object) -> bool:
    """Tell content parts from a JSON value some client put in their place."""
    return isinstance(value, list) and all(isinstance(part, dict) and "type" in part for part in value)


# ------------------------------------------------------------------------------------------------------------ tools


def _tools(wire: WireRequest) -> tuple[Tool, ...]:
    tools = tuple([_tool(tool, f"tools[{i}]") for i, tool in enumerate(wire.tools)]) if wire.tools else ()
    if wire.web_search_options is None:
        return tools
    return (*tools, NativeTool(NativeKind.WEB_SEARCH))


def _tool(tool: WireTool, path: str) -> Tool:  # noqa: RET503 - bad_field does not return
    function = tool.function
    if function is not None:
        if not function.name:
            bad_field(join(path, "function.name"), "must not be empty")
        return FunctionTool(function.name, function.description, function.parameters, function.strict)
    if tool.type == "function":
        bad_field(join(path, "function"), "is required")
    for key, kind in _NATIVE.items():
        settings: JsonObject | None = getattr(tool, key)
        if settings is not None or tool.type == key:
            return NativeTool(kind, settings or {})
    bad_field(join(path, "type"), f"unknown tool; expected function, {', '.join(_NATIVE)}")


def _tool_choice(wire: str | WireChoice | None, tools: tuple[Tool, ...]) -> ToolChoice | None:
    if wire is None:
        return None
    if isinstance(wire, str):
        if wire not in _MODES:
            bad_field("tool_choice", f"unknown choice; expected {', '.join(_MODES)} or an object")
        return ToolChoice(_MODES[wire])
    declared = {tool.name for tool in tools if isinstance(tool, FunctionTool)}
    if wire.type == "function":
        if wire.function is None:
            bad_field("tool_choice.function", "is required")
        _check_declared(wire.function.name, declared, "tool_choice.function.name")
        return ToolChoice(ToolMode.REQUIRED, (wire.function.name,))
    if wire.allowed_tools is None:
        bad_field("tool_choice.allowed_tools", "is required")
    names = tuple(tool.function.name for tool in wire.allowed_tools.tools)
    for i, name in enumerate(names):
        _check_declared(name, declared, f"tool_choice.allowed_tools.tools[{i}].function.name")
    return ToolChoice(ToolMode(wire.allowed_tools.mode), names)


def _check_declared(name: str, declared: set[str], path: str) -> None:
    if name not in declared:
        bad_field(path, "no tool of this name is declared")


# --------------------------------------------------------------------------------------------------------- settings


def _sampling(wire: WireRequest) -> Sampling:
    n = 1 if wire.n is None else wire.n
    if n < 1:
        bad_field("n", "must be at least 1")
    return Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        max_tokens=wire.max_tokens if wire.max_tokens is not None else wire.max_completion_tokens,
        stop=(wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
        seed=wire.seed,
        presence_penalty=wire.presence_penalty,
        frequency_penalty=wire.frequency_penalty,
        logprobs=wire.logprobs,
        top_logprobs=wire.top_logprobs,
        n=n,
    )


def _output(wire: WireRequest) -> JsonOutput | None:
    form = wire.response_format
    if form is None or form.type == "text":
        return None
    shape = form.json_schema
    if form.type == "json_object" or shape is None:
        return JsonOutput()
    return JsonOutput(shape.schema, shape.name, shape.strict)


def _reasoning(text: str | None) -> Reasoning | None:
    if text is None:
        return None
    wish = parse_effort(text)
    if wish is None:
        bad_field("reasoning_effort", f"unknown effort; expected {', '.join(Effort)}")
    return wish


def _image_options(wire: WireRequest) -> ImageOptions:
    config = wire.image_config
    if config is None and wire.modalities is None:
        return _ANY_IMAGE
    asked = [word.lower() for word in wire.modalities or ()]
    ratio, size = (config.aspect_ratio, config.image_size) if config else (None, None)
    return ImageOptions(
        modalities=tuple(word for word in asked if word in ("text", "image")),
        aspect_ratio=ratio if isinstance(ratio, str) else None,
        size=size if isinstance(size, str) else None,
    )


def _session(wire: WireRequest) -> str | None:
    for value in (wire.prompt_cache_key, wire.session_id, wire.conversation_id, wire.user):
        if isinstance(value, str) and value:
            return value
    return None


def _extras(wire: WireRequest) -> dict[str, JsonObject]:
    gemini: dict[str, object] = {}
    if wire.generation_config is not None:
        gemini["generationConfig"] = wire.generation_config
    if wire.safety_settings is not None:
        gemini["safetySettings"] = wire.safety_settings
    return {"gemini": gemini} if gemini else {}
