"""The locks other programs take while they renew a login.

Owns: taking one by its program's own rules, keeping it fresh, breaking one that its rules call stale, and letting go. All of it is done by calls that return at
once; who waits is the caller. It must never break a lock that its program would respect.

A lock that a process of ours left when it was killed need not grow stale: ours are marked, in a way other programs don't see, and whoever takes one holds a
flock on the login file's folder as well. So a marked one that stands while that flock is free belongs to nobody.
"""

import asyncio
import contextlib
import fcntl
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from broker.model.clock import Clock
from broker.observe.tasks import spawn
from broker.providers.native.base import LockKind, LockRule

_POLL_SECONDS = (0.02, 0.05, 0.1, 0.25)  # a renewal takes a second or two; its end is noticed soon
_MARK_NS = 424_242  # below the millisecond: other programs write and read none of it
_MARK_TEXT = "ccs-broker "
_BEAT_SHARE = 0.4  # of the time after which a lock counts as stale; proper-lockfile itself uses a half


class ForeignLock(ABC):
    """One lock of another program's. Made by `lock_of`; used by one task."""

    def __init__(self, path: Path, folder: Path, rule: LockRule, clock: Clock, nonce: str) -> None:
        """Take nothing yet. `folder` is the login file's; `nonce` is text no other holder writes."""
        self.path = path
        self._folder = folder
        self._guard = -1
        self.rule = rule
        self._clock = clock
        self._nonce = nonce
        self._beating: asyncio.Task[None] | None = None

    async def take(self, wait: float) -> bool:
        """Take it, waiting `wait` seconds at most; tell whether it was to be had.

        Raises:
            OSError: it cannot be taken at all: the folder is not writable, say.
        """
        until, tries = self._clock.now().boot + wait, 0
        while not self.try_take():
            if self._clock.now().boot >= until:
                return False
            await self._clock.sleep(_POLL_SECONDS[min(tries, len(_POLL_SECONDS) - 1)])
            tries += 1
        if self.rule.stale_seconds:
            self._beating = spawn(self._beat(), name="foreign-lock-beat")
        return True

    def let_go(self) -> None:
        """Give it back, unless somebody took it over. Never raises."""
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
        with contextlib.suppress(OSError):
            if self.holds():
                self.remove()
        self._drop_guard()

    def try_take(self) -> bool:
        """Take it if nobody has it, or if who had it is no more. Raises OSError."""
        if not self._take_guard():
            return False
        taken = False
        try:
            taken = self.make()
        finally:
            if not taken:
                self._drop_guard()
        return taken

    @abstractmethod
    def make(self) -> bool:
        """Make what stands for it; tell whether nobody else had. Raises OSError."""

    @abstractmethod
    def left_by_us(self) -> bool:
        """Tell whether what stands there was made by a process of ours. Raises OSError."""

    @abstractmethod
    def holds(self) -> bool:
        """Tell whether it is still ours. Raises OSError."""

    @abstractmethod
    def refresh(self) -> None:
        """Show that its holder lives. Raises OSError."""

    @abstractmethod
    def remove(self) -> None:
        """Remove what stands for it. Raises OSError."""

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(self.rule.stale_seconds * _BEAT_SHARE)
            with contextlib.suppress(OSError):
                if not self.holds():
                    return
                self.refresh()

    def _stale(self) -> bool:
        """Tell whether what stands there belongs to nobody any more; also where it has just gone."""
        try:
            age = self._clock.now().wall - self.path.stat().st_mtime
            return age > self.rule.stale_seconds or (self._guard >= 0 and self.left_by_us())
        except FileNotFoundError:
            return True

    def _take_guard(self) -> bool:
        """Keep other processes of ours out; false where one has the lock."""
        if self._guard >= 0:
            return False
        # Where folders cannot be locked, what a killed process left has to grow stale.
        with contextlib.suppress(OSError):
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            except OSError:
                os.close(fd)
                raise
            self._guard = fd
        return True

    def _drop_guard(self) -> None:
        guard, self._guard = self._guard, -1
        if guard >= 0:
            os.close(guard)

    def _anew(self, make: Callable[[], None], remove: Callable[[Path], None]) -> bool:
        """Make it; where a stale one stands, remove that and try once more, as the programs themselves do."""
        with contextlib.suppress(FileExistsError):
            make()
            return True
        if not self._stale():
            return False
        with contextlib.suppress(FileNotFoundError):
            remove(self.path)
        with contextlib.suppress(FileExistsError):
            make()
            return True
        return False


