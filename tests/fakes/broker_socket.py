"""The daemon as the proxy sees it, without a socket: a table a test changes, and a list of what was reported."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from broker.ipc.schema import (
    AccountView,
    Changed,
    Cooldown,
    Lease,
    Removed,
    Report,
    ReportAnswer,
    Snapshot,
    WatchAccount,
    WatchEvent,
)
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret


def lease(account: str, token: str = "fake-access-1", generation: int = 1, **fields: object) -> Lease:
    provider = account.partition("/")[0]
    return Lease(account=account, provider=provider, generation=generation, access_token=Secret(token), **fields)  # type: ignore[arg-type]


def account(name: str, held: Lease | None, **fields: object) -> WatchAccount:
    provider, _, label = name.partition("/")
    given = {"state": "active", "generation": held.generation if held else 1, **fields}
    return WatchAccount(AccountView(account=name, provider=provider, label=label, **given), held)  # type: ignore[arg-type]


@dataclass
class FakeDaemon:
    """`accounts` is what a snapshot holds. `renew` makes the lease a rejected report is answered with; `asked` counts leases asked for."""

    accounts: dict[str, WatchAccount] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    watched_from: list[str | None] = field(default_factory=list)
    renew: Callable[[str], Lease] | None = None
    up: bool = True
    _queues: list["asyncio.Queue[WatchEvent | None]"] = field(default_factory=list)
    _number: int = 0

    def put(self, *accounts: WatchAccount) -> None:
        """Add or change accounts, as the daemon would tell it."""
        for each in accounts:
            self.accounts[each.view.account] = each
            self._tell(Changed(each))

    def remove(self, name: str) -> None:
        del self.accounts[name]
        self._tell(Removed(name))

    def stop(self) -> None:
        """Go away: streams end, calls fail."""
        self.up = False
        for queue in self._queues:
            queue.put_nowait(None)
        self._queues.clear()

    def start(self) -> None:
        self.up = True

    async def lease(self, account: AccountId | str, *, min_validity: float = 60.0, max_wait: float = 10.0) -> Lease:
        self._check()
        self.asked.append(str(account))
        held = self.accounts.get(str(account))
        if held is None:
            raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, f"no account {account}")
        if held.view.state == "needs_login":
            raise BrokerError(ErrorCode.LOGIN_REQUIRED, "the login is dead", hint="Run: ccs-broker login gemini")
        if self.renew is None:
            raise BrokerError(ErrorCode.REFRESH_FAILED, "the token endpoint is down", hint="")
        return self.renew(str(account))

    async def report(self, report: Report) -> ReportAnswer:
        self._check()
        self.reports.append(report)
        if report.outcome == "rejected":
            return ReportAnswer(self.renew(report.account) if self.renew is not None else None)
        if report.outcome == "limited":
            assert report.until is not None
            return ReportAnswer(None, Cooldown(report.model, report.until, report.reason))
        return ReportAnswer()

    async def watch(self, last_event_id: str | None = None) -> AsyncIterator[tuple[str, WatchEvent]]:
        self._check()
        self.watched_from.append(last_event_id)
        queue: asyncio.Queue[WatchEvent | None] = asyncio.Queue()
        self._queues.append(queue)
        yield self._id(), Snapshot(tuple(self.accounts.values()), "1")
        while (event := await queue.get()) is not None:
            yield self._id(), event
        raise BrokerError(ErrorCode.DAEMON_UNREACHABLE, "it hung up")

    def _check(self) -> None:
        if not self.up:
            raise BrokerError(ErrorCode.DAEMON_UNREACHABLE, "no daemon on the socket")

    def _id(self) -> str:
        self._number += 1
        return str(self._number)

    def _tell(self, event: WatchEvent) -> None:
        for queue in self._queues:
            queue.put_nowait(event)
