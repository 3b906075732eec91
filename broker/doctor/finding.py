"""What a check may say, and what `--fix` may do about it.

Owns: `Finding`, `Severity` and the closed list of repairs. Pure. A finding never holds a secret, nor text out of a file but names and addresses.
"""

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import assert_never


class Severity(StrEnum):
    """How bad it is: something does not work or is not safe; something will go wrong; something to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class SetMode:
    """Close a file or folder of ours to others."""

    path: Path
    mode: int


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """Make a private folder."""

    path: Path


@dataclass(frozen=True, slots=True)
class RemoveSocket:
    """Remove a socket file nobody listens on."""

    path: Path


@dataclass(frozen=True, slots=True)
class RemoveTemporary:
    """Remove a temporary file whose writer is no more."""

    path: Path


Fix = SetMode | MakeFolder | RemoveSocket | RemoveTemporary


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. `what` is a sentence; `where` a path, a setting or an address; `mend` the command or the step that mends it.

    `fix` is what `--fix` does; None where a person must decide.
    """

    id: str
    severity: Severity
    what: str
    mend: str
    where: str = ""
    fix: Fix | None = None


def command(fix: Fix) -> str:
    """Return the shell command that does the same."""
    match fix:
        case SetMode(path, mode):
            return f"chmod {mode:o} {quoted(path)}"
        case MakeFolder(path):
            return f"mkdir -p -m 700 {quoted(path)}"
        case RemoveSocket(path) | RemoveTemporary(path):
            return f"rm {quoted(path)}"
        case _ as never:
            assert_never(never)


def quoted(path: Path | str) -> str:
    """Return a path as a word of a shell command."""
    return shlex.quote(str(path))


def aside(path: Path) -> str:
    """Return the shell command that moves a file out of the way."""
    return f"mv {quoted(path)} {quoted(f'{path}.old')}"


def capital(text: str) -> str:
    """Return a text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def mendable(id_: str, severity: Severity, what: str, fix: Fix) -> Finding:
    """Return a finding that `--fix` mends: where it is and how are the repair's own."""
    return Finding(id_, severity, what, f"Run: {command(fix)}", str(fix.path), fix)
