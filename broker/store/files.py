"""The file system, one careful operation at a time.

Owns: durable writes, private folders and modes; how a file is read is `image`'s. Every method blocks: the store calls them from its
threads, never on the event loop. It must never know what is in a file, and no message of it holds content.

A durable write is: temporary file in the folder of the target, write, fsync, rename, fsync of the folder (promise P3).
"""

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from broker.store import image, rename, writers
from broker.store.base import StorageError
from broker.store.codec import Fault, FaultKind
from broker.store.image import Image, content_of

TEMP_PREFIX = ".ccs-broker-"
TEMP_SUFFIX = ".tmp"  # never .json: CLIProxyAPI reads every *.json as soon as it appears
_STALE_SECONDS = 3600.0
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
_ALLOCATE: Callable[[int, int, int], None] | None = getattr(os, "posix_fallocate", None)  # not on macOS


@dataclass(frozen=True, slots=True)
class Os:
    """The system calls that change or prove something, so that a test can make one of them fail."""

    open: Callable[..., int] = os.open
    write: Callable[[int, bytes], int] = os.write
    fsync: Callable[[int], None] = os.fsync
    replace: Callable[[str, str], None] = os.replace
    exchange: Callable[[str, str], None] = rename.exchange
    rename_new: Callable[[str, str], None] = rename.rename_new
    unlink: Callable[[str], None] = os.unlink
    mkdir: Callable[[str, int], None] = os.mkdir
    fchmod: Callable[[int, int], None] = os.fchmod
    allocate: Callable[[int, int, int], None] | None = _ALLOCATE
    await_writers: Callable[[Path], object] = writers.await_none


@dataclass(frozen=True, slots=True)
class Swap:
    """How a swap went. Not `done`: somebody wrote meanwhile, and their content is in place.

    `foreign` is what was written while ours was in place for a moment, each perhaps by somebody who had not seen the one before: in
    place of what was expected, of ours, and of the first. The last one of them need not hold what the others changed.
    """

    done: bool
    foreign: tuple[bytes, ...] = field(default=(), repr=False)


