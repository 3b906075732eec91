"""Which upstream serves the accounts of which provider.

Owns: the tables. Pure. An account of a provider that is not named here can be leased by other programs, and serves nothing here.
"""

from typing import Final

from broker.proxy.upstreams.anthropic import Anthropic, AnthropicCompatible
from broker.proxy.upstreams.antigravity import Antigravity
from broker.proxy.upstreams.base import Kind, Upstream
from broker.proxy.upstreams.codeassist import CodeAssist
from broker.proxy.upstreams.codex import Codex
from broker.proxy.upstreams.copilot import Copilot
from broker.proxy.upstreams.gemini import GeminiApi
from broker.proxy.upstreams.kimi import Kimi, KimiMessages
from broker.proxy.upstreams.kiro import Kiro
from broker.proxy.upstreams.openai import OpenAI, OpenAICompatible, OpenAIResponses
from broker.proxy.upstreams.qwen import Qwen
from broker.proxy.upstreams.vertex import Vertex
from broker.proxy.upstreams.xai import XAI, XAIResponses
from broker.translate.codecs import Dialect

UPSTREAMS: Final[dict[Kind, Upstream]] = {
    Kind.CODE_ASSIST: CodeAssist(),
    Kind.GEMINI: GeminiApi(),
    Kind.ANTHROPIC: Anthropic(),
    Kind.ANTHROPIC_COMPATIBLE: AnthropicCompatible(),
    Kind.OPENAI: OpenAI(),
    Kind.OPENAI_COMPATIBLE: OpenAICompatible(),
    Kind.CODEX: Codex(),
    Kind.XAI: XAI(),
    Kind.ANTIGRAVITY: Antigravity(),
    Kind.VERTEX: Vertex(),
    Kind.KIMI: Kimi(),
    Kind.QWEN: Qwen(),
    Kind.COPILOT: Copilot(),
    Kind.KIRO: Kiro(),
}

ALSO: Final[dict[tuple[Kind, Dialect], Upstream]] = {
    (Kind.KIMI, Dialect.CLAUDE): KimiMessages(),
    (Kind.OPENAI, Dialect.RESPONSES): OpenAIResponses(),
    (Kind.XAI, Dialect.RESPONSES): XAIResponses(),
}
"""APIs that speak more than one dialect: what a client of that dialect is served by."""

PROVIDERS: Final[dict[str, Kind]] = {
    "gemini": Kind.CODE_ASSIST,
    "gemini-api": Kind.GEMINI,
    "claude": Kind.ANTHROPIC,
    "anthropic-api": Kind.ANTHROPIC,
    "openai-api": Kind.OPENAI,
    "anthropic-compatible": Kind.ANTHROPIC_COMPATIBLE,
    "openai-compatible": Kind.OPENAI_COMPATIBLE,
    "antigravity": Kind.ANTIGRAVITY,
    "vertex": Kind.VERTEX,
    "kimi": Kind.KIMI,
    "qwen": Kind.QWEN,
    "github-copilot": Kind.COPILOT,
    "codex": Kind.CODEX,
    "xai": Kind.XAI,
    "kiro": Kind.KIRO,
}
"""A provider's name to the kind of its API. Those that end in `-api` or `-compatible` are keys, `vertex` is a service account's, the others are logins."""


def upstream_of(kind: Kind, client: Dialect) -> Upstream:
    """Return what serves a client of a dialect."""
    return ALSO.get((kind, client)) or UPSTREAMS[kind]
