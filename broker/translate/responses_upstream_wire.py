"""The shapes of OpenAI Responses answers and events, as far as this program reads them.

Owns: the typed structs msgspec decodes into. It must never hold a rule: those are in `responses_upstream_answer`. Fields not named here are skipped.

Source: platform.openai.com/docs/api-reference/responses, "The response object" and "Streaming events".
"""

from msgspec import Struct


class WireLogprob(Struct):
    """A token that stands there, or that might have (then without `top_logprobs`)."""

    token: str = ""
    logprob: float = 0.0
    top_logprobs: list["WireLogprob"] | None = None


class WirePart(Struct):
    """A part of a message, of a summary or of reasoning."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    logprobs: list[WireLogprob] | None = None


class WireItem(Struct):
    """One item of an answer; which of the fields counts, `type` says."""

    type: str = ""
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    content: list[WirePart] | None = None
    summary: list[WirePart] | None = None
    encrypted_content: str | None = None
    result: str | None = None
    output_format: str | None = None


class WireDetails(Struct):
    """`input_tokens_details`, `output_tokens_details`."""

    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class WireUsage(Struct):
    """`usage`."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: WireDetails | None = None
    output_tokens_details: WireDetails | None = None


class WireIncomplete(Struct):
    """`incomplete_details`."""

    reason: str | None = None


class WireResponse(Struct):
    """The `response` object, or an error in its place."""

    id: str | None = None
    model: str | None = None
    created_at: int | float | None = None
    status: str | None = None
    output: list[WireItem] | None = None
    usage: WireUsage | None = None
    incomplete_details: WireIncomplete | None = None
    error: dict[str, object] | str | None = None


class WireEvent(Struct):
    """One event of a stream; which of the fields counts, `type` says."""

    type: str
    response: WireResponse | None = None
    item: WireItem | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: object = None
    logprobs: list[WireLogprob] | None = None
    error: dict[str, object] | str | None = None
    code: str | int | None = None
    message: str | None = None
    param: str | None = None
