"""The rotation journal on disk.

Owns: one file a refresh under way, in a private folder beside the locks. `broker.store.rotation` decides what stands in it.
Methods block, but for `OpenRecord.write_answer`: one write to a file that is already open, on purpose on the caller's thread.
It must never believe a record that is not whole.
"""

import contextlib
import os
from pathlib import Path
from typing import Protocol

import msgspec

from broker.oauth.messages import HttpResponse
from broker.store import rotation
from broker.store.files import Disk, naming
from broker.store.rotation import Intent


class AnswerSeal(Protocol):
    """Encrypts the body of an answer, and decrypts it. `associated` is bound to it and not stored."""

    def close_body(self, body: bytes, associated: bytes) -> bytes:
        """Return `body` encrypted."""
        ...

    def open_body(self, body: bytes, associated: bytes) -> bytes | None:
        """Return it in clear; None where it is not what was encrypted."""
        ...


class Found(msgspec.Struct, frozen=True):
    """A record left by an earlier process. `intent` is None where its first line is damaged; `since` is then the file's time."""

    intent: Intent | None
    answer: HttpResponse | None
    since: float


class OpenRecord:
    """A record being written. Not for use by two threads."""

    def __init__(self, disk: Disk, path: Path, fd: int, intent: Intent, seal: AnswerSeal | None) -> None:
        """Continue `path`, open as `fd` behind its first line."""
        self.path = path
        self._disk = disk
        self._fd = fd
        self._intent = intent
        self._seal = seal

    def mark_presented(self) -> None:
        """Note durably that the refresh token is about to go out. Blocks. Raises StorageError."""
        place, mark = rotation.presented_mark(rotation.encode_intent(self._intent))
        with naming("write", self.path):
            os.pwrite(self._fd, mark, place)
        self._disk.sync(self._fd, self.path)

    def write_answer(self, answer: HttpResponse) -> None:
        """Put the answer behind the intent. Raises StorageError."""
        body = answer.body if self._seal is None else self._seal.close_body(answer.body, _associated(self._intent))
        with naming("write", self.path):
            self._disk.write_all(self._fd, rotation.encode_answer(answer, body, sealed=self._seal is not None))

    def sync(self) -> None:
        """Make it durable. Blocks. Raises StorageError."""
        if self._fd >= 0:
            self._disk.sync(self._fd, self.path)

    def close(self) -> None:
        """Close the file; the record stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Journal:
    """The records of one auth directory."""

    def __init__(self, folder: Path, disk: Disk, seal: AnswerSeal | None = None) -> None:
        """Keep records in `folder`, which the store makes."""
        self._folder = folder
        self._disk = disk
        self._seal = seal

    def begin(self, path: Path, intent: Intent) -> OpenRecord:
        """Write an intent durably, with room for the answer. Raises StorageError."""
        fd = self._disk.open_journal(path, rotation.encode_intent(intent), rotation.ROOM_BYTES)
        return OpenRecord(self._disk, path, fd, intent, self._seal)

    def load(self, path: Path) -> Found | None:
        """Read a record; None where there is none. Never raises."""
        try:
            since = path.stat().st_mtime
            data = path.read_bytes()
        except OSError:
            return Found(None, None, 0.0) if path.exists() else None
        intent, answer = rotation.decode(data)
        if intent is None:
            return Found(None, None, since)
        return Found(intent, self._opened(intent, answer), intent.since)

    def clear(self, path: Path) -> None:
        """Remove a record durably; none there is fine. Raises StorageError."""
        self._disk.delete(path)

    def names(self) -> frozenset[str]:
        """Return the names of all records. Never raises."""
        with contextlib.suppress(OSError):
            return frozenset(path.name for path in self._folder.iterdir() if path.name.endswith(".rotation"))
        return frozenset()

    def _opened(self, intent: Intent, answer: rotation.Answer | None) -> HttpResponse | None:
        if answer is None:
            return None
        body: bytes | None = answer.body
        if answer.sealed:
            body = self._seal.open_body(answer.body, _associated(intent)) if self._seal is not None else None
        return None if body is None else HttpResponse(answer.status, answer.headers, body)


def _associated(intent: Intent) -> bytes:
    return f"rotation\n{intent.account}\n{intent.generation}\n{intent.digest.text}".encode()
