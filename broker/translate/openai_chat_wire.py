"""The shapes of an OpenAI chat completions request, as far as this program reads them.

Owns: the typed structs msgspec decodes into. It must never hold a rule: those are in `openai_chat_request`. Fields not named here are skipped;
fields typed `object` are read only where they have the expected type, because clients disagree about them.

Source: platform.openai.com/docs/api-reference/chat/create, and for `extra_content` ai.google.dev/gemini-api/docs/openai.
"""

from typing import Literal

from msgspec import Raw, Struct, field

_NULL = Raw(b"null")


class WireUrl(Struct):
    """`image_url`, `video_url`; clients also send a bare string. `url` is text."""

    url: Raw


class WireAudio(Struct):
    """`input_audio`: base64 text and a format word."""

    data: Raw
    format: str


class WireFile(Struct):
    """`file`: content inline, which is text, or by id."""

    file_data: Raw = _NULL
    file_id: str | None = None
    filename: str | None = None


class WirePart(Struct):
    """One content part: which of the fields counts, `type` says. `cache_control` is Anthropic's, as clients of gateways send it.

    The URLs are a `WireUrl`, text or null, and read once they are asked for: they may hold 20 MB.
    """

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Raw = _NULL
    video_url: Raw = _NULL
    input_audio: WireAudio | None = None
    file: WireFile | None = None
    cache_control: object = None


class WireFunctionCall(Struct):
    """The function of a call; `arguments` is JSON text, from some clients the object itself."""

    name: str
    arguments: str | dict[str, object] | None = None
    thought_signature: object = None


class WireCall(Struct):
    """One tool call in the history, with the places clients keep a signature in."""

    function: WireFunctionCall
    id: str = ""
    type: str = "function"
    extra_content: object = None
    provider_specific_fields: object = None
    thought_signature: object = None


class WireImage(Struct):
    """One earlier image of the assistant, as this program gave it out."""

    image_url: Raw
    extra_content: object = None


class WireMessage(Struct):
    """One message. `content` is decoded once the role is known."""

    role: str
    content: Raw = _NULL
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[WireCall] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    images: list[WireImage] | None = None
    extra_content: object = None
    function_call: object = None
    audio: object = None


class WireFunction(Struct):
    """A declared function."""

    name: str
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class WireTool(Struct):
    """A tool: a function, or one of the provider's own, named by its type or by its key."""

    type: str | None = None
    function: WireFunction | None = None
    google_search: dict[str, object] | None = None
    code_execution: dict[str, object] | None = None
    url_context: dict[str, object] | None = None


class WireNamed(Struct):
    """A name."""

    name: str


class WireAllowedTool(Struct):
    """One function of `allowed_tools`."""

    function: WireNamed


class WireAllowed(Struct):
    """`allowed_tools`: a mode and a subset of the tools."""

    mode: Literal["auto", "required"]
    tools: list[WireAllowedTool]


class WireChoice(Struct):
    """`tool_choice` as an object."""

    type: Literal["function", "allowed_tools"]
    function: WireNamed | None = None
    allowed_tools: WireAllowed | None = None


class WireSchema(Struct):
    """`response_format.json_schema`."""

    name: str | None = None
    schema: dict[str, object] | None = None
    strict: bool | None = None


class WireFormat(Struct):
    """`response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: WireSchema | None = None


class WireImageConfig(Struct):
    """`image_config`; values that are no text are left out."""

    aspect_ratio: object = None
    image_size: object = None


class WireStreamOptions(Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class WireRequest(Struct):
    """The body."""

    model: str
    messages: list[WireMessage]
    stream: bool | None = None
    stream_options: WireStreamOptions | None = None
    tools: list[WireTool] | None = None
    tool_choice: str | WireChoice | None = None
    functions: object = None
    function_call: object = None
    web_search_options: dict[str, object] | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: WireFormat | None = None
    reasoning_effort: str | None = None
    modalities: list[str] | None = None
    image_config: WireImageConfig | None = None
    generation_config: dict[str, object] | None = field(name="generationConfig", default=None)
    safety_settings: list[object] | None = field(name="safetySettings", default=None)
    prompt_cache_key: object = None
    session_id: object = None
    conversation_id: object = None
    user: object = None
