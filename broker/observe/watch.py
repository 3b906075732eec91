"""Being told that files changed.

Owns: the watchdog observer, its threads, and hanging watches up again when a folder is deleted and made anew. What a hint means
is decided by who asked (`broker.store.follow`, `broker.settings.running`). It must never read a file, and never call back on any thread but the event loop's.

A hint may come twice, late or not at all: a slow rescan is the safety net. Where the system refuses to watch (too many inotify
watches, say), `working` is False and the caller looks more often.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

# Not opened, nor closed without a write: our own reading would wake us.
_FILE_EVENTS: list[type[FileSystemEvent]] = [
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    DirDeletedEvent,
]
# Linux tells when a file was closed: one that stays open, as a log does, would wake us at each of its lines.
_CLOSED_EVENTS = [each for each in _FILE_EVENTS if sys.platform != "linux" or each is not FileModifiedEvent]
_FOLDER_EVENTS: list[type[FileSystemEvent]] = [DirCreatedEvent, DirDeletedEvent, DirMovedEvent]


class Watcher:
    """Watches folders, not what is below them."""

    def __init__(
        self,
        folders: Sequence[Path],
        hint: Callable[[Path], None],
        folder_hint: Callable[[], None],
        *,
        moved: Callable[[Path], None] | None = None,
        parents: bool = True,
        writes: bool = True,
    ) -> None:
        """Call `hint` with the path of a file that may have changed, `folder_hint` when a watched folder came or went.

        `moved` is called instead of `hint` for the path a file within the folder was renamed to: who wrote it had finished.

        Without `parents` a folder's parent, which can be a busy one, is watched only while the folder is not there; one that takes its place unseen is then
        noticed by its going alone. Without `writes` a file is told of when its writer closes it, where the system tells that, and not at each write: the
        threads here take their time from the event loop.
        """
        self._parents = parents
        self._events = _FILE_EVENTS if writes else _CLOSED_EVENTS
        self._folders = tuple(folders)
        self._hint = hint
        self._moved = moved or hint
        self._folder_hint = folder_hint
        self._loop = asyncio.get_running_loop()
        self._observer: BaseObserver | None = None
        self._watches: dict[Path, tuple[ObservedWatch, tuple[int, int]]] = {}

    @property
    def working(self) -> bool:
        """Whether each folder that exists is watched."""
        return self._observer is not None and all(
            folder in self._watches for folder in self._folders if folder.is_dir()
        )

    def start(self) -> None:
        """Begin. Blocks a moment; never raises."""
        observer = Observer()
        try:
            observer.start()
        except OSError:
            return
        self._observer = observer
        self.renew()

    def renew(self) -> None:
        """Hang up the watches that are missing or watch a folder that is no more. Blocks a moment; never raises."""
        parents = {folder.parent for folder in self._folders if self._parents or not folder.is_dir()}
        for folder in self._folders:
            self._renew(folder, _Handler(self._on_file, self._on_moved), self._events)
        for parent in parents - set(self._folders):
            self._renew(parent, _Handler(self._on_folder, self._on_folder), _FOLDER_EVENTS)
        for gone in self._watches.keys() - parents - set(self._folders):
            self._drop(gone)

    def stop(self) -> None:
        """End, waiting for the threads. Blocks."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()

    def _renew(self, folder: Path, handler: "_Handler", events: list[type[FileSystemEvent]]) -> None:
        if self._observer is None:
            return
        identity = _identity(folder)
        watch, watched = self._watches.get(folder, (None, None))
        if watch is not None and watched != identity:
            self._drop(folder)
        if identity is None or folder in self._watches:
            return
        with contextlib.suppress(OSError):
            made = self._observer.schedule(handler, str(folder), event_filter=events)
            self._watches[folder] = (made, identity)

    def _drop(self, folder: Path) -> None:
        watch, _ = self._watches.pop(folder)
        if self._observer is not None:
            with contextlib.suppress(OSError, KeyError):
                self._observer.unschedule(watch)

    def _on_file(self, path: Path) -> None:
        self._soon(self._folder_hint) if path in self._folders else self._soon(self._hint, path)

    def _on_moved(self, path: Path) -> None:
        self._soon(self._folder_hint) if path in self._folders else self._soon(self._moved, path)

    def _on_folder(self, path: Path) -> None:
        if path in self._folders:
            self._soon(self._folder_hint)

    def _soon(self, call: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *args)


class _Handler(FileSystemEventHandler):
    """Runs in a thread of watchdog's."""

    def __init__(self, tell: Callable[[Path], None], moved: Callable[[Path], None]) -> None:
        self._tell = tell
        self._moved = moved

    def dispatch(self, event: FileSystemEvent) -> None:
        if event.src_path:
            self._tell(Path(os.fsdecode(event.src_path)))
        if event.dest_path:
            self._moved(Path(os.fsdecode(event.dest_path)))


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        info = folder.stat()
    except OSError:
        return None
    return (info.st_dev, info.st_ino)
