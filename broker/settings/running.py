"""The settings of a running program: what it was started with, and what of the file it took over since.

Owns: reading the file again on request and when it changes, refusing one that is faulty as a whole, and telling the parts. The settings that run stay in
force until the new ones are known to be good: parts first say that they can work with them, and then take them over, all or none. It must never stop a
program for a fault in the file.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from broker.config import Config, Loaded
from broker.model.clock import Clock
from broker.model.errors import BrokerError, SettingError
from broker.observe.watch import Watcher
from broker.settings.changes import Key, Program, changed, held, named, settled
from broker.settings.checks import dotted
from broker.settings.effective import Edition, digest_of
from broker.settings.refusal import located

_log = logging.getLogger(__name__)

_SETTLE_SECONDS: Final = 0.3  # editors write in several steps; a file that still changes is not read
_BLIND_SECONDS: Final = 5.0  # between looks where the system refuses to tell of changes

Take = Callable[[], None]
Prepare = Callable[[Config], Take]
"""Called with new settings. Raises BrokerError where a part cannot work with them; what it returns makes them its own, and must not fail."""


class Running:
    """The settings of one program. All calls are on one event loop."""

    def __init__(self, loaded: Loaded, program: Program, read: Callable[[], Loaded], clock: Clock) -> None:
        """Begin with `loaded`; `read` reads the file again, and raises BrokerError."""
        self.loaded = loaded
        """The file as it was last taken over; where it says something else than `config`, that needs a restart."""
        self.config = loaded.config
        """What is in force."""
        self.program = program
        self.since = clock.now().wall
        """When the settings in force were taken over, in seconds since the epoch."""
        self.reloads = 0
        self.problem: str | None = None
        """Why the file as it is now was refused; None where it was taken over."""
        self._pending: tuple[Key, ...] = ()
        self._read = read
        self._clock = clock
        self._parts: list[Prepare] = []
        self._seen = _print(loaded.file)
        self._stirred = asyncio.Event()

    @property
    def edition(self) -> Edition:
        """Which settings are in force, in short; `pending` are those of this program for which the file says something that needs a restart."""
        return Edition(digest_of(self.config), self.since, tuple(dotted(key) for key in self._pending))

    def on_change(self, prepare: Prepare) -> None:
        """Have a part told of new settings."""
        self._parts.append(prepare)

    def reload(self) -> tuple[Key, ...]:
        """Read the file and take over what it says; return the settings that changed, those that wait for a restart among them.

        Raises:
            BrokerError: the file is refused, and everything is as it was; the detail names line and key. The log has it too.
        """
        self._seen = _print(self.loaded.file)
        try:
            loaded = self._read()
            config, kept = settled(self.config, loaded.config)
            takes = self._prepared(config, loaded)
        except BrokerError as error:
            self.problem = error.detail
            _log.error("settings not reloaded: those that run stay", extra={"reason": error.detail})
            raise
        before, self.config, self.loaded, self.problem = self.config, config, loaded, None
        self._pending = self._own(kept)
        told = changed(before, config)
        if told:
            self.since = self._clock.now().wall
            self.reloads += 1
        for take in takes:
            try:
                take()
            except Exception:  # noqa: BLE001 - a fault of one part must not keep the others, or the next change, from being taken over
                _log.exception("a part of the program goes on by the settings it had")
        _log.info("settings reloaded", extra={"changed": named(told) or "nothing", "generation": digest_of(config)})
        if self._pending:
            _log.warning("needs a restart: %s", named(self._pending))
        return (*told, *kept)

    def _prepared(self, config: Config, loaded: Loaded) -> list[Take]:
        try:
            return [prepare(config) for prepare in self._parts]
        except SettingError as error:
            raise located(error, str(loaded.file), loaded.lines) from None

    async def follow(self) -> None:
        """Take over changes of the file until cancelled. A file that vanishes changes nothing: it may be on its way to being replaced."""
        while True:
            where = _where(self.loaded.file)

            def hint(path: Path, names: frozenset[str] = where.names) -> None:
                if path.name in names:
                    self._stirred.set()

            watcher = Watcher(where.folders, hint, self._stirred.set, parents=False, writes=False)
            await asyncio.to_thread(watcher.start)
            self._stirred.set()  # it may have changed since it was read
            try:
                while _where(self.loaded.file) == where:
                    await self._followed(watcher)
            finally:
                await asyncio.to_thread(watcher.stop)

    async def _followed(self, watcher: Watcher) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if watcher.working else _BLIND_SECONDS):
                await self._stirred.wait()
        self._stirred.clear()
        await asyncio.to_thread(watcher.renew)
        if await self._settled():
            with contextlib.suppress(BrokerError):  # told in the log
                self.reload()

    async def _settled(self) -> bool:
        """Tell whether the file is another one than was read last, once it stays the same for a moment."""
        while (now := _print(self.loaded.file)) != self._seen:
            if now is None:
                return False
            await self._clock.sleep(_SETTLE_SECONDS)
            if _print(self.loaded.file) == now:
                return True
        return False

    def _own(self, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        return tuple(key for key in keys if (why := held(key)) is not None and why.program is self.program)


class _Where(msgspec.Struct, frozen=True):
    """The folders to watch, and what the file is called in them: a link may be replaced, and so may what it leads to."""

    folders: tuple[Path, ...]
    names: frozenset[str]


def _where(file: Path) -> _Where:
    behind = Path(os.path.realpath(file))
    return _Where(
        tuple(dict.fromkeys((file.absolute().parent, behind.parent))),
        frozenset((file.name, behind.name)),
    )


def _print(file: Path) -> tuple[int, ...] | None:
    try:
        info = file.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns
