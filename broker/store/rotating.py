"""An open journal record, as the store hands it out.

Owns: letting it be written and ended while its lock is held, and not after.
"""

import asyncio
from collections.abc import Awaitable, Callable

from broker.oauth.messages import HttpResponse
from broker.store.base import StorageError
from broker.store.held import Held
from broker.store.journal import OpenRecord


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
