"""Writing auth files that other programs write too.

Owns: merging a grant into the file as it is at that moment, again and again until nobody came in between (promise P4), and what
becomes of a file that is broken just then. Runs under the account's lock. It must never publish what is not durable.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from broker.model.account import AccountId, Tokens
from broker.model.clock import Clock
from broker.store import codec
from broker.store.base import StorageError, SupersededError
from broker.store.codec import Fault
from broker.store.files import Disk, Swap
from broker.store.folders import Folders, file_name
from broker.store.follow import Follower
from broker.store.held import Held, Locks
from broker.store.image import Image, content_of
from broker.store.merge import Document
from broker.store.reading import Envelope, Providers, Reading, interpret
from broker.store.shelf import Shelf
from broker.store.table import Place

T = TypeVar("T")
Build = Callable[[Reading, Document], Document | None]
"""Makes the new document of a file: from its state, and the same as a document with foreign changes merged in. None: it is right as it is."""

_log = logging.getLogger(__name__)

_TRIES = 50  # each one lost means that somebody else's write came in between
_NAMES = 100
_RETURN_SECONDS = 1.0  # a file another program is replacing is back by then
_RETURN_STEP = 0.1
_DEAD_WRITER_SECONDS = 3.0  # a file half written that was not touched for so long is nobody's work any more


class Sealer(Envelope, Protocol):
    """An envelope that can also be closed."""

    def close_file(
        self, data: bytes, outer: codec.Parsed | None, account: AccountId, generation: int, file_name: str
    ) -> bytes:
        """Return the text of a sealed file holding `data`; fields of `outer` that are not ours are kept."""
        ...


class Writer:
    """Writes for one store."""

    def __init__(
        self,
        folders: Sequence[Folders],
        providers: Providers,
        shelf: Shelf,
        follower: Follower,
        disk: Disk,
        pool: Executor,
        clock: Clock,
        seal: Sealer | None,
    ) -> None:
        """Write below `folders`; set what was written in `shelf`."""
        self._folders = folders
        self._providers = providers
        self._shelf = shelf
        self._follower = follower
        self._disk = disk
        self._pool = pool
        self._clock = clock
        self._seal = seal

    async def replace(
        self, held: Held, build: Build, tokens: Tokens | None, *, renamed: AccountId | None = None
    ) -> Reading:
        """Set the file of a held account to what `build` makes of its present state, durably; set the table.

        `build` returns None where the file already holds what it should: it is then only made durable. It may raise. Unless `tokens` is None, the
        new text is written only if it reads back with them. With `renamed` the account has that name afterwards.

        Raises:
            SupersededError: the file is gone.
            StorageError: storage refused, or the file cannot be understood.
        """
        await self._prove_unproven(held.place)
        for _ in range(_TRIES):
            reading, base = await self._present(held)
            place = held.place
            known = reading.inner.document
            present = self._follower.contested.merged(place, known, self._clock.now().boot)
            document = build(reading, present)
            if document is None and codec.same(present, known):
                await self._run(partial(self._disk.prove, self._folders[place.directory].path(place)))
                return reading
            made, data = self._compose(reading, document or present, held.account, place, tokens, renamed)
            swap = await self._swap(place, base, data)
            if swap.done:
                self._follower.writing.pop(place, None)
                if renamed is not None:
                    self._shelf.rename(held.account, renamed)
                    held.account = renamed
                self._shelf.note_replaced(held.account, reading.source.record.tokens, made.source.record.tokens)
                self._shelf.accept([made], raised=held.account)
                return made
            self._note_between(place, (known, made.inner.document), swap)
        raise StorageError(
            f"{held.place.name} is written by another program without a pause", account=str(held.account)
        )

    async def create(self, locks: Locks, account: AccountId, wanted: str, document: Document, tokens: Tokens) -> Place:
        """Put a new file into the first directory, under a name nobody has, durably; set the table. Raises StorageError."""
        for number in range(1, _NAMES):
            place = Place(0, file_name(wanted, number))
            if await self._run(partial(self._taken, place)):
                continue
            held = await locks.take(account, partial(_same, place), 0.0)
            try:
                if await held.run(self._create(place, account, document, tokens), "store-create"):
                    return place
            finally:
                await locks.give_back(held)
        raise StorageError(f"there are {_NAMES} files named like {file_name(wanted, 1)}", account=str(account))

    async def present(self, held: Held) -> Reading | None:
        """Read the file of a held account as it is now, wherever it went; None where it is gone.

        A file that stays broken counts as its last good state.
        """
        reading, _ = await self._look(held)
        return reading

    # --- inside ---

    async def _look(self, held: Held) -> tuple[Reading | None, Fault | None]:
        """Return a file's state and, where that is only its last good one, what is wrong with it now."""
        for place in (held.place, held.place.flipped, held.place):
            result = await self._follower.take_whole(place)
            if isinstance(result, Reading):
                held.place = place
                return result, None
            if isinstance(result, Fault) and (known := self._shelf.reading(place)) is not None:
                return known, result
        return None, None

    async def _present(self, held: Held) -> tuple[Reading, str]:
        """Return the state to build on and the SHA-256 of what is to be replaced: not the same for a broken file."""
        waited = 0.0
        while True:
            reading, fault = await self._look(held)
            if reading is not None:
                break
            folder = self._folders[held.place.directory].active
            if not await self._run(folder.is_dir):
                raise StorageError(
                    f"cannot open {folder.name}: ENOENT (the directory is gone)", account=str(held.account)
                )
            if waited >= _RETURN_SECONDS:
                raise SupersededError(held.account)
            waited += _RETURN_STEP
            await self._clock.sleep(_RETURN_STEP)
        if fault is None:
            return reading, reading.source.content
        return reading, await self._broken(held, fault) or reading.source.content

    async def _broken(self, held: Held, fault: Fault) -> str | None:
        """Put a copy of a file that stayed broken aside; return its SHA-256, None where it is broken no more, or was written to just now."""
        place = held.place
        if not fault.settles:
            raise StorageError(f"{place.name} {fault.detail}; it is not written over", account=str(held.account))
        image = await self._run(partial(self._disk.read, self._folders[place.directory].path(place)))
        if not isinstance(image, Image) or isinstance(self._interpret(place, image.data), Reading):
            return None
        if abs(self._clock.now().wall - _written(image)) < _DEAD_WRITER_SECONDS:
            return None  # its writer may be at it, on a machine that is busy: it is looked at again
        await self._run(lambda: self._keep(place, image.data))
        return image.content

    def _keep(self, place: Place, data: bytes) -> None:
        # Broken for good, by a program that died while writing. What it wrote may still help a person.
        folders = self._folders[place.directory]
        _log.warning("broken auth file replaced by its last good state", extra={"file": place.name})
        if data.strip(b"\0 \t\r\n"):
            with suppress(StorageError):
                self._disk.ensure_folder(folders.broken)
                self._disk.write_over(folders.broken / place.name, data)

    def _compose(
        self,
        reading: Reading | None,
        document: Document,
        account: AccountId,
        place: Place,
        tokens: Tokens | None,
        renamed: AccountId | None = None,
    ) -> tuple[Reading, bytes]:
        try:
            plain = codec.encode(document) if reading is None else codec.render(reading.inner, document)
        except (ValueError, TypeError) as error:
            raise StorageError(f"{place.name} cannot be written as JSON", account=str(account)) from error
        data = plain
        if self._seal is not None:
            outer = reading.outer if reading else None
            name = renamed or account
            generation = max(self._shelf.next_generation(account), self._shelf.next_generation(name))
            data = self._seal.close_file(plain, outer, name, generation, place.name)
        made = self._interpret(place, data)
        if not isinstance(made, Reading) or (tokens is not None and not _holds(made, tokens)):
            raise StorageError(f"{place.name} would not read back as it was meant", account=str(account))
        return made, data

    async def _swap(self, place: Place, base: str, data: bytes) -> Swap:
        path = self._folders[place.directory].path(place)
        self._follower.writing[place] = content_of(data)
        try:
            swap = await self._run(lambda: self._disk.swap_in(path, base, data))
        except BaseException:
            # In place but not durable: stays unbelieved until a later attempt has proved it.
            if await self._run(lambda: self._differs(place, data)):
                self._follower.writing.pop(place, None)
            raise
        if not swap.done:
            self._follower.writing.pop(place, None)
        return swap

    def _interpret(self, place: Place, data: bytes) -> Reading | Fault:
        return interpret(data, content_of(data), place, self._providers, self._seal)

    def _note_between(self, place: Place, bases: tuple[Document, Document], swap: Swap) -> None:
        # Each is paired with what its writer most likely had read.
        found = [self._interpret(place, data) for data in swap.foreign]
        documents = [reading.inner.document if isinstance(reading, Reading) else None for reading in found]
        first = documents[0] if documents else None
        for base, theirs in zip((*bases, first or bases[0]), documents, strict=False):
            if theirs is not None:
                self._follower.contested.note(place, base, theirs, self._clock.now().boot)

    async def _prove_unproven(self, place: Place) -> None:
        if place in self._follower.writing:
            await self._run(partial(self._disk.prove, self._folders[place.directory].path(place)))
            self._follower.writing.pop(place, None)

    def _differs(self, place: Place, data: bytes) -> bool:
        image = self._disk.read(self._folders[place.directory].path(place))
        return not isinstance(image, Image) or image.content != content_of(data)

    async def _create(self, place: Place, account: AccountId, document: Document, tokens: Tokens) -> bool:
        made, data = self._compose(None, document, account, place, tokens)
        path = self._folders[place.directory].path(place)
        self._follower.writing[place] = content_of(data)
        try:
            if await self._run(lambda: self._taken(place)):
                return False
            await self._run(lambda: self._disk.write_new(path, data))
        except FileExistsError:
            return False
        finally:
            self._follower.writing.pop(place, None)
        self._shelf.accept([made])
        return True

    def _taken(self, place: Place) -> bool:
        folders = self._folders[place.directory]
        paths = (folders.path(place), folders.path(place.flipped))
        return any(path.exists() or path.is_symlink() for path in paths)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _same(place: Place) -> Place:
    return place


def _written(image: Image) -> float:
    """Return when a file was last written, in wall-clock seconds (`image.mark_of`)."""
    return image.mark[3] / 1e9


def _holds(reading: Reading, tokens: Tokens) -> bool:
    made = reading.source.record.tokens
    wanted = tokens.refresh_token
    return made.access_token == tokens.access_token and (wanted is None or made.refresh_token == wanted)
