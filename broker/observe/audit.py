"""The audit trail: who logged in and out, what became of renewals, in a file only the user can read.

Owns: `audit.jsonl` in the state directory and its one predecessor. It must never hold a secret, and never stop what it records: a trail that cannot
be written is shouted about in the log, once until it can be again.
"""

import json
import logging
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from broker.model.account import AccountId
from broker.observe.redact import redact

_log = logging.getLogger(__name__)

FILE_NAME = "audit.jsonl"
_MAX_BYTES = 4 << 20  # about 20,000 events; with the predecessor, 8 MiB at most


class Event(StrEnum):
    """What is recorded."""

    STARTED = "daemon_started"
    STOPPED = "daemon_stopped"
    LOGIN = "login"
    LOGOUT = "logout"
    KEY_ADDED = "key_added"
    IMPORTED = "login_imported"
    REFRESH = "refresh"
    REJECTED = "token_rejected"
    PAUSED = "paused"
    RESUMED = "resumed"
    COOLDOWN_CLEARED = "cooldown_cleared"
    RENAMED = "renamed"
    DEFAULT_CHOSEN = "default_chosen"


class Audit:
    """Appends to the trail in `folder`, which exists. `wall` reads the wall clock."""

    def __init__(self, folder: Path, wall: Callable[[], float], *, max_bytes: int = _MAX_BYTES) -> None:
        """Open nothing yet; the file is made by the first event."""
        self._path = folder / FILE_NAME
        self._wall = wall
        self._max_bytes = max_bytes
        self._failing = False

    def record(self, event: Event, account: AccountId | None = None, **details: str | float | bool | None) -> None:
        """Append one event. Written at once, not flushed to the disk: an audit line is not worth 20 ms of everybody's time."""
        line: dict[str, object] = {"time": round(self._wall(), 3), "event": event.value}
        if account is not None:
            line["account"] = str(account)
        line |= {
            name: redact(each) if isinstance(each, str) else each for name, each in details.items() if each is not None
        }
        try:
            self._append(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            self._failing = False
        except OSError as error:
            if not self._failing:
                _log.error("audit trail not written", extra={"error": error.strerror, "file": str(self._path)})
            self._failing = True

    def _append(self, line: bytes) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, line)
            size = os.fstat(handle).st_size
        finally:
            os.close(handle)
        if size >= self._max_bytes:
            self._path.replace(self._path.with_name(f"{FILE_NAME}.1"))
