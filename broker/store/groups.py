"""Locks for groups of accounts: among all processes of ours that use an auth directory, one renews an account of a group at a time.

Owns: one lock file a group, beside those of the accounts. Whoever takes it takes the account's lock after it, never before.
"""

import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from broker.model.account import AccountId
from broker.model.clock import Clock
from broker.store.files import Disk
from broker.store.folders import Folders
from broker.store.held import Locks
from broker.store.premises import DAEMON
from broker.store.table import Place


class Groups:
    """The groups of one auth directory. Made and used on one event loop."""

    def __init__(self, directory: Path, disk: Disk, clock: Clock, role: str = DAEMON) -> None:
        """`role` is what other processes are told holds a lock. Nothing is touched before the first."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="groups")
        self._locks = Locks((Folders(directory.absolute()),), disk, self._pool, clock, role)

    @contextlib.asynccontextmanager
    async def lock(self, group: str, wait: float) -> AsyncIterator[None]:
        """Take a group's lock, waiting `wait` seconds at most.

        Raises:
            LockTimeoutError: another process kept it.
            StorageError: the lock file cannot be made.
        """
        place = Place(0, f"group-{group}")  # no auth file is called so: those end in `.json`
        held = await self._locks.take(AccountId(group, "an account of this group"), lambda: place, wait)
        try:
            yield
        finally:
            await self._locks.give_back(held)

    def close(self) -> None:
        """Let go of everything."""
        self._locks.drop_all()
        self._pool.shutdown(wait=False)
