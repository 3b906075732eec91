"""Cool-downs over a restart.

Owns: `cooldowns.json` in the state directory: reading it once, and writing it a moment after a change. It holds names of accounts and models and sentences of
APIs, no secret. What cannot be read or written costs nothing but a request to an account that is limited.
"""

import asyncio
import logging
from pathlib import Path

import msgspec

from broker.daemon.cooldowns import Cooldowns
from broker.ipc.schema import Cooldown
from broker.model.account import AccountId
from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.observe.tasks import spawn
from broker.store.base import StorageError
from broker.store.files import Disk

_log = logging.getLogger(__name__)

FILE_NAME = "cooldowns.json"
_PAUSE_SECONDS = 1.0  # many are set at once when a provider has a bad minute
_MAX_BYTES = 4 << 20


class KeptCooldowns:
    """Follows the table. `folder` is the state directory, which exists."""

    def __init__(self, cooldowns: Cooldowns, disk: Disk, folder: Path, clock: Clock) -> None:
        """Do nothing before `start`."""
        self._cooldowns = cooldowns
        self._disk = disk
        self._path = folder / FILE_NAME
        self._clock = clock
        self._dirty = False
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Fill the table, and follow it."""
        self._cooldowns.restore(_read(self._path), self._clock.now().wall)
        self._cooldowns.on_change = self._changed

    async def stop(self) -> None:
        """Write what is unwritten."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if self._dirty:
            await self._write()

    def _changed(self) -> None:
        self._dirty = True
        if self._worker is None or self._worker.done():
            self._worker = spawn(self._write_soon(), name="cooldowns")

    async def _write_soon(self) -> None:
        while self._dirty:
            await self._clock.sleep(_PAUSE_SECONDS)
            await self._write()

    async def _write(self) -> None:
        self._dirty = False
        known = self._cooldowns.all(self._clock.now().wall)
        lines = {str(account): known[account] for account in sorted(known)}
        try:
            await asyncio.to_thread(self._disk.write_over, self._path, msgspec.json.encode(lines) + b"\n")
        except StorageError as error:
            _log.warning("cool-downs are not kept; a restart forgets them: %s", error.detail)


def _read(path: Path) -> dict[AccountId, tuple[Cooldown, ...]]:
    try:
        with path.open("rb") as file:
            lines = msgspec.json.decode(file.read(_MAX_BYTES), type=dict[str, tuple[Cooldown, ...]])
        return {AccountId.parse(name): cooldowns for name, cooldowns in lines.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.MsgspecError, BrokerError):
        _log.warning("%s cannot be read: accounts that were limited may be asked once more", path.name)
        return {}
