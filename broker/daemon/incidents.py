"""Telling each incident once, also across restarts.

Owns: hearing of changes, the queue of what is to be told, and `incidents.json` in the state directory: what was told. `broker.refresh.incidents` decides
what is new, `broker.daemon.notices` tells. It must never hold up whoever reported a change.

What is told is noted before it is told: a daemon killed in between has told once too little rather than every time it starts. Where the note cannot be
written (a full disk is one of the incidents), it is told all the same.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import msgspec

from broker.daemon.accounts import Accounts
from broker.daemon.notices import Notices
from broker.model.account import AccountId, StateName, by_name
from broker.model.errors import BrokerError
from broker.observe.logs import log_id
from broker.observe.tasks import spawn
from broker.refresh.incidents import Incident, Later, Nothing, Over, Tell, Told, judge
from broker.store.base import StorageError
from broker.store.files import Disk

_log = logging.getLogger(__name__)

FILE_NAME = "incidents.json"
_MAX_BYTES = 1 << 20


class _Line(msgspec.Struct, frozen=True):
    state: StateName
    key: str


class Incidents:
    """Listens to the engine. `folder` is the state directory, which exists."""

    def __init__(self, accounts: Accounts, notices: Notices, disk: Disk, folder: Path) -> None:
        """Hear nothing before `start`."""
        self._accounts = accounts
        self._notices = notices
        self._disk = disk
        self._path = folder / FILE_NAME
        self._told: dict[AccountId, Told] = {}
        self._noted: dict[AccountId, Told] = {}
        self._queue: list[Incident] = []
        self._worker: asyncio.Task[None] | None = None
        self._looks: dict[AccountId, asyncio.Task[None]] = {}
        self._dirty: set[AccountId] = set()
        self._due: asyncio.Handle | None = None
        self._stop: Callable[[], None] | None = None

    def start(self) -> None:
        """Remember what was told, look at every account, and listen."""
        self._told = _read(self._path)
        self._noted = dict(self._told)
        self._stop = self._accounts.engine.subscribe(self.touch)
        self._dirty.update(self._accounts.store.entries())
        self._soon()

    async def stop(self, limit: float) -> None:
        """Listen no more; what is being told may take `limit` seconds."""
        if self._stop is not None:
            self._stop()
        self._flush()
        for task in self._looks.values():
            task.cancel()
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=limit)
            self._worker.cancel()
            await asyncio.wait([self._worker])

    def touch(self, account: AccountId) -> None:
        """Note that something about an account may have changed."""
        self._dirty.add(account)
        self._soon()

    def _soon(self) -> None:
        if self._due is None:
            # Not at once: while a refresh reports its end, it still counts as under way.
            self._due = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        dirty, self._dirty = self._dirty, set()
        for account in sorted(dirty, key=by_name):
            self._look(account)

    def _look(self, account: AccountId) -> None:
        match self._judge(account):
            case Tell(incident=incident):
                self._told[account] = incident.told
                self._queue.append(incident)
                self._work()
            case Later(seconds=seconds):
                self._look_in(account, seconds)
            case Over():
                del self._told[account]
                self._work()
            case Nothing():
                pass
            case _ as never:
                assert_never(never)

    def _judge(self, account: AccountId) -> Tell | Later | Over | Nothing:
        told = self._told.get(account)
        entry = self._accounts.store.get(account)
        try:
            state = self._accounts.engine.state(account)
        except BrokerError:
            return Nothing() if told is None else Over()
        digest = entry.record.tokens.refresh_digest() if entry else None
        return judge(account, state, digest, told, self._accounts.clock.now().wall)

    def _look_in(self, account: AccountId, seconds: float) -> None:
        if account in self._looks:
            return

        async def later() -> None:
            await self._accounts.clock.sleep(seconds)
            del self._looks[account]
            self._look(account)

        self._looks[account] = spawn(later(), name="incident-look")

    def _work(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = spawn(self._tell_all(), name="incidents")

    async def _tell_all(self) -> None:
        while self._queue or self._noted != self._told:
            await self._note()
            if not self._queue:
                return
            incident = self._queue.pop(0)
            fields = {"account": log_id(incident.account), "state": incident.told.kind.value}
            _log.warning("incident", extra={**fields, "reason": incident.reason, "hint": incident.hint})
            await self._notices.tell(incident)

    async def _note(self) -> None:
        """Write down what was told, durably."""
        told = dict(self._told)
        if told == self._noted:
            return
        lines = {str(account): _Line(each.kind, each.key) for account, each in sorted(told.items())}
        try:
            await asyncio.to_thread(self._disk.write_over, self._path, msgspec.json.encode(lines) + b"\n")
        except StorageError as error:
            _log.warning("what was told is not noted; a restart may tell it again: %s", error.detail)
        else:
            self._noted = told


def _read(path: Path) -> dict[AccountId, Told]:
    """Return what was told; nothing where the file is missing or damaged: to tell twice is better than never."""
    try:
        with path.open("rb") as file:
            lines = msgspec.json.decode(file.read(_MAX_BYTES), type=dict[str, _Line])
        return {AccountId.parse(name): Told(line.state, line.key) for name, line in lines.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.MsgspecError, BrokerError):
        _log.warning("%s cannot be read: incidents may be told again", path.name)
        return {}
