"""The push stream's memory: what every account looked like last, and who wants to hear of changes.

Owns: event ids, what a reader that comes back must be told, and the frames. Pure: readers are callables. It must never wait for a reader.

An id is `<instance>-<number>`; the instance is drawn anew by each daemon, so that an id of an earlier one is recognised and answered with a snapshot. No log of
events is kept: a reader that missed ten changes of one account is told the last of them, and tokens that were replaced are not kept in memory.
"""

from collections.abc import Callable

import msgspec

from broker.ipc.schema import Changed, Removed, Snapshot, WatchAccount, encode
from broker.ipc.sse import frame
from broker.model.account import AccountId

Reader = Callable[[bytes], None]
"""Takes one frame; it is called at once and must not block or raise."""

_MAX_GRAVES = 1000
"""How many vanished accounts are remembered; a reader older than the oldest forgotten one gets a snapshot."""


class _Known(msgspec.Struct, frozen=True):
    number: int
    account: WatchAccount | None  # None: it has changed, and nobody was there to be told


class Hub:
    """The accounts as published."""

    def __init__(self, instance: str, version: str, wrap: Callable[[bytes], bytes]) -> None:
        """`instance` is random; `version` is the program's, sent with snapshots; `wrap` is done to each frame, once for all readers."""
        self._instance = instance
        self._version = version
        self._wrap = wrap
        self._number = 0
        self._floor = 0  # changes up to here may have been forgotten
        self._known: dict[AccountId, _Known] = {}
        self._graves: dict[AccountId, int] = {}
        self._readers: list[Reader] = []
        self.before_join: Callable[[], None] = _nothing
        """Called before a reader joins: to `update` all accounts that were neglected."""

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return len(self._readers)

    def update(self, account: AccountId, now: WatchAccount | None) -> bool:
        """Take what an account looks like (None: gone); tell the readers if that is news, with the same bytes for all. Tells whether it was."""
        before = self._known.get(account)
        if now is None:
            if before is None:
                return False
            self._bury(account)
            self._tell(Removed(str(account)))
            return True
        if before is not None and before.account is not None and _comparable(before.account) == _comparable(now):
            return False
        self._number += 1
        self._graves.pop(account, None)
        self._known[account] = _Known(self._number, now)
        self._tell(Changed(now))
        return True

    def neglect(self, account: AccountId) -> None:
        """Take note that an account changed while there is no reader: what it looked like is let go, what it looks like now nobody asks yet."""
        known = self._known.get(account)
        if known is not None:
            self._known[account] = _Known(known.number, None)

    def join(self, reader: Reader, last_event_id: str | None) -> tuple[bytes, Callable[[], None]]:
        """Add a reader; return the frames it needs to be where we are, and the way to leave. Leaving twice does nothing."""
        self.before_join()
        self._readers.append(reader)
        return self._catch_up(last_event_id), lambda: self._leave(reader)

    def _leave(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)

    def _tell(self, event: Changed | Removed) -> None:
        data = self._frame(self._number, event)
        for reader in tuple(self._readers):
            reader(data)

    def _bury(self, account: AccountId) -> None:
        self._number += 1
        del self._known[account]
        self._graves[account] = self._number
        if len(self._graves) > _MAX_GRAVES:
            oldest = next(iter(self._graves))
            self._floor = self._graves.pop(oldest)

    def _catch_up(self, last_event_id: str | None) -> bytes:
        since = self._since(last_event_id)
        if since is None:
            found = (self._known[each].account for each in sorted(self._known))
            return self._frame(self._number, Snapshot(tuple(filter(None, found)), self._version))
        missed: list[tuple[int, Changed | Removed]] = [
            (known.number, Changed(known.account))
            for known in self._known.values()
            if known.number > since and known.account is not None
        ]
        missed += [(number, Removed(str(account))) for account, number in self._graves.items() if number > since]
        return b"".join(self._frame(number, event) for number, event in sorted(missed, key=lambda each: each[0]))

    def _since(self, last_event_id: str | None) -> int | None:
        instance, _, number = (last_event_id or "").rpartition("-")
        # Not int() on anything else: it takes "１２" and " 12 " too.
        if instance != self._instance or not (number.isascii() and number.isdecimal()) or len(number) > 18:
            return None
        return since if self._floor <= (since := int(number)) <= self._number else None

    def _frame(self, number: int, event: Snapshot | Changed | Removed) -> bytes:
        name = type(event).__struct_config__.tag
        return self._wrap(frame(f"{self._instance}-{number}", str(name), encode(event)))


def _nothing() -> None:
    """Do nothing, until somebody has said what to do."""


def _comparable(account: WatchAccount) -> WatchAccount:
    # The next refresh is computed from two clocks and differs in its last digits each time; alone it is no news.
    return WatchAccount(msgspec.structs.replace(account.view, next_refresh=None), account.lease)
