"""What `--fix` does.

Owns: the four repairs, each looking again before it acts: a mode is set on what is ours and no link; a socket is removed only while nobody listens; a temporary
file only when its writer is no more. It must never touch the content of a file.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from broker.doctor.finding import Finding, Fix, MakeFolder, RemoveSocket, RemoveTemporary, SetMode, command
from broker.ipc.unix import private_folder, remove_stale
from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.store.files import stale_temporary


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of one finding: the command that says the same, and why it was not done, empty where it was."""

    id: str
    command: str
    refused: str = ""


def mend(findings: tuple[Finding, ...], clock: Clock) -> tuple[Repair, ...]:
    """Mend what can be mended, each thing once. Never raises."""
    fixes = {finding.fix: finding.id for finding in findings if finding.fix is not None}
    return tuple(Repair(id_, command(fix), _attempt(fix, clock)) for fix, id_ in fixes.items())


def _attempt(fix: Fix, clock: Clock) -> str:
    try:
        return _do(fix, clock)
    except OSError as error:
        return error.strerror or type(error).__name__
    except BrokerError as error:
        return error.detail


def _do(fix: Fix, clock: Clock) -> str:
    match fix:
        case SetMode(path, mode):
            return _close(path, mode)
        case MakeFolder(path):
            private_folder(path)
            return ""
        case RemoveSocket(path):
            return "" if remove_stale(path) else "somebody listens there now"
        case RemoveTemporary(path):
            if not stale_temporary(path, clock.now().wall):
                return "somebody writes it"
            path.unlink()
            return ""
        case _ as never:
            assert_never(never)


def _close(path: Path, mode: int) -> str:
    """Set the mode of the very thing that was opened, without following a link that was put there meanwhile."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        info = os.fstat(handle)
        if info.st_uid != os.geteuid():
            return f"it belongs to user {info.st_uid}"
        os.fchmod(handle, mode)
        return ""
    finally:
        os.close(handle)
