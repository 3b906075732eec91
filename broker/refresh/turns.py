"""One after another: accounts of one `serial_group` are renewed in turn.

Owns: whose turn it is, in this process and, where it is given a lock between processes, among all that share an auth directory. Some vendors end the
logins of siblings that are renewed at one time. It must never hold a turn for anything but a renewal.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class GroupLocks(Protocol):
    """A lock a group that other processes respect (`broker.store.groups.Groups` in the program)."""

    def lock(self, group: str, wait: float) -> AbstractAsyncContextManager[None]:
        """Take the group's lock; raises LockTimeoutError after `wait` seconds, StorageError where it cannot be made."""
        ...


class Turns:
    """The turns of one engine."""

    def __init__(self, between: GroupLocks | None) -> None:
        """Without `between`, other processes are not waited for."""
        self._between = between
        self._within: dict[str, asyncio.Lock] = {}

    @contextlib.asynccontextmanager
    async def take(self, group: str | None, wait: float) -> AsyncIterator[None]:
        """Wait for the group's turn: however long within this process, `wait` seconds for others. At once where there is no group.

        Raises what `GroupLocks.lock` does.
        """
        if group is None:
            yield
            return
        async with self._within.setdefault(group, asyncio.Lock()):
            if self._between is None:
                yield
                return
            async with self._between.lock(group, wait):
                yield
