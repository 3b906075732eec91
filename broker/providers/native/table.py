"""Which programs' login files are known."""

from collections.abc import Mapping

from broker.providers.native import (
    antigravity,
    antigravity_pool,
    claude_code,
    cliproxyapi,
    codex,
    copilot,
    gemini_cli,
    kimi,
    kiro,
    kiro_cli,
    qwen,
    vertex,
    xai,
)
from broker.providers.native.base import Native

FORMATS: Mapping[str, Native] = {
    each.FORMAT.tool: each.FORMAT
    for each in (
        claude_code, codex, gemini_cli, antigravity, antigravity_pool, qwen, kimi, xai, kiro, kiro_cli, copilot, cliproxyapi, vertex,
    )
}  # fmt: skip
"""By the name the command line knows them by."""


def variables() -> tuple[str, ...]:
    """Return the environment variables that say where any of them lies, sorted."""
    return tuple(sorted({name for each in FORMATS.values() for spot in each.spots for name, _ in spot.variables}))
