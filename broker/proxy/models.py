"""The models served, which providers serve them, and the list as each client expects it.

Owns: the table, the reading of a model name, and the shapes of `GET /v1/models`. Pure. A name that is not in the table is sent on where its family
tells who would serve it: providers add models faster than tables.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, assert_never

import msgspec

from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.routes import Voice
from broker.proxy.upstreams.base import Kind

MAX_NAME: Final = 200
"""Characters of a model's name: none that is known has half as many, and the daemon takes no longer ones in reports."""


class Model(msgspec.Struct, frozen=True):
    """One model: what it is called, and the kinds of upstream that serve it, the preferred one first. Of tokens 0 means that it is not known."""

    id: str
    title: str
    kinds: tuple[Kind, ...] = (Kind.CODE_ASSIST, Kind.GEMINI, Kind.VERTEX)
    input_tokens: int = 1_048_576
    output_tokens: int = 65_536
    owner: str = "google"


_CLAUDE: Final = (Kind.ANTHROPIC,)
_KIRO: Final = (Kind.KIRO,)
_ANTIGRAVITY: Final = (Kind.ANTIGRAVITY,)
_FLASH: Final = (Kind.CODE_ASSIST, Kind.ANTIGRAVITY, Kind.GEMINI, Kind.VERTEX)
_GPT: Final = (Kind.OPENAI, Kind.COPILOT)
_GPT_5: Final = (Kind.CODEX, *_GPT)
_GROK: Final = (Kind.XAI,)

TABLE: Final = (
    Model("claude-haiku-4-5", "Claude Haiku 4.5", (*_CLAUDE, *_KIRO), 200_000, 64_000, "anthropic"),
    Model("claude-haiku-4.5", "Claude Haiku 4.5 (Copilot, Kiro)", (Kind.COPILOT, *_KIRO), 128_000, 16_000, "anthropic"),
    Model("claude-opus-4-1", "Claude Opus 4.1", _CLAUDE, 200_000, 32_000, "anthropic"),
    Model("claude-opus-4-5", "Claude Opus 4.5", (*_CLAUDE, *_KIRO), 200_000, 64_000, "anthropic"),
    Model("claude-opus-4-5-thinking", "Claude Opus 4.5, thinking", _ANTIGRAVITY, 200_000, 64_000, "anthropic"),
    Model("claude-opus-4-6-thinking", "Claude Opus 4.6, thinking", _ANTIGRAVITY, 200_000, 64_000, "anthropic"),
    Model("claude-sonnet-4", "Claude Sonnet 4 (Kiro)", _KIRO, 200_000, 64_000, "anthropic"),
    Model("claude-sonnet-4-5", "Claude Sonnet 4.5", (*_CLAUDE, *_ANTIGRAVITY, *_KIRO), 200_000, 64_000, "anthropic"),
    Model("claude-sonnet-4-5-thinking", "Claude Sonnet 4.5, thinking", _ANTIGRAVITY, 200_000, 64_000, "anthropic"),
    Model(
        "claude-sonnet-4.5", "Claude Sonnet 4.5 (Copilot, Kiro)", (Kind.COPILOT, *_KIRO), 128_000, 16_000, "anthropic"
    ),
    Model("gemini-2.5-flash", "Gemini 2.5 Flash", _FLASH),
    Model("gemini-2.5-flash-image", "Gemini 2.5 Flash Image", input_tokens=32_768, output_tokens=32_768),
    Model("gemini-2.5-flash-lite", "Gemini 2.5 Flash-Lite", _FLASH),
    Model("gemini-2.5-pro", "Gemini 2.5 Pro"),
    Model("gemini-3-flash", "Gemini 3 Flash (Antigravity)", _ANTIGRAVITY),
    Model("gemini-3-flash-preview", "Gemini 3 Flash (preview)"),
    Model("gemini-3-pro-high", "Gemini 3 Pro, high (Antigravity)", _ANTIGRAVITY),
    Model("gemini-3-pro-image", "Gemini 3 Pro Image (Antigravity)", _ANTIGRAVITY, 65_536, 32_768),
    Model("gemini-3-pro-image-preview", "Gemini 3 Pro Image (preview)", input_tokens=65_536, output_tokens=32_768),
    Model("gemini-3-pro-low", "Gemini 3 Pro, low (Antigravity)", _ANTIGRAVITY),
    Model("gemini-3-pro-preview", "Gemini 3 Pro (preview)"),
    Model("gemma-3-27b-it", "Gemma 3 27B", (Kind.GEMINI,), 131_072, 8_192),
    Model("gpt-5", "GPT-5", _GPT_5, 272_000, 128_000, "openai"),
    Model("gpt-5-codex", "GPT-5-Codex", _GPT_5, 272_000, 128_000, "openai"),
    Model("grok-4", "Grok 4", _GROK, 256_000, 256_000, "xai"),
    Model("grok-code-fast-1", "Grok Code Fast 1", _GROK, 256_000, 256_000, "xai"),
    Model("kimi-for-coding", "Kimi for Coding", (Kind.KIMI,), 262_144, 32_768, "moonshot"),
    Model("kimi-k2.5", "Kimi K2.5", (Kind.KIMI,), 262_144, 32_768, "moonshot"),
    Model("qwen3-coder-flash", "Qwen3 Coder Flash", (Kind.QWEN,), 1_000_000, 65_536, "qwen"),
    Model("qwen3-coder-plus", "Qwen3 Coder Plus", (Kind.QWEN,), 1_000_000, 65_536, "qwen"),
)

