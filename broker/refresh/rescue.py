"""Grants that storage refused, kept in emergency copies until it takes them (promise P4).

Owns: when a copy is written, taken up and removed. The files are `broker.store.emergency`'s. It must never send anything, and never prefer a copy to a
file that moved on: the newer grant wins.
"""

import asyncio
import logging
from collections.abc import Sequence

from broker.model.account import AccountId, Tokens
from broker.model.clock import Clock, Now
from broker.refresh import life
from broker.refresh.attempt import Adopted, Attempt, Failed, Result, Stranded, Unwritable, Vanished
from broker.refresh.cells import Cell, Cells
from broker.store.base import Entry, StorageError
from broker.store.emergency import Copy, EmergencyCopies

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0


class Rescue:
    """The copies of one engine. Without `copies` it does nothing."""

    def __init__(self, copies: EmergencyCopies | None, cells: Cells, attempt: Attempt, clock: Clock) -> None:
        """Read nothing before `load`."""
        self._copies = copies
        self._cells = cells
        self._attempt = attempt
        self._clock = clock
        self._kept: dict[AccountId, Copy] = {}
        self._not_before: dict[AccountId, float] = {}
        self._refused: dict[AccountId, str] = {}

    async def load(self) -> None:
        """Find what an earlier process left."""
        if self._copies is not None:
            self._kept = dict(await asyncio.to_thread(self._copies.load))

    @property
    def none(self) -> bool:
        """Whether no account has a copy."""
        return not self._kept

    def due(self, account: AccountId, cell: Cell, now: Now) -> bool:
        """Tell whether an account has a copy that is to be taken up, or is no longer needed."""
        return account in self._kept and cell.stranded is None and now.boot >= self._not_before.get(account, 0.0)

    async def settle(self, account: AccountId, result: Result) -> Result:
        """Return what becomes of an account after a recovery that sent nothing, its copy considered.

        The copy counts where the file still holds the refresh token that was spent for it.
        """
        self._not_before[account] = self._clock.now().boot + _RETRY_SECONDS
        copy, cell = self._kept.get(account), self._cells.find(account)
        if copy is None or cell is None or isinstance(result, Vanished | Stranded):
            return result
        entry = result.entry if isinstance(result, Adopted) else cell.entry
        if entry.record.tokens.refresh_digest() == copy.replaces and isinstance(result, Adopted | Failed | Unwritable):
            return await self._attempt.save(
                account, copy.tokens, entry, life.received(copy.tokens, copy.since, self._clock.now())
            )
        return result

    async def follow(self, account: AccountId, result: Result) -> None:
        """Write a copy of a grant that was refused; remove one that is no longer needed."""
        match result:
            case Stranded(tokens=tokens, entry=entry, received=received):
                await self._write(account, _copy_of(tokens, entry, received.wall))
            case Unwritable() | Failed() | Vanished():
                pass
            case _:
                await self._drop_if_past(account, result.entry)

    async def forget(self, account: AccountId) -> None:
        """Remove an account's copy, whatever it holds: the user logged out. Raises StorageError."""
        if self._copies is not None:
            await asyncio.to_thread(self._copies.remove, account)
            self._kept.pop(account, None)

    def where(self, account: AccountId) -> str:
        """Say where the copy of an account's unsaved grant is, or that there is none."""
        if self._copies is None:
            return "no copy is kept"
        if account in self._kept:
            return f"a copy is in {self._copies.path(account)}"
        return f"there is no copy ({self._refused.get(account, 'not written yet')})"

    def problems(self) -> Sequence[str]:
        """Return sentences about copies whose account is not there."""
        return [
            f"{account}: its file is gone, and {self.where(account)} that was never saved"
            for account in sorted(self._kept)
            if self._cells.find(account) is None
        ]

    async def _write(self, account: AccountId, copy: Copy | None) -> None:
        kept = self._kept.get(account)
        if copy is None:
            self._refused[account] = "none is needed, the refresh token is the one in the file"
            return
        if self._copies is None or (kept is not None and kept.tokens.refresh_token == copy.tokens.refresh_token):
            return
        try:
            await asyncio.to_thread(self._copies.write, copy)
        except StorageError as error:
            self._refused[account] = error.detail
            _log.error("no emergency copy: %s", error.detail, extra={"provider": account.provider})
        else:
            self._kept[account] = copy
            path = self._copies.path(account)
            _log.warning("emergency copy written: %s", path, extra={"provider": account.provider})

    async def _drop_if_past(self, account: AccountId, entry: Entry) -> None:
        copy = self._kept.get(account)
        if self._copies is None or copy is None or entry.record.tokens.refresh_digest() == copy.replaces:
            return
        try:
            await asyncio.to_thread(self._copies.remove, account)
        except StorageError as error:
            _log.warning("an emergency copy could not be removed: %s", error.detail)
        else:
            del self._kept[account]
            _log.info("emergency copy removed", extra={"provider": account.provider})


def _copy_of(tokens: Tokens, entry: Entry, since: float) -> Copy | None:
    """Return what to keep; None where the refresh token is the file's own: then nothing can be lost."""
    spent = entry.record.tokens.refresh_digest()
    if spent is None or tokens.refresh_digest() in (None, spent):
        return None
    return Copy(entry.account, entry.file, since, spent, tokens)
