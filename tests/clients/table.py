"""Which clients the proxy is proven with: one table, every version pinned."""

import os
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".clients"
"""Where they are installed, from nothing; git ignores it."""

LEAST_NODE = 20


@dataclass(frozen=True)
class Program:
    """A program from npm. `options` are for `npm install`."""

    name: str
    package: str
    version: str
    binary: str
    options: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.name}-{self.version}"

    @property
    def path(self) -> Path:
        return self.folder / "node_modules" / ".bin" / self.binary


@dataclass(frozen=True)
class Sdk:
    """A library from PyPI, in a venv of its own."""

    package: str
    version: str

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.package}-{self.version}"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / "python"

    @property
    def name(self) -> str:
        return f"{self.package}-{self.version}"


CLAUDE_CODE = Program("claude-code", "@anthropic-ai/claude-code", "2.1.330", "claude")
# What it would compile (a terminal, a keyring) is optional and not used without a terminal.
GEMINI_CLI = Program("gemini-cli", "@google/gemini-cli", "0.61.0", "gemini", ("--omit=optional", "--ignore-scripts"))
CODEX = Program("codex", "@openai/codex", "0.169.0", "codex")
OPENCODE = Program("opencode", "opencode-ai", "1.18.33", "opencode")
PROGRAMS = (CLAUDE_CODE, GEMINI_CLI, CODEX, OPENCODE)

# The current major and the one before.
SDKS = (
    Sdk("openai", "3.54.0"),
    Sdk("openai", "2.54.0"),
    Sdk("anthropic", "2.12.0"),
    Sdk("anthropic", "1.17.0"),
    Sdk("google-genai", "3.4.0"),
    Sdk("google-genai", "2.34.0"),
)
