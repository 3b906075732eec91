"""What a request asks for, from its method, path, query and a few headers.

Owns: the paths the proxy serves and which dialect a client speaks, also where the path is unknown: its error must be in its own shape.
Pure; it must never look at a body.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, assert_never
from urllib.parse import parse_qsl, unquote

import msgspec

from broker.proxy.upstreams.table import PROVIDERS


class Voice(StrEnum):
    """Whose shape an answer of ours takes."""

    OPENAI = "openai"
    GEMINI = "gemini"
    ANTHROPIC = "anthropic"


class ChatCompletions(msgspec.Struct, frozen=True):
    """POST /v1/chat/completions."""


class Responses(msgspec.Struct, frozen=True):
    """POST /v1/responses."""


class Messages(msgspec.Struct, frozen=True):
    """POST /v1/messages."""


class CountMessages(msgspec.Struct, frozen=True):
    """POST /v1/messages/count_tokens."""


class Compact(msgspec.Struct, frozen=True):
    """POST /v1/responses/compact."""


class Embeddings(msgspec.Struct, frozen=True):
    """POST /v1/embeddings."""


class Images(msgspec.Struct, frozen=True):
    """POST /v1/images/generations, or /v1/images/edits."""

    edits: bool = False


class Generate(msgspec.Struct, frozen=True):
    """POST /{version}/models/{model}:generateContent or :streamGenerateContent. `sse` is `alt=sse`."""

    model: str
    stream: bool
    version: str
    sse: bool = False


class CountTokens(msgspec.Struct, frozen=True):
    """POST /{version}/models/{model}:countTokens."""

    model: str
    version: str


class Models(msgspec.Struct, frozen=True):
    """GET /v1/models, /v1beta/models, or one of them by name.

    `codex` says that Codex asks, which has a shape of its own; `refresh` that accounts shall be asked anew what they have.
    """

    name: str | None = None
    codex: bool = False
    refresh: bool = False


class Health(msgspec.Struct, frozen=True):
    """GET /health."""


class Docs(msgspec.Struct, frozen=True):
    """GET /docs."""


class Metrics(msgspec.Struct, frozen=True):
    """GET /metrics."""


class Root(msgspec.Struct, frozen=True):
    """GET or HEAD /: Claude Code asks before its first request."""


class Unknown(msgspec.Struct, frozen=True):
    """No such path, or a method it has not (`allowed` then says which it has)."""

    text: str
    allowed: str | None = None


Target = (
    ChatCompletions
    | Responses
    | Messages
    | CountMessages
    | Compact
    | Embeddings
    | Images
    | Generate
    | CountTokens
    | Models
    | Health
    | Docs
    | Metrics
    | Root
    | Unknown
)


class Route(msgspec.Struct, frozen=True):
    """What is asked for, in which shape to answer, and the provider whose accounts alone shall serve it, if the path names one."""

    target: Target
    voice: Voice
    provider: str | None = None

    @property
    def public(self) -> bool:
        """Whether no key is needed."""
        match self.target:
            case Health() | Docs() | Root():
                return True
            case ChatCompletions() | Responses() | Messages() | CountMessages() | Generate() | CountTokens():
                return False
            case Embeddings() | Images() | Compact():
                return False
            case Models() | Metrics() | Unknown():
                return False
            case _:
                assert_never(self.target)

    @property
    def name(self) -> str:
        """What it is counted by."""
        return type(self.target).__name__

    @property
    def free(self) -> bool:
        """Whether it only asks how many tokens something has, which costs none."""
        return isinstance(self.target, CountMessages | CountTokens)


Header = Callable[[bytes], bytes | None]
"""Gives a header by its lower-case name."""

_POSTED: Final = {
    "/v1/chat/completions": Route(ChatCompletions(), Voice.OPENAI),
    "/v1/responses": Route(Responses(), Voice.OPENAI),
    "/v1/responses/compact": Route(Compact(), Voice.OPENAI),
    "/v1/messages": Route(Messages(), Voice.ANTHROPIC),
    "/v1/messages/count_tokens": Route(CountMessages(), Voice.ANTHROPIC),
    "/v1/embeddings": Route(Embeddings(), Voice.OPENAI),
    "/v1/images/generations": Route(Images(), Voice.OPENAI),
    "/v1/images/edits": Route(Images(edits=True), Voice.OPENAI),
}
_OF_PROVIDER: Final = "/v1/providers/"
_SHOWN: Final = 60
_FIXED: Final[dict[str, Target]] = {"/health": Health(), "/docs": Docs(), "/metrics": Metrics(), "/": Root()}
_VERSIONS: Final = ("v1", "v1beta")


def route(method: str, path: str, query: str, header: Header) -> Route:
    """Find what is asked for. `path` and `query` are as sent."""
    posted = _POSTED.get(path)
    if posted is not None:
        return posted if method == "POST" else _wrong_method("POST", path, posted.voice)
    if path.startswith(_OF_PROVIDER):
        return _of_provider(method, path, query, header)
    voice = _voice(path, query, header)
    fixed = _FIXED.get(path)
    if fixed is not None:
        return Route(fixed, voice) if method in ("GET", "HEAD") else _wrong_method("GET", path, voice)
    version, slash, rest = path[1:].partition("/")
    if version in _VERSIONS and (rest == "models" or rest.startswith("models/")):
        return _models(method, version, rest[len("models/") :], query, voice)
    served = slash and version in _VERSIONS
    where = "GET /docs lists what is served here" if served else "the API lies under /v1 and /v1beta; see GET /docs"
    return Route(Unknown(f"no such path: {path[:200]}; {where}"), voice)


def without_key(query: str) -> str:
    """Return a query without its `key`, the rest as it was."""
    if "key=" not in query:
        return query
    return "&".join(part for part in query.split("&") if not part.startswith("key="))


def _of_provider(method: str, path: str, query: str, header: Header) -> Route:
    """Find what is asked of one provider's accounts: what lies at the same path below /v1."""
    name, slash, rest = path[len(_OF_PROVIDER) :].partition("/")
    inner = f"/v1/{rest}"
    posted, provider = _POSTED.get(inner), unquote(name)
    voice = posted.voice if posted is not None else _voice(inner, query, header)
    if provider not in PROVIDERS:
        there = ", ".join(sorted(PROVIDERS))
        return Route(Unknown(f"no such provider: {provider[:_SHOWN]!r}; there are: {there}"), voice)
    if posted is None or not slash:
        return Route(Unknown(f"no such path of a provider: {path[:200]}; GET /docs lists what is served here"), voice)
    if method != "POST":
        return _wrong_method("POST", path, voice)
    return Route(posted.target, voice, provider)


