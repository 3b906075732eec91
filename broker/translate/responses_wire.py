"""The shapes of an OpenAI Responses request, as far as this program reads them.

Owns: the typed structs msgspec decodes into. It must never hold a rule: those are in `responses_request`. Fields not named here are skipped.

Source: platform.openai.com/docs/api-reference/responses/create.
"""

from msgspec import Raw, Struct

NULL = Raw(b"null")


class WirePart(Struct):
    """One content part: which of the fields counts, `type` says. `image_url` and `file_data` are text or null."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Raw = NULL
    file_id: str | None = None
    file_data: Raw = NULL
    file_url: str | None = None
    filename: str | None = None


class WireItem(Struct):
    """One item of `input`. Without a type it is a message. `result` is text or null."""

    type: str | None = None
    role: str | None = None
    content: str | list[WirePart] | None = None
    name: str | None = None
    namespace: str | None = None
    call_id: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: Raw = NULL
    summary: list[WirePart] | None = None
    encrypted_content: str | None = None
    result: Raw = NULL


class WireTool(Struct):
    """One tool, or with the type `namespace` a group of them."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None
    tools: list["WireTool"] | None = None


class WireChoice(Struct):
    """`tool_choice` as an object."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: str | None = None
    tools: list["WireChoice"] | None = None


class WireReasoning(Struct):
    """`reasoning`."""

    effort: str | None = None
    summary: str | None = None


class WireFormat(Struct):
    """`text.format`."""

    type: str
    name: str | None = None
    schema: dict[str, object] | None = None
    strict: bool | None = None


class WireText(Struct):
    """`text`."""

    format: WireFormat | None = None


class WireRequest(Struct):
    """The body."""

    model: str
    input: str | list[WireItem] = []
    instructions: str | None = None
    stream: bool | None = None
    tools: list[WireTool] | None = None
    tool_choice: str | WireChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    reasoning: WireReasoning | None = None
    text: WireText | None = None
    include: list[str] | None = None
    previous_response_id: str | None = None
    conversation: Raw = NULL
    background: bool | None = None
    prompt: object = None
    prompt_cache_key: object = None
    user: object = None


class WireEcho(Struct, omit_defaults=True):
    """What an answer repeats of its request, as the client wrote it."""

    instructions: Raw = NULL
    max_output_tokens: Raw = NULL
    metadata: Raw = Raw(b"{}")
    parallel_tool_calls: Raw = Raw(b"true")
    reasoning: Raw = Raw(b'{"effort":null,"summary":null}')
    temperature: Raw = NULL
    text: Raw = Raw(b'{"format":{"type":"text"}}')
    tool_choice: Raw = Raw(b'"auto"')
    tools: Raw = Raw(b"[]")
    top_p: Raw = NULL
    truncation: Raw = Raw(b'"disabled"')
    user: Raw = NULL
