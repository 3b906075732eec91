"""Rotations under way: the journal records of a store, and an open one as the store hands it out.

Owns: which files have a record, beginning one where storage has just been proved writable, and letting it be written and ended while its lock is held, and not
after. It must never begin one over an answer that is not put away yet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from broker.model.account import Generation
from broker.model.clock import Now
from broker.model.secret import Digest
from broker.oauth.messages import HttpResponse
from broker.store.base import Entry, PendingRotation, StorageError, SupersededError
from broker.store.files import Disk
from broker.store.folders import Folders
from broker.store.held import Held
from broker.store.journal import AnswerSeal, Found, Journal, OpenRecord
from broker.store.problems import Problems
from broker.store.rotation import Intent
from broker.store.shelf import Shelf
from broker.store.table import Place

T = TypeVar("T")


class Rotations:
    """The journal records of all directories of one store."""

    def __init__(
        self,
        folders: Sequence[Folders],
        shelf: Shelf,
        disk: Disk,
        pool: Executor,
        problems: Problems,
        seal: AnswerSeal | None,
    ) -> None:
        """Look at nothing before `load`."""
        self._folders = folders
        self._shelf = shelf
        self._disk = disk
        self._pool = pool
        self._problems = problems
        self._journals = tuple(Journal(each.journal, disk, seal) for each in folders)
        self._names: set[tuple[int, str]] = set()

    async def load(self) -> None:
        """Find the records that earlier processes left."""
        self._names = await self._run(self._scan)

    @property
    def none(self) -> bool:
        """Whether no file has a record."""
        return not self._names

    def has(self, place: Place) -> bool:
        """Tell whether the file at `place` has a record."""
        return not self.none and (place.directory, self._path(place).name) in self._names

    async def begin(self, held: Held, entry: Entry, now: Now) -> "FileRotation":
        """Prove the storage writable and write the record, durably. Raises as `broker.store.base.Store.begin_rotation`."""
        return await held.run(self._begin(held, entry, now), "store-begin")

    async def pending(self, held: Held) -> PendingRotation | None:
        """Return the record an earlier process left. Never raises."""
        found = await held.run(self._load(held.place), "store-pending")
        return self._understood(held, found) if found is not None else None

    async def spent(self, held: Held, generation: Generation) -> Digest:
        """Return what names the refresh token that `generation` had, as the record says. Raises SupersededError where none says so."""
        found = await self._load(held.place)
        if found is None or found.intent is None or found.intent.generation != generation:
            raise SupersededError(held.account)
        return found.intent.digest

    async def clear(self, held: Held) -> None:
        """Remove a record. Raises StorageError."""
        place = held.place
        path = self._path(place)
        await held.run(self._run(lambda: self._journals[place.directory].clear(path)), "store-clear")
        self._names.discard((place.directory, path.name))

    async def _begin(self, held: Held, entry: Entry, now: Now) -> "FileRotation":
        digest = entry.record.tokens.refresh_digest()
        if digest is None:
            raise ValueError("there is no refresh token to spend")
        place = held.place
        intent = Intent(held.account, entry.generation, digest, now.wall)
        try:
            record = await self._run(lambda: self._prove_and_begin(place, intent))
        except StorageError as error:
            self._problems.report("storage", f"{error.detail}; no login is renewed before that is mended")
            raise
        self._problems.clear("storage")
        self._names.add((place.directory, record.path.name))
        held.records.append(record)
        return FileRotation(held, record, self.clear)

    def _prove_and_begin(self, place: Place, intent: Intent) -> OpenRecord:
        journal, path = self._journals[place.directory], self._path(place)
        found = journal.load(path)
        if found is not None and found.answer is not None:
            raise StorageError("the journal holds an answer that is not put away yet", account=str(intent.account))
        target = self._disk.real(self._folders[place.directory].path(place))
        self._disk.probe(target.parent)
        self._disk.ensure_folder(path.parent)
        return journal.begin(path, intent)

    def _understood(self, held: Held, found: Found) -> PendingRotation | None:
        if found.intent is not None:
            intent = found.intent
            return PendingRotation(intent.digest, intent.generation, intent.since, found.answer, intent.presented)
        # Damaged: that a token was about to be spent is all that is known. Take it for the present one.
        entry = self._shelf.entries.get(held.account)
        digest = entry.record.tokens.refresh_digest() if entry else None
        return PendingRotation(digest, entry.generation, found.since) if entry and digest else None

    def _scan(self) -> set[tuple[int, str]]:
        return {(number, name) for number, journal in enumerate(self._journals) for name in journal.names()}

    async def _load(self, place: Place) -> Found | None:
        return await self._run(lambda: self._journals[place.directory].load(self._path(place)))

    def _path(self, place: Place) -> Path:
        return self._folders[place.directory].journal_file(place.name)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


class FileRotation:
    """Implements `broker.store.base.Rotation`."""

    def __init__(self, held: Held, record: OpenRecord, clear: Callable[[Held], Awaitable[None]]) -> None:
        """Continue `record`; `clear` removes it."""
        self._held = held
        self._record = record
        self._clear = clear
        self._cleared = False

    async def present(self) -> None:
        """Note durably that the token is about to go out. Raises StorageError."""
        self._check()
        await self._held.run(asyncio.to_thread(self._record.mark_presented), "store-present")

    def record_answer(self, answer: HttpResponse) -> None:
        """Put the answer down. Raises StorageError."""
        self._check()
        self._record.write_answer(answer)

    async def sync(self) -> None:
        """Make it durable. Raises StorageError."""
        self._check()
        await self._held.run(asyncio.to_thread(self._record.sync), "store-sync")

    async def clear(self) -> None:
        """End the record. Raises StorageError."""
        if self._cleared:
            return
        self._check()
        await self._clear(self._held)
        self._record.close()
        self._cleared = True

    def _check(self) -> None:
        if not self._held.live:
            raise StorageError("the lock of the account is no longer held", account=str(self._held.account))