def _models(method: str, version: str, rest: str, query: str, voice: Voice) -> Route:
    name = unquote(rest)
    model, colon, action = name.rpartition(":")
    if not colon:
        if method in ("GET", "HEAD"):
            asked = dict(parse_qsl(query))
            codex = not name and version == "v1" and "client_version" in asked
            return Route(Models(name or None, codex, asked.get("refresh") == "true"), voice)
        return _wrong_method("GET", f"/{version}/models", voice)
    if action not in ("generateContent", "streamGenerateContent", "countTokens") or not model:
        return Route(Unknown(f"no such method of a model: {action[:100]}"), Voice.GEMINI)
    if method != "POST":
        return _wrong_method("POST", f"/{version}/models/{model[:100]}:{action}", Voice.GEMINI)
    if action == "countTokens":
        return Route(CountTokens(model, version), Voice.GEMINI)
    sse = dict(parse_qsl(query)).get("alt") == "sse"
    return Route(Generate(model, action == "streamGenerateContent", version, sse), Voice.GEMINI)


def _voice(path: str, query: str, header: Header) -> Voice:
    if header(b"anthropic-version") is not None or path.startswith("/v1/messages"):
        return Voice.ANTHROPIC
    if path.startswith("/v1beta/") or header(b"x-goog-api-key") is not None or "key" in dict(parse_qsl(query)):
        return Voice.GEMINI
    return Voice.OPENAI


def _wrong_method(allowed: str, path: str, voice: Voice) -> Route:
    methods = f"{allowed}, HEAD" if allowed == "GET" else allowed
    return Route(Unknown(f"{path} is asked with {allowed}", methods), voice)