OWN: Final = frozenset({"anthropic-compatible", "openai-compatible"})
"""Keys of APIs of one's own: their models are listed as `provider/model`, and a key that lacks a model which another has is passed over."""

_BY_ID: Final = {model.id: model for model in TABLE}
_FAMILIES: Final[tuple[tuple[str, tuple[Kind, ...]], ...]] = (
    ("gemini-", _FLASH),
    ("gemma-", (Kind.GEMINI,)),
    ("claude-", (Kind.ANTHROPIC,)),
    ("grok-", _GROK),
    # A ChatGPT login serves these only; of the other families it has some old ones at most.
    ("gpt-5", _GPT_5),
    ("codex-", _GPT_5),
    ("kimi-", (Kind.KIMI,)),
    ("qwen", (Kind.QWEN,)),
    *(
        (prefix, _GPT)
        for prefix in ("gpt-", "chatgpt-", "o1", "o3", "o4", "dall-e-", "text-embedding-3-", "text-embedding-ada-")
    ),
    ("text-embedding-", (Kind.VERTEX,)),
    ("text-multilingual-embedding-", (Kind.VERTEX,)),
)


def providers_of(model: str, kinds: Mapping[str, Kind]) -> tuple[str, ...]:
    """Return the providers to look for accounts of, in order. `kinds` are all that can be served.

    Raises:
        BrokerError: `not_found` where nothing serves the model; the detail says what would.
    """
    wanted = _kinds(model)
    found = (name for name, kind in kinds.items() if kind in wanted)
    ordered = tuple(sorted(found, key=lambda name: wanted.index(kinds[name])))
    if not ordered:
        raise nobody(f"nothing here serves {model[:100]!r}; GET /v1/models lists what is served")
    return ordered


def served(kinds: Collection[Kind]) -> tuple[Model, ...]:
    """Return the models that upstreams of these kinds serve."""
    return tuple(model for model in TABLE if any(kind in kinds for kind in model.kinds))


def in_table(name: str) -> bool:
    """Tell whether the table has a model of this name."""
    return name in _BY_ID


def find(name: str, models: Sequence[Model]) -> Model | None:
    """Return a model by its name, with or without `models/` before it."""
    plain = name.removeprefix("models/")
    return next((model for model in models if model.id == plain), None)


def listed(models: Sequence[Model], voice: Voice) -> bytes:
    """Write the list as that client expects it."""
    each = [_shape(model, voice) for model in models]
    match voice:
        case Voice.OPENAI:
            return msgspec.json.encode(_OpenAIList(each))
        case Voice.GEMINI:
            return msgspec.json.encode(_GeminiList(each))
        case Voice.ANTHROPIC:
            first, last = (models[0].id, models[-1].id) if models else (None, None)
            return msgspec.json.encode(_AnthropicList(each, first, last))
        case _:
            assert_never(voice)


def described(model: Model, voice: Voice) -> bytes:
    """Write one model as that client expects it."""
    return msgspec.json.encode(_shape(model, voice))


class _OpenAIModel(msgspec.Struct, frozen=True):
    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "google"


class _GeminiModel(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    base_model_id: str
    display_name: str
    input_token_limit: int | msgspec.UnsetType
    output_token_limit: int | msgspec.UnsetType
    version: str = "001"
    supported_generation_methods: tuple[str, ...] = ("generateContent", "countTokens")


class _AnthropicModel(msgspec.Struct, frozen=True):
    id: str
    display_name: str
    type: str = "model"
    created_at: str = "1970-01-01T00:00:00Z"


_Shape = _OpenAIModel | _GeminiModel | _AnthropicModel


class _OpenAIList(msgspec.Struct, frozen=True):
    data: Sequence[_Shape]
    object: str = "list"


class _GeminiList(msgspec.Struct, frozen=True):
    models: Sequence[_Shape]


class _AnthropicList(msgspec.Struct, frozen=True):
    data: Sequence[_Shape]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


def _shape(model: Model, voice: Voice) -> _Shape:
    match voice:
        case Voice.OPENAI:
            return _OpenAIModel(model.id, owned_by=model.owner)
        case Voice.GEMINI:
            name = f"models/{model.id}"
            limits = (model.input_tokens or msgspec.UNSET, model.output_tokens or msgspec.UNSET)
            return _GeminiModel(name, model.id, model.title, *limits)
        case Voice.ANTHROPIC:
            return _AnthropicModel(model.id, model.title)
        case _:
            assert_never(voice)


def nobody(text: str) -> BrokerError:
    """Return the error for a name that nothing serves."""
    return BrokerError(ErrorCode.NOT_FOUND, f"model: {text}", hint="")


def _kinds(model: str) -> tuple[Kind, ...]:
    known = _BY_ID.get(model)
    if known is not None:
        return known.kinds
    return next((kinds for prefix, kinds in _FAMILIES if model.startswith(prefix)), ())
