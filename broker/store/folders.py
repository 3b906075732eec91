"""The folders of an auth directory.

Owns: which file lies where, and the names of our own files beside the shared ones. Pure.
"""

import hashlib
from pathlib import Path, PurePath

import msgspec

from broker.store.table import Place

PRIVATE = ".ccs-broker"
_NAME_BYTES = 200  # of the 255 a name may have, so that a suffix fits


class Folders(msgspec.Struct, frozen=True):
    """One auth directory: `auth`, its sibling `auth-paused`, and our own folder inside it.

    Lock and journal lie here and not in the state directory, so that every program of ours that uses the directory finds them, whatever state directory
    it runs with.
    """

    active: Path

    @property
    def paused(self) -> Path:
        """Where CCS moves the files of paused accounts."""
        return self.active.with_name(self.active.name + "-paused")

    @property
    def private(self) -> Path:
        """Ours alone, 0700."""
        return self.active / PRIVATE

    @property
    def locks(self) -> Path:
        """One lock file an auth file, never unlinked."""
        return self.private / "locks"

    @property
    def journal(self) -> Path:
        """One record a refresh under way."""
        return self.private / "journal"

    @property
    def broken(self) -> Path:
        """Copies of files that were no JSON when they had to be written over."""
        return self.private / "broken"

    @property
    def daemon_lock(self) -> Path:
        """Held by a running daemon."""
        return self.private / "daemon.lock"

    def path(self, place: Place) -> Path:
        """Return where an auth file lies."""
        return (self.paused if place.paused else self.active) / place.name

    def lock_file(self, name: str) -> Path:
        """Return the lock of the auth file called `name`."""
        return self.locks / own_name(name, ".lock")

    def journal_file(self, name: str) -> Path:
        """Return the journal record of the auth file called `name`."""
        return self.journal / own_name(name, ".rotation")


def own_name(name: str, suffix: str) -> str:
    """Return the name of a file of ours that belongs to the auth file `name`; long ones are shortened by a digest."""
    raw = name.encode(errors="surrogateescape")
    if len(raw) + len(suffix) <= _NAME_BYTES:
        return name + suffix
    return hashlib.sha256(raw).hexdigest() + suffix


def is_auth_name(name: str) -> bool:
    """Tell whether a directory entry is an auth file by its name: `*.json` in any case, not hidden."""
    return name.lower().endswith(".json") and not name.startswith(".")


def file_name(wanted: str, number: int) -> str:
    """Return a name for a new auth file: `wanted` made safe, with `-2`, `-3`... before the suffix for `number` > 1."""
    stem = PurePath(wanted.replace("\\", "/")).name.removesuffix(".json")
    safe = "".join(char if char.isprintable() and char not in '/:*?"<>|' else "_" for char in stem).lstrip(".")
    while len(safe.encode(errors="replace")) > _NAME_BYTES:
        safe = safe[:-1]
    return f"{safe or 'login'}{f'-{number}' if number > 1 else ''}.json"
