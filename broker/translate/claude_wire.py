"""The shapes of an Anthropic messages request, as far as this program reads them.

Owns: the typed structs msgspec decodes into. It must never hold a rule: those are in `claude_request`. Fields not named here are skipped
(`cache_control`, `context_management`, `service_tier`: they say how Anthropic shall work, not what is said).

Source: docs.anthropic.com, "Messages" and "Count message tokens".
"""

from msgspec import Raw, Struct

NULL = Raw(b"null")


class WireSource(Struct):
    """Where an image's or document's content is: `base64`, `url`, `text`, `content` or `file`, says `type`. `data` is text or null."""

    type: str
    media_type: str | None = None
    data: Raw = NULL
    url: str | None = None
    content: Raw = NULL


class WireBlock(Struct):
    """One content block: which of the fields counts, `type` says. `content` is text or blocks, `source` an object or text."""

    type: str
    text: str | None = None
    source: WireSource | str | None = None
    title: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, object] | None = None
    tool_use_id: str | None = None
    content: Raw = NULL
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class WireMessage(Struct):
    """One message; `content` is text or blocks."""

    role: str
    content: str | list[WireBlock]


class WireTool(Struct):
    """One tool: the client's own (`type` custom or absent), or by its dated type one of Anthropic's."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, object] | None = None
    strict: bool | None = None


class WireToolChoice(Struct):
    """`tool_choice`."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class WireThinking(Struct):
    """`thinking`: `enabled` with a budget, `adaptive`, or `disabled`; `display` omitted hides it."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class WireFormat(Struct):
    """`output_config.format`, and `output_format` of older clients."""

    type: str
    schema: dict[str, object] | None = None


class WireOutput(Struct):
    """`output_config`."""

    effort: str | None = None
    format: WireFormat | None = None


class WireMetadata(Struct):
    """`metadata`."""

    user_id: object = None


class WireRequest(Struct):
    """The body of `messages` and of `messages/count_tokens` (which has no `max_tokens`)."""

    model: str
    messages: list[WireMessage]
    system: str | list[WireBlock] | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: list[WireTool] | None = None
    tool_choice: WireToolChoice | None = None
    thinking: WireThinking | None = None
    output_config: WireOutput | None = None
    output_format: WireFormat | None = None
    metadata: WireMetadata | None = None
    mcp_servers: list[object] | None = None
    container: object = None
