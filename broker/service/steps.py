"""What an installer did, file by file and command by command.

Owns: `Step` and `UnitState`, writing and removing the service files, and running the manager's own command. It must never decide
what a file says (`broker.service.units`) or which commands are needed (`systemd`, `launchd`).
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from broker.model.errors import BrokerError, ErrorCode

# A start waits for Type=notify readiness, a stop for a renewal under way; the units allow 60 and 45 seconds.
_COMMAND_SECONDS = 120.0
_SHOWN_CHARACTERS = 600


class Action(StrEnum):
    """What became of one thing."""

    WROTE = "wrote"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    RAN = "ran"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing an installer did, or left alone and why. `subject` is a path or a command line."""

    action: Action
    subject: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class UnitState:
    """One unit as it stands. `current` tells whether the file says what this version would write; `state` is the manager's own word."""

    name: str
    file: str
    installed: bool
    current: bool
    state: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    status: int
    output: str
    errors: str


class Tool:
    """A command of the system, looked up in the given environment's PATH."""

    __slots__ = ("_environ", "_name", "_path")

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        """Find `name`; `exists` tells whether it is there."""
        self._name = name
        self._path = shutil.which(name, path=environ.get("PATH"))
        self._environ = dict(environ)

    @property
    def exists(self) -> bool:
        """Whether the command was found."""
        return self._path is not None

    def try_run(self, *arguments: str) -> Ran:
        """Run it and return how it ended; a missing command ends with status 127, one that hangs with 124."""
        if self._path is None:
            return Ran(127, "", f"{self._name}: not found")
        try:
            done = subprocess.run(  # noqa: S603 - our own arguments, no shell
                [self._path, *arguments],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ran(124, "", f"no end within {_COMMAND_SECONDS:.0f} seconds")
        return Ran(done.returncode, done.stdout.strip(), done.stderr.strip())

    def run(self, *arguments: str, hint: str) -> Step:
        """Run it and tell so.

        Raises:
            BrokerError: `internal`, with what the command wrote, where it failed.
        """
        line = " ".join((self._name, *arguments))
        ran = self.try_run(*arguments)
        if ran.status != 0:
            said = " ".join((ran.errors or ran.output).split())[:_SHOWN_CHARACTERS]
            raise BrokerError(ErrorCode.INTERNAL, f"`{line}` ended with {ran.status}: {said}", hint=hint)
        return Step(Action.RAN, line)


def put(file: Path, text: bytes) -> Step:
    """Bring `file` to say `text`, atomically; the mode is 0644, as managers read it and it holds no secret.

    Raises:
        BrokerError: `storage_unwritable`, naming the file.
    """
    try:
        if read(file) == text:
            return Step(Action.UNCHANGED, str(file))
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as target:
                target.write(text)
                os.fchmod(target.fileno(), 0o644)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BrokerError(ErrorCode.STORAGE_UNWRITABLE, f"{file}: {error.strerror}", hint="Mend it.") from error
    return Step(Action.WROTE, str(file))


def remove(file: Path) -> Step | None:
    """Take `file` away, and its folder if that was a drop-in folder and is empty now; None where there was none."""
    if not file.is_symlink() and not file.exists():
        return None
    file.unlink()
    if file.parent.suffix == ".d":
        with contextlib.suppress(OSError):
            file.parent.rmdir()
    return Step(Action.REMOVED, str(file))


def read(file: Path) -> bytes | None:
    """Return what `file` says; None where it is missing or cannot be read."""
    try:
        return file.read_bytes()
    except OSError:
        return None
