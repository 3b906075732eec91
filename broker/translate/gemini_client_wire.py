"""The shapes of a Gemini request, as far as this program reads them.

Owns: the typed structs a request is put into once its names are in camel case (`google_json.camelled`). It must never hold a rule: those are in
`gemini_client_request`. Fields not named here are skipped, but those of a tool: it would be lost.

Source: ai.google.dev/api/generate-content, ai.google.dev/api/caching#Content.
"""

from msgspec import Struct


class WireBlob(Struct, rename="camel"):
    """`inlineData`."""

    mime_type: str | None = None
    data: str | None = None
    display_name: str | None = None


class WireFile(Struct, rename="camel"):
    """`fileData`."""

    mime_type: str | None = None
    file_uri: str | None = None


class WireCall(Struct):
    """`functionCall`."""

    id: str | None = None
    name: str | None = None
    args: dict[str, object] | None = None


class WirePart(Struct, rename="camel"):
    """One part: one of the fields says what it is, `thought` and `thoughtSignature` go with it."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    inline_data: WireBlob | None = None
    file_data: WireFile | None = None
    function_call: WireCall | None = None
    function_response: "WireAnswered | None" = None
    executable_code: object = None
    code_execution_result: object = None
    tool_call: object = None
    tool_response: object = None


class WireAnswered(Struct):
    """`functionResponse`."""

    id: str | None = None
    name: str | None = None
    response: dict[str, object] | None = None
    parts: list[WirePart] | None = None


class WireContent(Struct):
    """One turn; Google takes a part that stands alone for a list of it."""

    role: str | None = None
    parts: list[WirePart] | WirePart | None = None


class WireFunction(Struct, rename="camel"):
    """One of `functionDeclarations`."""

    name: str
    description: str | None = None
    parameters: dict[str, object] | None = None
    parameters_json_schema: dict[str, object] | None = None


class WireCalling(Struct, rename="camel"):
    """`functionCallingConfig`."""

    mode: str | None = None
    allowed_function_names: list[str] | None = None


class WireToolConfig(Struct, rename="camel"):
    """`toolConfig`."""

    function_calling_config: WireCalling | None = None


class WireThinking(Struct, rename="camel"):
    """`thinkingConfig`."""

    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class WireImage(Struct, rename="camel"):
    """`imageConfig`."""

    aspect_ratio: str | None = None
    image_size: str | None = None


class WireGeneration(Struct, rename="camel"):
    """`generationConfig`."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, object] | None = None
    response_json_schema: dict[str, object] | None = None
    response_modalities: list[str] | None = None
    thinking_config: WireThinking | None = None
    image_config: WireImage | None = None


class WireRequest(Struct, rename="camel"):
    """The body of generateContent, of streamGenerateContent, and what countTokens holds of it."""

    contents: list[WireContent] | WireContent
    model: str | None = None
    system_instruction: WireContent | None = None
    tools: list[dict[str, object]] | dict[str, object] | None = None
    tool_config: WireToolConfig | None = None
    generation_config: WireGeneration | None = None
    safety_settings: object = None
    cached_content: str | None = None
    session_id: object = None
