"""The neutral model: a request, the events of an answer, and the whole answer they fold into.

Owns: the values every codec reads or writes. It must never name a field of some vendor's payload.

Shape. A conversation is a tuple of messages of two roles; instructions stand apart in `Request.system`; results of tools are parts of user
messages (a dialect with a role for them maps it). An answer is only ever produced as events; a whole answer is `fold.fold(events)`, which is what makes
streamed and whole answers agree. Binary content stays the base64 text it came as, where it came if it is long (`blob`): nothing here decodes or copies it.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from broker.translate.blob import Base64

JsonObject = Mapping[str, object]
"""A JSON object whose content this program does not interpret."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """Base of all values here: immutable, compared by content, cheap to make (some are made per chunk).

    The collector of garbage does not look at them: they are trees.
    """


class Text(Value, frozen=True):
    """Text. `signature` is the vendor's opaque proof of the thinking behind it, to be sent back as it came; `cache` a mark that a cache may end here."""

    text: str
    signature: str | None = None
    cache: JsonObject | None = None


class Image(Value, frozen=True):
    """An inline image; in rare answers another medium. `data` is base64 text, `mime` like `image/png`."""

    mime: str
    data: Base64
    signature: str | None = None


class ImageLink(Value, frozen=True):
    """An image by http(s) URL. `where` is its field path in the client's body, for upstreams that must refuse it."""

    url: str
    where: str


class Audio(Value, frozen=True):
    """An inline sound. `data` is base64 text."""

    mime: str
    data: Base64


class File(Value, frozen=True):
    """Any other inline medium: documents, video. `data` is base64 text."""

    mime: str
    data: Base64
    name: str | None = None


class Thinking(Value, frozen=True):
    """The model's own reasoning. `redacted` is reasoning the vendor gave only in encrypted form, `text` then empty."""

    text: str
    signature: str | None = None
    redacted: str | None = None


class ToolCall(Value, frozen=True):
    """A call the model made in an earlier turn, its arguments parsed and known to be an object."""

    id: str
    name: str
    arguments: JsonObject
    signature: str | None = None


Media = Text | Image | ImageLink | Audio | File


class ToolResult(Value, frozen=True):
    """What a tool answered.

    `content` holds its parts; `structured` the JSON value of a client that sent one in place of parts (`content` is then empty).
    `name` is the tool's name where the client repeats it; codecs otherwise find it by `call_id`.
    """

    call_id: str
    content: tuple[Media, ...] = ()
    name: str | None = None
    is_error: bool = False
    structured: object = None


Part = Text | Image | ImageLink | Audio | File | Thinking | ToolCall | ToolResult


class Role(StrEnum):
    """Who speaks. Instructions have no role (`Request.system`); tool results are the user's."""

    USER = "user"
    ASSISTANT = "assistant"


class Message(Value, frozen=True):
    """One message; its parts in the order they were said."""

    role: Role
    parts: tuple[Part, ...]


# ---------------------------------------------------------------------------------------------------------- request


class FunctionTool(Value, frozen=True):
    """A function of the client. `parameters` is JSON Schema as the client wrote it; None where it gave none."""

    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class NativeKind(StrEnum):
    """Tools that run at the provider."""

    WEB_SEARCH = "web_search"
    CODE_EXECUTION = "code_execution"
    URL_CONTEXT = "url_context"


class NativeTool(Value, frozen=True):
    """A tool of the provider, with its settings in the dialect of whoever named it. `optional`: offered by habit, left out where it cannot stand."""

    kind: NativeKind
    settings: JsonObject = {}
    optional: bool = False


Tool = FunctionTool | NativeTool


class ToolMode(StrEnum):
    """May the model call tools: as it likes, never, or must it."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


class ToolChoice(Value, frozen=True):
    """The client's rule for calls. Non-empty `names` narrows it to these functions."""

    mode: ToolMode
    names: tuple[str, ...] = ()


class Sampling(Value, frozen=True):
    """How to draw tokens; None means the provider's default. `n` is how many answers."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    n: int = 1


class JsonOutput(Value, frozen=True):
    """The answer shall be JSON; with `schema`, of that shape."""

    schema: JsonObject | None = None
    name: str | None = None
    strict: bool | None = None


class Effort(StrEnum):
    """How hard to think, in words. AUTO leaves it to the model, NONE switches it off."""

    NONE = "none"
    AUTO = "auto"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class Reasoning(Value, frozen=True):
    """How hard to think: a level or a budget of tokens, not both. A budget of 0 is NONE and -1 is AUTO: write those as levels.

    `visible` asks for the reasoning to be returned; None leaves it to the codec.
    """

    effort: Effort | None = None
    budget: int | None = None
    visible: bool | None = None


class ImageOptions(Value, frozen=True):
    """What an image model shall make. `modalities` is a subset of text and image in the client's order."""

    modalities: tuple[str, ...] = ()
    aspect_ratio: str | None = None
    size: str | None = None


