"""The lists of models that APIs have: where to ask, and what an answer says.

Owns: the table of lists. Pure. An API that is not named here is not asked: Code Assist and Vertex have no such list, and for Kimi's, Qwen's and Kiro's none
is established.

Sources: platform.openai.com "List models" (and docs.x.ai, which has the same), docs.anthropic.com "List Models", ai.google.dev "models.list"; for ChatGPT
logins the source of Codex, for Antigravity that of CLIProxyAPI, for Copilot that of CLIProxyAPI Plus.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from broker.ipc.schema import Lease
from broker.proxy.headers import Headers
from broker.proxy.learnt import Found
from broker.proxy.models import MAX_NAME, Model
from broker.proxy.upstreams.base import Ask, Kind, Sent, Upstream

MAX_MODELS: Final = 2000
"""More than any API has; what an API of one's own may make us remember is bounded."""

_CODEX_VERSION: Final = "0.169.0"  # the backend leaves out what an older Codex could not use
_JSON: Final = (b"accept", b"application/json")
_POSTED: Final = (b"content-type", b"application/json")
_REPLACED: Final = frozenset({b"accept", b"content-type"})


class Lister(msgspec.Struct, frozen=True):
    """Where to ask below a base URL, and how to read the answer; reading raises ValueError, or RecursionError, for what is no list.

    `body` makes what is posted, where it is not simply got.
    """

    target: bytes
    read: Callable[[bytes], tuple[Found, ...]]
    body: Callable[[Lease], bytes] | None = None

    @property
    def method(self) -> str:
        """How it is asked."""
        return "GET" if self.body is None else "POST"


def listing(upstream: Upstream, lease: Lease) -> Sent | None:
    """Write the question for an account's models, with the headers its other requests have; None where its API has no list.

    Raises:
        BrokerError: as `Upstream.request`.
    """
    lister = LISTERS.get(upstream.kind)
    if lister is None:
        return None
    headers: Headers = upstream.request(lease, Ask("list"), [], b"{}").headers
    kept = [header for header in headers if header[0] not in _REPLACED]
    if lister.body is None:
        return Sent(lister.target, [*kept, _JSON], b"")
    return Sent(lister.target, [*kept, _JSON, _POSTED], lister.body(lease))


class _OpenAIModel(msgspec.Struct):
    id: str
    owned_by: str | None = None
    name: str | None = None


class _OpenAIList(msgspec.Struct):
    data: list[_OpenAIModel]


class _AnthropicModel(msgspec.Struct):
    id: str
    display_name: str | None = None


class _AnthropicList(msgspec.Struct):
    data: list[_AnthropicModel]


class _GeminiModel(msgspec.Struct, rename="camel"):
    name: str
    display_name: str | None = None
    input_token_limit: int = 0
    output_token_limit: int = 0
    supported_generation_methods: list[str] = []


class _GeminiList(msgspec.Struct):
    models: list[_GeminiModel]


class _AntigravityModel(msgspec.Struct, rename="camel"):
    display_name: str | None = None


class _AntigravityList(msgspec.Struct):
    models: dict[str, _AntigravityModel]


class _CodexModel(msgspec.Struct):
    slug: str
    display_name: str | None = None
    context_window: int | None = None


class _CodexList(msgspec.Struct):
    models: list[msgspec.Raw]


def _openai(body: bytes) -> tuple[Found, ...]:
    each = msgspec.json.decode(body, type=_OpenAIList).data
    return _bounded(_model(one.id, one.name, 0, 0, one.owned_by) for one in each)


def _anthropic(body: bytes) -> tuple[Found, ...]:
    each = msgspec.json.decode(body, type=_AnthropicList).data
    return _bounded(_model(one.id, one.display_name, 0, 0, "anthropic") for one in each)


def _gemini(body: bytes) -> tuple[Found, ...]:
    each = msgspec.json.decode(body, type=_GeminiList).models
    return _bounded(
        _model(
            one.name.removeprefix("models/"), one.display_name, one.input_token_limit, one.output_token_limit, "google"
        )
        for one in each
        if "generateContent" in one.supported_generation_methods
    )


def _codex(body: bytes) -> tuple[Found, ...]:
    each = msgspec.json.decode(body, type=_CodexList).models
    read = ((msgspec.json.decode(raw, type=_CodexModel), bytes(raw)) for raw in each)
    return _bounded(_model(one.slug, one.display_name, one.context_window or 0, 0, "openai", raw) for one, raw in read)


def _antigravity(body: bytes) -> tuple[Found, ...]:
    each = msgspec.json.decode(body, type=_AntigravityList).models
    # Those without a name for people are its editor's own.
    return _bounded(_model(name, one.display_name, 0, 0, "google") for name, one in each.items() if one.display_name)


def _project(lease: Lease) -> bytes:
    project = lease.facts.get("project_id", "")
    return msgspec.json.encode({"project": project} if project else {})


def _model(
    name: str, title: str | None, input_tokens: int, output_tokens: int, owner: str | None, codex: bytes = b""
) -> Found:
    return Found(Model(name, _plain(title) or name, (), input_tokens, output_tokens, _plain(owner) or "unknown"), codex)


def _plain(text: str | None) -> str:
    """Return a text that clients may show on a terminal; nothing of one that could steer it."""
    return text[:MAX_NAME] if text is not None and text.isprintable() else ""


def _bounded(each: Iterator[Found]) -> tuple[Found, ...]:
    """Return what can be listed, once each: names that a client could send."""
    found: dict[str, Found] = {}
    for one in each:
        name = one.model.id
        if 0 < len(name) <= MAX_NAME and name.isprintable():
            found.setdefault(name, one)
        if len(found) >= MAX_MODELS:
            break
    return tuple(found.values())


_OPENAI: Final = Lister(b"/models", _openai)
_ANTHROPIC: Final = Lister(b"/v1/models?limit=1000", _anthropic)

LISTERS: Final[dict[Kind, Lister]] = {
    Kind.OPENAI: _OPENAI,
    Kind.OPENAI_COMPATIBLE: _OPENAI,
    Kind.XAI: _OPENAI,
    Kind.COPILOT: _OPENAI,
    Kind.ANTHROPIC: _ANTHROPIC,
    Kind.ANTHROPIC_COMPATIBLE: _ANTHROPIC,
    Kind.GEMINI: Lister(b"/v1beta/models?pageSize=1000", _gemini),
    Kind.ANTIGRAVITY: Lister(b"/v1internal:fetchAvailableModels", _antigravity, _project),
    Kind.CODEX: Lister(f"/models?client_version={_CODEX_VERSION}".encode(), _codex),
}
