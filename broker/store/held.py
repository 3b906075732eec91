"""Holding an account: the lock as the store hands it out.

Owns: waiting for the lock of a file, and letting go only when nothing that was begun under it still runs. It must never let a cancelled caller
leave a write half-way: work under a lock is a task of its own, waited for before the lock falls.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

import msgspec

from broker.model.account import AccountId
from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.observe.tasks import spawn
from broker.store.base import LockTimeoutError
from broker.store.files import Disk
from broker.store.folders import Folders
from broker.store.journal import OpenRecord
from broker.store.lock import holder, try_lock
from broker.store.table import Place

T = TypeVar("T")

_POLL_SECONDS = (0.005, 0.01, 0.02, 0.05)  # a holder's death is noticed within the last; refreshes take 100 ms and more


class Held(msgspec.Struct, eq=False):
    """An account that this process may change, while `fd` is open. Implements `broker.store.base.Lock`."""

    account: AccountId
    place: Place
    fd: int
    tasks: set[asyncio.Task[object]] = msgspec.field(default_factory=set)
    records: list[OpenRecord] = msgspec.field(default_factory=list)

    @property
    def live(self) -> bool:
        """Whether the lock is still held."""
        return self.fd >= 0

    async def run(self, work: Coroutine[object, object, T], name: str) -> T:
        """Do `work` to its end, whatever happens to the caller."""
        task = spawn(_outcome(work), name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        done, error = await asyncio.shield(task)
        if error is not None:
            raise error
        return done[0]

    async def end(self) -> None:
        """Wait for what runs, then let go."""
        while self.tasks:
            await asyncio.wait(self.tasks)
        self.drop()

    def drop(self) -> None:
        """Let go now."""
        for record in self.records:
            record.close()
        self.records.clear()
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Locks:
    """Takes locks for one store, and drops them all at its end."""

    def __init__(self, folders: Sequence[Folders], disk: Disk, pool: Executor, clock: Clock, role: str) -> None:
        """`role` is what lock files say about this process."""
        self._folders = folders
        self._disk = disk
        self._pool = pool
        self._clock = clock
        self._role = role
        self._held: set[Held] = set()

    async def take(self, account: AccountId, place: Callable[[], Place], wait: float) -> Held:
        """Take the lock of the file at `place()`, which is asked again after each wait as the file may have moved.

        Raises:
            LockTimeoutError: somebody else kept it.
            StorageError: the lock file cannot be made.
        """
        until = self._clock.now().boot + wait
        tries = 0
        while True:
            at = place()
            fd = await self._try(at)
            if fd is not None and place().slot == at.slot:
                held = Held(account, place(), fd)
                self._held.add(held)
                return held
            if fd is not None:
                os.close(fd)
            if self._clock.now().boot >= until:
                raise LockTimeoutError(account, holder(self._folders[at.directory].lock_file(at.name)))
            await self._clock.sleep(_POLL_SECONDS[min(tries, len(_POLL_SECONDS) - 1)])
            tries += 1

    async def give_back(self, held: Held) -> None:
        """End a hold."""
        self._held.discard(held)
        await held.end()

    def drop_all(self) -> None:
        """Let go of everything now: the store closes."""
        for held in self._held:
            held.drop()
        self._held.clear()

    async def _try(self, place: Place) -> int | None:
        future = self._pool.submit(self._open, place)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_close)
            raise

    def _open(self, place: Place) -> int | None:
        folders = self._folders[place.directory]
        # Whoever deleted and remade the auth directory took the locks with it. One that is missing altogether is not remade: it may
        # be a volume that is not mounted.
        if not folders.locks.is_dir() and folders.active.is_dir():
            self._disk.ensure_folder(folders.locks)
        return try_lock(folders.lock_file(place.name), self._role)


async def _outcome(work: Coroutine[object, object, T]) -> tuple[list[T], Exception | None]:
    # What the door promises to raise is the caller's to handle; anything else fails the task, and is logged as a fault of ours.
    try:
        return [await work], None
    except (BrokerError, OSError, ValueError) as error:
        return [], error


def _close(future: "Future[int | None]") -> None:
    # A lock that came too late must not stay taken.
    with contextlib.suppress(Exception):
        fd = None if future.cancelled() else future.result()
        if fd is not None:
            os.close(fd)