class Request(Value, frozen=True):
    """One request, understood.

    `model` has no effort suffix any more; `asked_model` is the name as the client wrote it, which answers give back. `session` is what
    the client uses to tie calls together (cache key, conversation, user), where it says. `extras` are settings of one upstream dialect
    that a client passed along (dialect name -> object), for that dialect's codec alone.
    """

    model: str
    messages: tuple[Message, ...]
    asked_model: str
    system: tuple[Text, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    sampling: Sampling = Sampling()
    output: JsonOutput | None = None
    reasoning: Reasoning | None = None
    image: ImageOptions = ImageOptions()
    stream: bool = False
    include_usage: bool = False
    session: str | None = None
    extras: Mapping[str, JsonObject] = {}


# ----------------------------------------------------------------------------------------------------------- events


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class FailureKind(StrEnum):
    """What a failure means for the next step, whoever reported it."""

    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    SERVER = "server"


class Failure(Value, frozen=True):
    """An error in no dialect.

    `status` is HTTP's. `code` is the vendor's word for the class (`RESOURCE_EXHAUSTED`), `reason` its word for the cause
    (`QUOTA_EXHAUSTED`), `param` the request field at fault, `retry_after` seconds, `retry_at` seconds since the epoch where only a time was told, `help_url` a
    page where the user can mend it.
    """

    status: int
    kind: FailureKind
    message: str
    code: str | None = None
    reason: str | None = None
    param: str | None = None
    retry_after: float | None = None
    help_url: str | None = None
    retry_at: float | None = None


class Started(Value, frozen=True):
    """The first event: what the upstream calls this answer, the model that makes it, and when (seconds since the epoch)."""

    id: str | None = None
    model: str | None = None
    created: int | None = None


class TextDelta(Value, frozen=True):
    """More visible text. With empty text it only carries a signature, or says that the text is there and empty."""

    text: str
    choice: int = 0
    signature: str | None = None


class ThinkingDelta(Value, frozen=True):
    """More reasoning."""

    text: str
    choice: int = 0
    signature: str | None = None
    redacted: str | None = None


class ImagePart(Value, frozen=True):
    """One whole image. A `draft` was made while thinking and is not part of the answer."""

    mime: str
    data: Base64
    choice: int = 0
    draft: bool = False
    signature: str | None = None


class ToolCallStarted(Value, frozen=True):
    """A call begins. `index` counts the calls of one choice from 0 and never restarts."""

    index: int
    id: str
    name: str
    choice: int = 0
    signature: str | None = None


class ToolCallDelta(Value, frozen=True):
    """More of a call's arguments, as JSON text."""

    index: int
    arguments: str
    choice: int = 0


class TokenLogprob(Value, frozen=True):
    """One token and its natural logarithm of probability."""

    token: str
    logprob: float


class Logprob(Value, frozen=True):
    """A chosen token and what else might have stood there."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...] = ()


class LogprobsDelta(Value, frozen=True):
    """Probabilities of more tokens of the answer."""

    tokens: tuple[Logprob, ...]
    choice: int = 0


class Usage(Value, frozen=True):
    """Tokens so far; each one replaces the one before.

    `prompt` includes `cached` (read from a cache) and `cache_written`; `completion` includes `reasoning`.
    """

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    cache_written: int = 0

    @property
    def total(self) -> int:
        """Prompt and completion."""
        return self.prompt + self.completion


class Finished(Value, frozen=True):
    """A choice is complete. `native` is the upstream's own word, `stop_sequence` the text that ended it where known."""

    reason: FinishReason
    native: str | None = None
    choice: int = 0
    stop_sequence: str | None = None


class Failed(Value, frozen=True):
    """The last event of an answer that did not become one."""

    failure: Failure


Event = (
    Started
    | TextDelta
    | ThinkingDelta
    | ImagePart
    | ToolCallStarted
    | ToolCallDelta
    | LogprobsDelta
    | Usage
    | Finished
    | Failed
)


# ----------------------------------------------------------------------------------------------------- whole answers


class CalledTool(Value, frozen=True):
    """A call in an answer. `arguments` is JSON text as the model wrote it, unchecked: judging it is the client's part."""

    id: str
    name: str
    arguments: str
    signature: str | None = None


AnswerPart = Text | Thinking | Image | CalledTool


class Choice(Value, frozen=True):
    """One of the answers asked for, drafts left out."""

    index: int
    parts: tuple[AnswerPart, ...] = ()
    finished: Finished | None = None
    logprobs: tuple[Logprob, ...] = ()


class Answer(Value, frozen=True):
    """A whole answer. With `failure` set, whatever else is there is what came before it."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    failure: Failure | None = None
