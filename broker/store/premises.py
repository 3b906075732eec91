"""Setting up the auth directories at start.

Owns: making and mending folders, removing what dead processes left, and telling that another daemon is at work. It must never stop the
program: what cannot be set up is reported, and refreshing fails closed later (`begin_rotation` proves the storage anew each time).
"""

import os
from collections.abc import Sequence
from pathlib import Path

from broker.store.base import StorageError
from broker.store.files import Disk
from broker.store.folders import Folders
from broker.store.lock import holder, try_lock
from broker.store.problems import Problems

DAEMON = "daemon"


class Premises:
    """The directories of one store. All methods block."""

    def __init__(self, folders: Sequence[Folders], disk: Disk, problems: Problems, role: str) -> None:
        """Report to `problems`. Only the role `daemon` claims directories."""
        self._folders = folders
        self._disk = disk
        self._problems = problems
        self._role = role
        self._claims: dict[Path, int] = {}
        self.private = True
        """Whether each folder is ours and closed to others."""

    def prepare(self, now_wall: float) -> None:
        """Set everything up. Never raises."""
        for folders in self._folders:
            try:
                self._prepare(folders, now_wall)
                self._problems.clear((folders.active, "setup"))
            except StorageError as error:
                self.private = False
                self._problems.report((folders.active, "setup"), f"{folders.active}: {error.detail}")
        self.claim()

    def claim(self) -> None:
        """Take the directories that no other daemon has; report those that one has. Never raises."""
        for folders in self._folders if self._role == DAEMON else ():
            if folders.active in self._claims:
                continue
            subject = (folders.active, DAEMON)
            try:
                fd = try_lock(folders.daemon_lock, self._role)
            except StorageError as error:
                self._problems.report(subject, f"{folders.active}: {error.detail}")
                continue
            if fd is None:
                other = holder(folders.daemon_lock) or "unknown"
                self._problems.report(subject, f"another daemon ({other}) uses {folders.active}")
            else:
                self._claims[folders.active] = fd
                self._problems.clear(subject)

    def release(self) -> None:
        """Let go of the directories."""
        while self._claims:
            os.close(self._claims.popitem()[1])

    def _prepare(self, folders: Folders, now_wall: float) -> None:
        for folder in (folders.active, folders.paused, folders.private, folders.locks, folders.journal):
            unsafe = self._disk.ensure_folder(folder)
            if unsafe is None:
                self._problems.clear((folder, "owner"))
            else:
                self.private = False
                self._problems.report((folder, "owner"), unsafe)
            self._disk.clean(folder, now_wall)
        self._disk.probe_exchange(folders.active)
