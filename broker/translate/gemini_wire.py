"""The shapes of a Gemini answer, as far as this program reads them.

Owns: the typed structs msgspec decodes into. It must never hold a rule: those are in `gemini_answer`. Some gateways write snake case, so the fields
seen that way exist twice.

Source: ai.google.dev/api/generate-content#GenerateContentResponse.
"""

from msgspec import Raw, Struct, field

NULL = Raw(b"null")
_NONE = Raw(b"")


class WireBlob(Struct):
    """`inlineData`; `data` is text or null."""

    mime: str | None = field(name="mimeType", default=None)
    mime_snake: str | None = field(name="mime_type", default=None)
    data: Raw = NULL


class WireCall(Struct):
    """`functionCall`; the arguments stay the JSON text they are."""

    name: str | None = None
    args: Raw = _NONE


class WirePart(Struct):
    """One part of a candidate's content."""

    text: str | None = None
    thought: bool | None = None
    signature: str | None = field(name="thoughtSignature", default=None)
    signature_snake: str | None = field(name="thought_signature", default=None)
    blob: WireBlob | None = field(name="inlineData", default=None)
    blob_snake: WireBlob | None = field(name="inline_data", default=None)
    call: WireCall | None = field(name="functionCall", default=None)
    call_snake: WireCall | None = field(name="function_call", default=None)


class WireContent(Struct):
    """A candidate's content."""

    parts: list[WirePart] | None = None


class WireToken(Struct):
    """One token with its probability."""

    token: str = ""
    logprob: float = field(name="logProbability", default=0.0)


class WireTop(Struct):
    """The likeliest tokens at one place."""

    candidates: list[WireToken] | None = None


class WireLogprobs(Struct):
    """`logprobsResult`."""

    chosen: list[WireToken] | None = field(name="chosenCandidates", default=None)
    top: list[WireTop] | None = field(name="topCandidates", default=None)


class WireCandidate(Struct):
    """One candidate."""

    index: int | None = None
    content: WireContent | None = None
    finish: str | None = field(name="finishReason", default=None)
    logprobs: WireLogprobs | None = field(name="logprobsResult", default=None)


class WireUsage(Struct):
    """`usageMetadata`."""

    prompt: int | None = field(name="promptTokenCount", default=None)
    tool_prompt: int | None = field(name="toolUsePromptTokenCount", default=None)
    candidates: int | None = field(name="candidatesTokenCount", default=None)
    thoughts: int | None = field(name="thoughtsTokenCount", default=None)
    cached: int | None = field(name="cachedContentTokenCount", default=None)


class WireFeedback(Struct):
    """`promptFeedback`."""

    block: str | None = field(name="blockReason", default=None)


class WireAnswer(Struct):
    """A whole answer, or one chunk of a streamed one, or an error in the place of either."""

    candidates: list[WireCandidate] | None = None
    feedback: WireFeedback | None = field(name="promptFeedback", default=None)
    usage: WireUsage | None = field(name="usageMetadata", default=None)
    id: str | None = field(name="responseId", default=None)
    model: str | None = field(name="modelVersion", default=None)
    created: str | None = field(name="createTime", default=None)
    error: dict[str, object] | None = None


class WireEnvelope(WireAnswer):
    """An answer of Code Assist: the same inside `response`."""

    response: WireAnswer | None = None
