"""The request log's directory.

Owns: writing one folder a request so that nobody sees half of it, and taking the oldest away where there is too much. Several workers use a directory at once.
It must never follow a link, touch what it did not make, or leave a file that others can read.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

from broker.ipc.unix import private_folder
from broker.proxy.reqlog.entry import Entry, began_at, files, folder_name

_UNFINISHED: Final = ".writing-"
_UNFINISHED_SECONDS: Final = 3600.0
_LOOK_SECONDS: Final = 5.0
_LOOK_PART: Final = 20
_DAY: Final = 86_400.0
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """A directory with a folder for each request. Everything in it may block: it is for one thread that may wait."""

    def __init__(
        self, path: Path, now: Callable[[], float], *, max_bytes: int, max_age_days: float, max_string_bytes: int
    ) -> None:
        """Make nothing yet; `now` reads the wall clock."""
        self.path = path
        self._now = now
        self._max_bytes = max_bytes
        self._max_age = max_age_days * _DAY
        self._max_string_bytes = max_string_bytes
        self._sizes: dict[str, int] = {}
        self._looked = 0.0
        self._since = 0

    def write(self, entry: Entry) -> None:
        """Write a request's folder, then see to the limits if it is time.

        Raises:
            OSError: it could not be written, and nothing of it is left.
            BrokerError: the directory is not ours, or cannot be made.
        """
        name = folder_name(entry.began, entry.id, entry.status)
        with self._opened() as here:
            self._sizes[name] = self._write(here, name, entry)
            self._since += self._sizes[name]
            late = not 0 <= self._now() - self._looked < _LOOK_SECONDS
            if late or self._since > self._max_bytes // _LOOK_PART:
                self._prune(here)

    def prune(self) -> None:
        """Take away what is too old or too much; raises as `write` does, but nothing where there is no directory."""
        if self.path.is_dir():
            with self._opened() as here:
                self._prune(here)

    @contextlib.contextmanager
    def _opened(self) -> Generator[int]:
        private_folder(self.path)
        here = os.open(self.path, _FOLDER)
        try:
            yield here
        finally:
            os.close(here)

    def _write(self, here: int, name: str, entry: Entry) -> int:
        unfinished = _UNFINISHED + name
        os.mkdir(unfinished, 0o700, dir_fd=here)
        try:
            size = 0
            with _entered(here, unfinished) as folder:
                for file, text in files(entry, self._max_string_bytes):
                    _create(folder, file, text)
                    size += len(text)
            os.rename(unfinished, name, src_dir_fd=here, dst_dir_fd=here)
        except BaseException:
            with contextlib.suppress(OSError):
                _remove(here, unfinished)
            raise
        return size

    def _prune(self, here: int) -> None:
        now = self._looked = self._now()
        self._since = 0
        found = sorted((began, name) for name in _names(here) if (began := _began(name)) is not None)
        self._sizes = {name: self._size(here, name) for _, name in found}
        total = sum(self._sizes.values())
        for began, name in found:
            unfinished = name.startswith(_UNFINISHED)
            if unfinished and now - began < _UNFINISHED_SECONDS:
                continue
            if unfinished or total > self._max_bytes or now - began > self._max_age:
                total -= self._sizes.pop(name)
                # A sibling may be about it too; what somebody put there stays.
                with contextlib.suppress(OSError):
                    _remove(here, name)

    def _size(self, here: int, name: str) -> int:
        known = self._sizes.get(name)
        if known is not None:
            return known
        try:
            with _entered(here, name) as folder:
                return sum(_lengths(folder))
        except OSError:
            return 0


def _began(name: str) -> float | None:
    return began_at(name.removeprefix(_UNFINISHED))


@contextlib.contextmanager
def _entered(here: int, name: str) -> Generator[int]:
    folder = os.open(name, _FOLDER, dir_fd=here)
    try:
        yield folder
    finally:
        os.close(folder)


def _create(folder: int, name: str, text: bytes) -> None:
    file = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
    try:
        left = memoryview(text)
        while left:
            left = left[os.write(file, left) :]
    finally:
        os.close(file)


def _names(folder: int) -> list[str]:
    return os.listdir(folder)


def _lengths(folder: int) -> Iterator[int]:
    for name in _names(folder):
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                yield found.st_size


def _remove(here: int, name: str) -> None:
    """Remove a folder and the files in it, and no folder below it."""
    with _entered(here, name) as folder:
        for file in _names(folder):
            os.unlink(file, dir_fd=folder)
    os.rmdir(name, dir_fd=here)