@contextlib.contextmanager
def naming(operation: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError that says what was tried, on what, and the errno word."""
    try:
        yield
    except OSError as error:
        word = errno.errorcode.get(error.errno or 0, "EIO")
        raise StorageError(f"cannot {operation} {path.name}: {word} ({error.strerror})") from error


class Disk:
    """File operations. `nonce` returns text no other temporary file has in its name."""

    def __init__(self, nonce: Callable[[], str], calls: Os | None = None) -> None:
        """Use the real system calls unless others are given."""
        self._nonce = nonce
        self._os = calls or Os()
        self.exchanges: bool | None = None  # unknown until the first swap

    # --- reading ---

    def read(self, path: Path | str, *, plain: bool = False) -> Image | Fault | None:
        """Read an auth file (`image.read`); None where there is none. Never raises."""
        return image.read(path, self._os.open, self._os.fchmod, plain=plain)

    # --- writing ---

    def stage(self, folder: Path, data: bytes) -> Path:
        """Write `data` to a new hidden file in `folder`, down to the disk; return its path. Raises StorageError."""
        path = folder / f"{TEMP_PREFIX}{os.getpid()}-{self._nonce()}{TEMP_SUFFIX}"
        with naming("create a file in", folder):
            fd = self._os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
        try:
            with naming("write in", folder):
                self.write_all(fd, data)
            self.sync(fd, path)
        except BaseException:
            self.discard(path)
            raise
        finally:
            os.close(fd)
        return path

    def write_all(self, fd: int, data: bytes) -> None:
        """Write everything; a full disk answers with a short write before it answers with an error."""
        view = memoryview(data)
        while view:
            view = view[self._os.write(fd, bytes(view) if len(view) < len(data) else data) :]

    def sync(self, fd: int, path: Path) -> None:
        """Make a file's bytes durable. Raises StorageError."""
        with naming("fsync", path):
            if sys.platform == "darwin":  # fsync there stops at the drive's cache
                with contextlib.suppress(OSError):
                    fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
                    return
            self._os.fsync(fd)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable. Raises StorageError."""
        with naming("open", folder):
            fd = self._os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(fd, folder)
        finally:
            os.close(fd)

    def prove(self, path: Path) -> None:
        """Make a file that is already in place durable. Raises StorageError."""
        with naming("open", path):
            fd = self._os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.sync(fd, path)
        finally:
            os.close(fd)
        self.sync_folder(path.parent)

    def write_new(self, path: Path, data: bytes) -> None:
        """Create a file durably; an existing one is never touched.

        Raises:
            FileExistsError: the name is taken.
            StorageError: storage refused.
        """
        temp = self.stage(path.parent, data)
        try:
            self._move_new(temp, path)
            self.sync_folder(path.parent)
        finally:
            self.discard(temp)

    def write_over(self, path: Path, data: bytes) -> None:
        """Create or replace a file that is ours alone, durably. Raises StorageError."""
        temp = self.stage(path.parent, data)
        try:
            with naming("rename to", path):
                self._os.replace(str(temp), str(path))
            self.sync_folder(path.parent)
        finally:
            self.discard(temp)

    def swap_in(self, path: Path, base: str, data: bytes) -> Swap:
        """Replace a file that others write too, durably: only if its content still is `base` (a SHA-256).

        Where two names can be exchanged, the content that was replaced is looked at afterwards and put back if it is not `base`, so that no
        write is lost between check and rename. Elsewhere a window of some microseconds remains (docs/files.md).

        Raises StorageError: the old content is in place, unless only the last fsync failed: then the new one is, not yet durable
        (`prove` it).
        """
        target = self.real(path)
        temp = self.stage(target.parent, data)
        try:
            if self._differs(target, base) is not None:
                return Swap(done=False)
            try:
                exchanged = self._exchange(temp, target)
            except FileNotFoundError:
                return Swap(done=False)
            if not exchanged:
                with naming("rename to", path):
                    self._os.replace(str(temp), str(target))
                self.sync_folder(target.parent)
                return Swap(done=True)
            foreign = self._take_back(temp, target, base, content_of(data))
            if not foreign:
                self.sync_folder(target.parent)
                # A writer that had opened the old file without truncating it may write only now. No other can: the name is gone.
                self._os.await_writers(temp)
                foreign = self._take_back(temp, target, base, content_of(data))
            return Swap(not foreign, foreign)
        finally:
            self.discard(temp)

    def move_new(self, source: Path, target: Path) -> None:
        """Move a file to another folder of the same file system, durably. Raises FileExistsError, StorageError."""
        self._move_new(source, target)
        self.sync_folder(target.parent)
        self.sync_folder(source.parent)

    def delete(self, path: Path) -> None:
        """Remove a file durably; none there is fine. Raises StorageError."""
        with naming("remove", path), contextlib.suppress(FileNotFoundError):
            self._os.unlink(str(path))
        self.sync_folder(path.parent)

    def discard(self, path: Path) -> None:
        """Remove a temporary file if it is still there; one that stays is removed at some later start."""
        with contextlib.suppress(OSError):
            self._os.unlink(str(path))

    def probe(self, folder: Path) -> None:
        """Try everything a durable write needs, with a file nobody reads. Raises StorageError."""
        temp = self.stage(folder, b"probe\n")
        other = temp.with_suffix(".probe" + TEMP_SUFFIX)
        try:
            with naming("rename in", folder):
                self._os.replace(str(temp), str(other))
            self.sync_folder(folder)
        finally:
            self.discard(temp)
            self.discard(other)

    def probe_exchange(self, folder: Path) -> None:
        """Find out whether names can be exchanged in `folder`. Raises StorageError."""
        one, other = self.stage(folder, b"probe\n"), self.stage(folder, b"probe\n")
        try:
            self._exchange(one, other)
        finally:
            self.discard(one)
            self.discard(other)

    def open_journal(self, path: Path, data: bytes, room: int) -> int:
        """Create a file of ours durably with `data` and `room` bytes reserved behind; return it open behind the data.

        Raises StorageError: nothing is left.
        """
        temp = path.parent / f"{TEMP_PREFIX}{os.getpid()}-{self._nonce()}{TEMP_SUFFIX}"
        with naming("create a file in", path.parent):
            fd = self._os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
        try:
            with naming("write", path):
                self.write_all(fd, data)
                self._reserve(fd, len(data), room)
            self.sync(fd, path)
            with naming("rename to", path):
                self._os.replace(str(temp), str(path))
            self.sync_folder(path.parent)
        except BaseException:
            os.close(fd)
            self.discard(temp)
            raise
        return fd

    # --- folders ---

    def ensure_folder(self, folder: Path) -> str | None:
        """Make a private folder, and what is missing above it; mend its mode. Returns a sentence where it stays unsafe.

        Raises StorageError: it cannot be made, or is not a folder.
        """
        with naming("create", folder):
            self._make(folder)
        with naming("open", folder):
            fd = self._os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            info = os.fstat(fd)
            if info.st_uid != os.geteuid():
                return f"{folder} belongs to user {info.st_uid}, who can read and replace every login in it"
            if info.st_mode & 0o077:
                with naming("chmod", folder):
                    self._os.fchmod(fd, _FOLDER_MODE)
        finally:
            os.close(fd)
        return None

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if not folder.parent.is_dir():
            self._make(folder.parent)
        with contextlib.suppress(FileExistsError):
            self._os.mkdir(str(folder), _FOLDER_MODE)
        with contextlib.suppress(StorageError):  # a parent that may not be opened has to do without
            self.sync_folder(folder.parent)

    def clean(self, folder: Path, now_wall: float) -> None:
        """Remove temporary files of processes that are no more."""
        with contextlib.suppress(OSError):
            names = [name for name in os.listdir(folder) if name.startswith(TEMP_PREFIX)]  # noqa: PTH208 - a path for each of thousands
            for path in [folder / name for name in names]:
                if stale_temporary(path, now_wall):
                    self.discard(path)

    def real(self, path: Path) -> Path:
        """Return the file a link means, so that writing keeps the link. Raises StorageError."""
        with naming("follow", path):
            return path.resolve(strict=True) if path.is_symlink() else path

    # --- inside ---

    def _differs(self, path: Path, base: str) -> bytes | None:
        """Return a file's content if it is not `base`: empty where it is gone or no longer a file of ours."""
        found = self.read(path)
        if isinstance(found, Fault) and found.kind is FaultKind.UNREADABLE:
            raise StorageError(f"{path.name} {found.detail}")
        if not isinstance(found, Image):
            return b""
        return found.data if found.content != base else None

    def _exchange(self, temp: Path, target: Path) -> bool:
        try:
            with naming("rename to", target):
                self._os.exchange(str(temp), str(target))
        except StorageError as error:
            match error.__cause__:
                case rename.UnsupportedRenameError():
                    self.exchanges = False
                    return False
                case FileNotFoundError():
                    raise error.__cause__ from None
                case _:
                    raise
        self.exchanges = True
        return True

    def _take_back(self, temp: Path, target: Path, base: str, ours: str) -> tuple[bytes, ...]:
        """Undo an exchange that replaced something else than `base`; return what came in between."""
        try:
            first = self._differs(temp, base)
        except StorageError:
            # What was replaced cannot be looked at (too many open files, say): it must not be lost.
            self._exchange(temp, target)
            raise
        if first is None:
            return ()
        self._exchange(temp, target)
        second = self._differs(temp, ours)
        if second is None:
            return (first,)
        # Written after our content was in place: that is the newest.
        self._exchange(temp, target)
        third = self._differs(temp, content_of(first))
        return (first, second) if third is None else (first, second, third)

    def _move_new(self, source: Path, target: Path) -> None:
        with naming("rename to", target):
            try:
                self._os.rename_new(str(source), str(target))
            except FileExistsError as error:
                taken = error
            else:
                return
        raise taken

    def _reserve(self, fd: int, start: int, room: int) -> None:
        if self._os.allocate is None:
            return
        try:
            self._os.allocate(fd, start, room)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


def stale_temporary(path: Path, now_wall: float) -> bool:
    """Tell whether a file is a temporary one of ours whose writer is no more."""
    if not (path.name.startswith(TEMP_PREFIX) and path.name.endswith(TEMP_SUFFIX)):
        return False
    owner = path.name.removeprefix(TEMP_PREFIX).partition("-")[0]
    try:
        if now_wall - path.stat().st_mtime > _STALE_SECONDS:
            return True
        os.kill(int(owner), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return True
    except OSError:
        return False
    return False
