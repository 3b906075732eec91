"""Putting the newest grant back.

Owns: what happens when another program, which had an older grant in memory, wrote it over ours: CLIProxyAPI does when it saves a setting. The fields it
changed stay, the grant becomes the newest again (promise P4). It must never touch a file whose grant we did not replace ourselves before.
"""

import asyncio

from broker.model.account import AccountId
from broker.model.clock import Clock
from broker.observe.tasks import spawn
from broker.store.base import LockTimeoutError, StorageError, SupersededError
from broker.store.follow import Follower
from broker.store.held import Locks
from broker.store.merge import Document
from broker.store.problems import Problems
from broker.store.reading import Reading
from broker.store.shelf import Shelf
from broker.store.table import Place
from broker.store.write import Writer

_WAIT_SECONDS = 10.0  # for the lock; a refresh under way writes the newest grant itself


class Restorer:
    """One task a file that needs it."""

    def __init__(
        self, shelf: Shelf, follower: Follower, writer: Writer, locks: Locks, clock: Clock, problems: Problems
    ) -> None:
        """Listen to `follower`."""
        self._shelf = shelf
        self._follower = follower
        self._writer = writer
        self._locks = locks
        self._clock = clock
        self._problems = problems
        self._running: dict[Place, asyncio.Task[None]] = {}
        follower.on_outdated = self._on_outdated

    async def close(self) -> None:
        """End all tasks; what is left is put back after the next start or by the next refresh."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_outdated(self, place: Place) -> None:
        text = f"{place.name} was rewritten by another program from an older state; what is newer is put back"
        self._problems.report((place, "outdated"), text, fault="outdated", file=place.name)
        if place not in self._running:
            self._running[place] = spawn(self._restore(place), name="store-restore")

    async def _restore(self, place: Place) -> None:
        account = self._shelf.account_at(place)
        try:
            if account is not None:
                await self._put_back(account, place)
            self._problems.clear((place, "outdated"))
        except (StorageError, SupersededError, LockTimeoutError) as error:
            # The newest grant is still served from memory; the next rescan finds the file again.
            self._follower.distrust(place)
            text = f"{place.name} holds an older state than we do: {error.detail}"
            self._problems.report((place, "outdated"), text, fault="outdated", file=place.name)
        finally:
            del self._running[place]

    async def _put_back(self, account: AccountId, place: Place) -> None:
        def newest(reading: Reading, document: Document) -> Document | None:
            entry = self._shelf.entries.get(account)
            if entry is None or not self._shelf.outdated(reading):
                return None
            tokens = entry.record.tokens
            return reading.provider.write(document, tokens, self._clock.now())

        held = await self._locks.take(account, lambda: self._shelf.place_of(account) or place, _WAIT_SECONDS)
        try:
            await held.run(self._writer.replace(held, newest, None), "store-restore")
        finally:
            await self._locks.give_back(held)
