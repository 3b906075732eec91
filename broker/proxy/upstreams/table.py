"""Which upstream serves the accounts of which provider.

Owns: the two tables. Pure. An account of a provider that is not named here can be leased by other programs, and serves nothing here.
"""

from typing import Final

from broker.proxy.upstreams.anthropic import Anthropic
from broker.proxy.upstreams.base import Kind, Upstream
from broker.proxy.upstreams.codeassist import CodeAssist
from broker.proxy.upstreams.gemini import GeminiApi
from broker.proxy.upstreams.openai import OpenAI

UPSTREAMS: Final[dict[Kind, Upstream]] = {
    Kind.CODE_ASSIST: CodeAssist(),
    Kind.GEMINI: GeminiApi(),
    Kind.ANTHROPIC: Anthropic(),
    Kind.OPENAI: OpenAI(),
}

PROVIDERS: Final[dict[str, Kind]] = {
    "gemini": Kind.CODE_ASSIST,
    "gemini-api": Kind.GEMINI,
    "claude": Kind.ANTHROPIC,
    "anthropic-api": Kind.ANTHROPIC,
    "openai-api": Kind.OPENAI,
    "anthropic-compatible": Kind.ANTHROPIC,
    "openai-compatible": Kind.OPENAI,
}
"""A provider's name to the kind of its API. `gemini` and `claude` are logins of the Gemini CLI and of Claude Code, the others keys."""