class FolderLock(ForeignLock):
    """A folder made by mkdir, whose mtime its holder renews (proper-lockfile)."""

    _mark = 0

    def make(self) -> bool:
        """Make the folder."""
        if not self._anew(self.path.mkdir, Path.rmdir):
            return False
        self.refresh()
        return True

    def holds(self) -> bool:
        """Its mtime is the one we set: who breaks it makes another."""
        try:
            return self.path.stat().st_mtime_ns == self._mark
        except FileNotFoundError:
            return False

    def refresh(self) -> None:
        """Set the mtime to now, in whole milliseconds, which is what other programs can read, and our mark below."""
        stamp = int(self._clock.now().wall * 1000) * 1_000_000 + _MARK_NS
        os.utime(self.path, ns=(stamp, stamp))
        self._mark = self.path.stat().st_mtime_ns  # what the file system made of it

    def left_by_us(self) -> bool:
        """Its mtime has our mark; on file systems with coarse times none has."""
        return self.path.stat().st_mtime_ns % 1_000_000 == _MARK_NS

    def remove(self) -> None:
        """Remove the folder."""
        self.path.rmdir()


class FileLock(ForeignLock):
    """A file created exclusively."""

    def make(self) -> bool:
        """Create the file."""
        return self._anew(self._make, Path.unlink)

    def holds(self) -> bool:
        """It holds what we wrote."""
        try:
            return self.path.read_text(errors="replace") == _MARK_TEXT + self._nonce
        except FileNotFoundError:
            return False

    def refresh(self) -> None:
        """Set the mtime to now."""
        wall = self._clock.now().wall
        os.utime(self.path, (wall, wall))

    def left_by_us(self) -> bool:
        """It holds our mark."""
        return self.path.read_text(errors="replace").startswith(_MARK_TEXT)

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink()

    def _make(self) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, (_MARK_TEXT + self._nonce).encode())
        finally:
            os.close(fd)


class FlockLock(ForeignLock):
    """flock(2) on a file that stays; the system frees it when its holder ends."""

    _fd = -1

    def make(self) -> bool:
        """Lock the file."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def holds(self) -> bool:
        """Nobody can take it from us."""
        return self._fd >= 0

    def refresh(self) -> None:
        """Do nothing: it does not age."""

    def left_by_us(self) -> bool:
        """Nobody leaves one: the system frees it."""
        return False

    def remove(self) -> None:
        """Close the file, which frees it."""
        fd, self._fd = self._fd, -1
        os.close(fd)


_KINDS: dict[LockKind, type[ForeignLock]] = {
    LockKind.FOLDER: FolderLock,
    LockKind.FLOCK: FlockLock,
    LockKind.FILE: FileLock,
}


def lock_of(rule: LockRule, login_file: Path, clock: Clock, nonce: str) -> ForeignLock:
    """Return the lock that guards a login file; links are followed, as the programs do."""
    return _KINDS[rule.kind](lock_path(rule, login_file), login_file.parent, rule, clock, nonce)


def lock_path(rule: LockRule, login_file: Path) -> Path:
    """Return where that lock lies."""
    real = Path(os.path.realpath(login_file.parent)) / login_file.name
    return Path(rule.name.replace("{folder}", str(real.parent)).replace("{file}", str(real.with_suffix(""))))
