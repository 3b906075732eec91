"""Keeping the table in step with files that others write.

Owns: reading files off the event loop, waiting until a half-written one is whole, believing a removal only when it lasts, and the slow rescan. What a
file means is decided by `broker.store.reading`, which account it is by `broker.store.table`.
It must never write a file.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import TypeVar

from broker.model.clock import Clock
from broker.observe.tasks import spawn
from broker.store.codec import Fault, same
from broker.store.files import Disk
from broker.store.folders import Folders, is_auth_name
from broker.store.image import Image, mark_of
from broker.store.merge import Contested
from broker.store.problems import Problems
from broker.store.reading import Envelope, Providers, Reading, interpret
from broker.store.shelf import Shelf
from broker.store.table import Place

T = TypeVar("T")

_log = logging.getLogger(__name__)

_DEBOUNCE_SECONDS = 0.02  # a writer's burst of events ends within a few ms; a person notices 200
_SETTLE_DELAYS = (
    0.02,
    0.04,
    0.08,
    0.16,
    0.16,
)  # the slowest writer seen takes some 10 ms between truncating and the last byte
_GONE_DELAYS = (0.1, 0.2, 0.3, 0.4)  # one second: an editor's or CCS's remove-and-write is over by then
_CONTESTED_SECONDS = 1.0  # between a program's reading of a file and its writing it back
_BLIND_RESCAN_SECONDS = 2.0  # where the system cannot notify

Seen = tuple[Reading | Fault | None, Image | None]


class Follower:
    """One task a file that may have changed, and one for the rescan."""

    def __init__(
        self,
        folders: Sequence[Folders],
        providers: Providers,
        shelf: Shelf,
        disk: Disk,
        pool: Executor,
        clock: Clock,
        problems: Problems,
        envelope: Envelope | None = None,
    ) -> None:
        """Feed `shelf` from `folders`."""
        self._folders = folders
        self._providers = providers
        self._shelf = shelf
        self._disk = disk
        self._pool = pool
        self._clock = clock
        self._problems = problems
        self._envelope = envelope
        self._marks: dict[Place, tuple[int, ...]] = {}
        self._running: dict[Place, asyncio.Task[None]] = {}
        self._again: set[Place] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.on_outdated: Callable[[Place], None] = _ignore
        """Called when a file holds a grant that we replaced before, or lacks what another program had put in."""
        self.contested = Contested(_CONTESTED_SECONDS)
        self.writing: dict[Place, str] = {}
        """Content (SHA-256) we are putting in place ourselves: not to be believed before it is durable."""

    # --- life ---

    async def load(self) -> None:
        """Read everything, in one go; what is half written follows later."""
        good: list[Reading] = []
        others: list[tuple[Place, Reading | Fault]] = []
        for place, result, image in await self._run(self._see_all):
            self._note(place, image)
            if isinstance(result, Reading) and not self._shelf.rolled_back(result):
                good.append(result)
            elif result is not None:
                others.append((place, result))
        self._shelf.accept(good)
        for place, result in others:
            self._judge_or_wait(place, result)
        for reading in good:
            if reading.inner.repeated:
                self._remark(reading)

    def start_rescans(
        self,
        seconds: Callable[[], float],
        blind: Callable[[], bool],
        upkeep: Callable[[], None],
        also: Callable[[], Awaitable[None]],
    ) -> None:
        """Look at everything each `seconds()`, more often while `blind`, and run `upkeep`, which may block; then `also`."""
        self._tasks.append(spawn(self._rescans(seconds, blind, upkeep, also), name="store-rescan"))

    async def close(self) -> None:
        """End all tasks."""
        tasks = [*self._tasks, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- hints ---

    def touch(self, place: Place, *, finished: bool = False) -> None:
        """A file may have changed: look, when its writer has had a moment; at once where it is known to have `finished`."""
        if place in self._running:
            self._again.add(place)
            return
        self._running[place] = spawn(self._follow(place, finished), name=f"store-follow-{place.directory}")

    def look_again(self, first: Callable[[], Awaitable[None]]) -> None:
        """A folder came or went: run `first`, then compare everything."""
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(spawn(self._look_again(first), name="store-look-again"))

    def distrust(self, place: Place) -> None:
        """Have the next rescan look at a file again even if it did not change."""
        self._marks.pop(place, None)

    # --- reading ---

    async def take(self, place: Place) -> Reading | Fault | None:
        """Read a file now and set its state in the table if it is whole. Returns what was found.

        A grant that we replaced before is not believed: the newest wins, and is put back by `on_outdated`.
        """
        while True:
            stamp = self._shelf.stamp(place)
            result, image = await self._run(lambda: self._see(place))
            if image is not None and self.writing.get(place) == image.content:
                return self._shelf.reading(place)  # our own, on its way
            if self._shelf.stamp(place) == stamp:
                break
        self._note(place, image)
        if not isinstance(result, Reading):
            return result
        if (fault := self._shelf.rolled_back(result)) is not None:
            return fault
        self._remark(result)
        if self._shelf.outdated(result) or self._overtaken(result):
            self.on_outdated(place)
            return result
        known = self._shelf.reading(place)
        if known is None or known.source.content != result.source.content:
            self._shelf.accept([result])
        return result

    async def take_whole(self, place: Place, *, await_return: bool = False) -> Reading | Fault | None:
        """Like `take`, waiting a moment for one that is half written, or (`await_return`) missing."""
        result = await self.take(place)
        for delay in _SETTLE_DELAYS:
            waits = result.settles if isinstance(result, Fault) else (result is None and await_return)
            if not waits:
                break
            await self._clock.sleep(delay)
            result = await self.take(place)
        return result

    # --- tasks ---

    async def _follow(self, place: Place, finished: bool) -> None:
        try:
            # What was renamed into place and is an account is whole; anything else may be the middle of something.
            if not (finished and isinstance(await self.take(place), Reading)):
                await self._clock.sleep(_DEBOUNCE_SECONDS)
                await self._settle(place)
        finally:
            self._running.pop(place, None)
            if place in self._again:
                self._again.discard(place)
                self.touch(place)

    async def _settle(self, place: Place) -> None:
        result = await self.take_whole(place)
        if result is None:
            await self._await_return(place)
        elif isinstance(result, Fault):
            self._complain(place, result)

    async def _await_return(self, place: Place) -> None:
        if self._shelf.reading(place) is None:
            self._forget(place)
            return
        for delay in (0.0, *_GONE_DELAYS):
            await self._clock.sleep(delay)
            if isinstance(await self.take(place.flipped), Reading) and await self.take(place) is None:
                break  # paused or resumed by another program: the account did not go
            if await self.take(place) is not None:
                self.touch(place)
                return
        if place.slot not in {own.slot for own in self.writing}:
            self._shelf.accept(gone=[place])
            self._forget(place)

    async def _rescans(
        self,
        seconds: Callable[[], float],
        blind: Callable[[], bool],
        upkeep: Callable[[], None],
        also: Callable[[], Awaitable[None]],
    ) -> None:
        while True:
            await self._clock.sleep(min(seconds(), _BLIND_RESCAN_SECONDS) if blind() else seconds())
            await self.rescan(upkeep)
            await also()

    async def _look_again(self, first: Callable[[], Awaitable[None]]) -> None:
        await self._clock.sleep(_DEBOUNCE_SECONDS)
        await first()
        await self.rescan()

    async def rescan(self, upkeep: Callable[[], None] | None = None) -> None:
        """Compare all files with what is known of them and look at those that differ.

        `upkeep` comes after the comparing, in the same thread: an idle daemon is to wake few of them, few times.
        """

        def work() -> dict[Place, tuple[int, ...]]:
            marks = self._scan()
            if upkeep is not None:
                upkeep()
            return marks

        marks = await self._run(work)
        missing = (self._shelf.places | self._marks.keys()) - marks.keys()
        for place in missing | {place for place, mark in marks.items() if self._marks.get(place) != mark}:
            self.touch(place)

    # --- inside ---

    def _scan(self) -> dict[Place, tuple[int, ...]]:
        found: dict[Place, tuple[int, ...]] = {}
        for place, entry in self._entries():
            with suppress(OSError):
                found[place] = mark_of(entry.stat())
        return found

    def _listed(self) -> list[tuple[Place, str, bool]]:
        """Return the files there are, their paths, and whether each is a plain one: no link, and nothing that could block."""
        found: list[tuple[Place, str, bool]] = []
        for place, entry in self._entries():
            try:
                found.append((place, entry.path, entry.is_file(follow_symlinks=False)))
            except OSError:
                continue
        # What is read lies in memory in the order it was read in, and everybody goes through the accounts by their names.
        found.sort(key=_by_path)
        return found

    def _see_all(self) -> list[tuple[Place, Reading | Fault | None, Image | None]]:
        """Read everything there is. The bytes are let go one by one: what is made of them has them too, as text."""
        found: list[tuple[Place, Reading | Fault | None, Image | None]] = []
        for place, path, plain in self._listed():
            result, image = self._read(place, path, plain=plain)
            found.append((place, result, image and image.emptied()))
        return found

    def _entries(self) -> "Iterator[tuple[Place, os.DirEntry[str]]]":
        for number, folders in enumerate(self._folders):
            for paused, folder in ((False, folders.active), (True, folders.paused)):
                with suppress(OSError), os.scandir(folder) as entries:
                    for entry in entries:
                        if is_auth_name(entry.name):
                            yield Place(number, entry.name, paused), entry

    def _see(self, place: Place) -> Seen:
        return self._read(place, str(self._folders[place.directory].path(place)), plain=False)

    def _read(self, place: Place, path: str, *, plain: bool) -> Seen:
        # As text: joining and asking paths takes as long as opening a file.
        image = self._disk.read(path, plain=plain)
        if not isinstance(image, Image):
            return image, None
        return interpret(image.data, image.content, place, self._providers, self._envelope), image

    def _overtaken(self, reading: Reading) -> bool:
        document = reading.inner.document
        return not same(self.contested.merged(reading.source.place, document, self._clock.now().boot), document)

    def _note(self, place: Place, image: Image | None) -> None:
        if image is None:
            return
        self._marks[place] = image.mark
        if image.repaired:
            _log.warning("mode of an auth file repaired", extra={"file": place.name})

    def _remark(self, reading: Reading) -> None:
        # What is well enough to be used but worth a word.
        place = reading.source.place
        self._problems.clear(place)
        if reading.inner.repeated:
            keys = ", ".join(reading.inner.repeated)
            self._problems.report((place, "keys"), f"{place.name} has {keys} more than once; the last one counts")
        else:
            self._problems.clear((place, "keys"))

    def _judge_or_wait(self, place: Place, result: Reading | Fault) -> None:
        if isinstance(result, Reading):
            result = self._shelf.rolled_back(result) or result
        if isinstance(result, Fault) and not result.settles:
            self._complain(place, result)
        else:
            self.touch(place)

    def _complain(self, place: Place, fault: Fault) -> None:
        kept = "; its last good state is kept" if self._shelf.reading(place) is not None else ""
        self._problems.report(place, f"{place.name} {fault.detail}{kept}", fault=fault.kind, file=place.name)

    def _forget(self, place: Place) -> None:
        self._marks.pop(place, None)
        self._problems.clear(place)
        self._problems.clear((place, "keys"))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _by_path(listed: tuple[Place, str, bool]) -> str:
    return listed[1]


def _ignore(place: Place) -> None:
    """Do nothing, until the store has said what to do."""
