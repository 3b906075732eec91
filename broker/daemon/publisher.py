"""From changes to news: one place hears of every change and tells the push stream, the metrics and the audit trail.

Owns: gathering the changes of one turn of the event loop, so that an account that changed three times in it is told once. It must never hold up
whoever reported one.
"""

import asyncio
import logging
from collections.abc import Callable

from broker.daemon.accounts import Accounts
from broker.daemon.hub import Hub
from broker.daemon.refreshes import Ended, Refreshes
from broker.model.account import AccountId, State, by_name
from broker.observe.audit import Audit, Event
from broker.observe.logs import log_id
from broker.observe.metrics import Metrics
from broker.store.base import Change, Entry, Updated

_log = logging.getLogger(__name__)


class Publisher:
    """Subscribes to the engine and the store; `touch` reports other changes."""

    def __init__(
        self, accounts: Accounts, hub: Hub, metrics: Metrics, audit: Audit, gone: Callable[[AccountId], None]
    ) -> None:
        """Hear nothing before `start`. `gone` is told of accounts that vanished, so that nothing of theirs is kept."""
        self._accounts = accounts
        self._hub = hub
        self._metrics = metrics
        self._audit = audit
        self._gone = gone
        self._refreshes = Refreshes()
        self._dirty: set[AccountId] = set()
        self._untold: set[AccountId] = set()  # what they look like is worked out when somebody asks
        hub.before_join = self._catch_up
        self._defaults: dict[str, AccountId | None] = {}
        self._due: asyncio.Handle | None = None
        self._stops: list[Callable[[], None]] = []

    def start(self) -> None:
        """Publish what there is, and listen."""
        self._stops = [
            self._accounts.engine.subscribe(self.touch),
            self._accounts.store.subscribe(self._on_change),
        ]
        entries, boot = self._accounts.store.entries(), self._accounts.clock.now().boot
        for provider in {each.provider for each in entries}:
            self._moved_default(provider)
        for account, entry in entries.items():
            self._publish(account, self._accounts.state_of(entry), boot)
        self._dirty.difference_update(entries)
        self.flush()

    def stop(self) -> None:
        """Listen no more; what is unsaid is said."""
        for stop in self._stops:
            stop()
        self._stops = []
        self.flush()

    def touch(self, account: AccountId) -> None:
        """Note that something about an account may have changed."""
        self._dirty.add(account)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self.flush)

    def _on_change(self, change: Change) -> None:
        self.touch(change.entry.account if isinstance(change, Updated) else change.account)

    def flush(self) -> None:
        """Tell what has changed since."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        dirty, self._dirty = self._dirty, set()
        for provider in {each.provider for each in dirty}:
            dirty |= self._moved_default(provider)
        boot = self._accounts.clock.now().boot
        for account in sorted(dirty, key=by_name):
            self._publish(account, self._accounts.find(account), boot)

    def _publish(self, account: AccountId, found: tuple[Entry, State] | None, boot: float) -> None:
        if found is not None and not self._hub.readers:
            self._hub.neglect(account)
            self._untold.add(account)
        else:
            self._update(account)
        if found is None:
            self._refreshes.forget(account)
            self._gone(account)
            return
        ended = self._refreshes.see(*found, boot)
        if ended is not None:
            self._note(account, ended)

    def _update(self, account: AccountId) -> None:
        self._untold.discard(account)
        self._hub.update(account, self._accounts.watched(account, self._defaults.get(account.provider)))

    def _catch_up(self) -> None:
        for account in sorted(self._untold, key=by_name):
            self._update(account)

    def _note(self, account: AccountId, ended: Ended) -> None:
        seconds = None if ended.seconds is None else round(ended.seconds, 3)
        self._metrics.refreshed(account.provider, ended.outcome, ended.seconds)
        self._audit.record(Event.REFRESH, account, outcome=ended.outcome, seconds=seconds, reason=ended.reason)
        fields = {"account": log_id(account), "outcome": ended.outcome, "seconds": seconds, "reason": ended.reason}
        level = logging.INFO if ended.outcome == "renewed" else logging.WARNING
        _log.log(level, "refresh ended", extra={name: each for name, each in fields.items() if each is not None})

    def _moved_default(self, provider: str) -> set[AccountId]:
        """Return the accounts whose `default` mark has changed with an account of their provider."""
        before, now = self._defaults.get(provider), self._accounts.store.default_of(provider)
        self._defaults[provider] = now
        return {each for each in (before, now) if each is not None} if before != now else set()
