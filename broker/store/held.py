"""Holding an account: the lock as the store hands it out.

Owns: waiting for the lock of a file, and letting go only when nothing that was begun under it still runs. It must never let a cancelled caller
leave a write half-way: work under a lock is a task of its own, waited for before the lock falls.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from broker.model.account import AccountId
from broker.model.clock import Clock
from broker.observe.tasks import spawn
from broker.store.base import LockTimeoutError
from broker.store.folders import Folders
from broker.store.journal import OpenRecord
from broker.store.lock import holder, try_lock
from broker.store.table import Place

T = TypeVar("T")

_POLL_SECONDS = (0.005, 0.01, 0.02, 0.05)  # a holder's death is noticed within the last; refreshes take 100 ms and more


@dataclass(eq=False, slots=True)
class Held:
    """An account that this process may change, while `fd` is open. Implements `broker.store.base.Lock`."""

    account: AccountId
    place: Place
    fd: int
    tasks: set[asyncio.Task[object]] = field(default_factory=set)
    records: list[OpenRecord] = field(default_factory=list)

    @property
    def live(self) -> bool:
        """Whether the lock is still held."""
        return self.fd >= 0

    async def run(self, work: Coroutine[object, object, T], name: str) -> T:
        """Do `work` to its end, whatever happens to the caller."""
        task = spawn(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return await asyncio.shield(task)

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

    def __init__(self, folders: Sequence[Folders], pool: Executor, clock: Clock, role: str) -> None:
        """`role` is what lock files say about this process."""
        self._folders = folders
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
            path = self._folders[at.directory].lock_file(at.name)
            fd = await self._try(path)
            if fd is not None and place().slot == at.slot:
                held = Held(account, place(), fd)
                self._held.add(held)
                return held
            if fd is not None:
                os.close(fd)
            if self._clock.now().boot >= until:
                raise LockTimeoutError(account, holder(path))
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

    async def _try(self, path: Path) -> int | None:
        future = self._pool.submit(try_lock, path, self._role)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_close)
            raise


def _close(future: "Future[int | None]") -> None:
    # A lock that came too late must not stay taken.
    with contextlib.suppress(Exception):
        fd = None if future.cancelled() else future.result()
        if fd is not None:
            os.close(fd)
