"""Noticing that a login shared with another program changed there, or here.

Owns: one watch on the folders of the other programs' login files, one task an account that may have something to do, and waiting until a burst of writes
is over. What is to be done is `broker.store.linked`'s. It must never take the other program's lock unless there is something to do.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from broker.model.account import AccountId
from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.observe.tasks import spawn
from broker.observe.watch import Watcher
from broker.store.base import Change, Entry, Updated
from broker.store.linked import LinkedStore

_log = logging.getLogger(__name__)

_SETTLE_SECONDS = 0.5  # a program writes its login and who it is into two files, one after the other
_AGAIN_SECONDS = (2.0, 5.0, 15.0)  # where the other program was just renewing; after that the next hint or rescan


class LinkWatch:
    """Watches for one store. One event loop uses it."""

    def __init__(self, store: LinkedStore, clock: Clock) -> None:
        """Look at nothing before `start`."""
        self._store = store
        self._clock = clock
        self._links: dict[AccountId, str] = {}
        self._running: dict[AccountId, asyncio.Task[None]] = {}
        self._again: set[AccountId] = set()
        self._watcher: Watcher | None = None
        self._folders: frozenset[Path] = frozenset()
        self._rewatch: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None

    async def start(self) -> None:
        """Bring all linked accounts into step once, and begin to watch."""
        self._unsubscribe = self._store.subscribe(self._on_change)
        for entry in self._store.entries().values():
            if entry.link is not None:
                await self._store.clean(entry.link)
                self._note(entry)
        await self._watch()

    async def stop(self) -> None:
        """End all tasks; what is noticed from now on begins none."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._links.clear()
        self._again.clear()
        tasks = [*self._running.values(), *([self._rewatch] if self._rewatch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._watcher is not None:
            await asyncio.to_thread(self._watcher.stop)

    async def rescan(self) -> None:
        """Look at every linked account: the safety net below the notices."""
        for account in tuple(self._links):
            self._touch(account)
        if self._watcher is not None:
            await asyncio.to_thread(self._watcher.renew)

    def _on_change(self, change: Change) -> None:
        if isinstance(change, Updated):
            self._note(change.entry)
        else:
            self._links.pop(change.account, None)
        if self._wanted() != self._folders and (self._rewatch is None or self._rewatch.done()):
            self._rewatch = spawn(self._watch(), name="link-watch")

    def _note(self, entry: Entry) -> None:
        if entry.link is None:
            self._links.pop(entry.account, None)
            return
        self._links[entry.account] = entry.link.path
        self._touch(entry.account)

    def _wanted(self) -> frozenset[Path]:
        return frozenset(Path(os.path.realpath(path)).parent for path in self._links.values())

    async def _watch(self) -> None:
        """Watch the folders there are now."""
        while (wanted := self._wanted()) != self._folders:
            old, self._folders = self._watcher, wanted
            self._watcher = Watcher(sorted(wanted), self._hint, self._all) if wanted else None
            if old is not None:
                await asyncio.to_thread(old.stop)
            if self._watcher is not None:
                await asyncio.to_thread(self._watcher.start)

    def _hint(self, path: Path) -> None:
        for account, known in tuple(self._links.items()):
            if Path(os.path.realpath(known)) == path:
                self._touch(account)

    def _all(self) -> None:
        for account in tuple(self._links):
            self._touch(account)

    def _touch(self, account: AccountId) -> None:
        if account in self._running:
            self._again.add(account)
            return
        self._running[account] = spawn(self._settle(account), name=f"link-{account.provider}")

    async def _settle(self, account: AccountId) -> None:
        try:
            await self._clock.sleep(_SETTLE_SECONDS)
            await self._bring_together(account)
        finally:
            self._running.pop(account, None)
            if account in self._again:
                self._again.discard(account)
                self._touch(account)

    async def _bring_together(self, account: AccountId) -> None:
        for pause in (*_AGAIN_SECONDS, None):
            entry = self._store.get(account)
            if entry is None or await self._store.agrees(entry):
                return
            try:
                await self._store.align(account)
            except BrokerError as error:
                _log.info("not brought into step yet: %s", error.detail, extra={"provider": account.provider})
            else:
                return
            if pause is not None:
                await self._clock.sleep(pause)
