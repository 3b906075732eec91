"""The typed client of the daemon, for asyncio programs: the proxy, and anyone else in Python.

Owns: one method an operation, deadlines on all of them, and a small pool of connections. It must never cache a lease, or repeat
a request that may have been carried out.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

from broker.ipc.network_schema import NetworkTest, NetworkTestAnswer, NetworkView
from broker.ipc.schema import (
    PROBLEM_JSON,
    AccountList,
    AccountQuota,
    AccountView,
    Health,
    KeyAdd,
    Lease,
    LoginCallback,
    LoginStart,
    LoginView,
    LogoutAnswer,
    Problem,
    Relabel,
    Report,
    ReportAnswer,
    WatchEvent,
    decode,
    decode_event,
    encode,
    error_of,
)
from broker.ipc.sse import EventReader
from broker.ipc.wire import Answer, Connection, StaleConnectionError, request_head, unreachable
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret

__all__ = ["BrokerClient"]

T = TypeVar("T")

# A thousand tasks of one program share these; the daemon's limit is for all programs together, and it closes idle ones after a while.
_MAX_CONNECTIONS = 32
# The daemon gives up connecting after `refresh.request_timeout_seconds`, 30 by default.
_TEST_SECONDS = 60.0
# The daemon sends a comment every 15 s; three missed ones mean it is gone.
_WATCH_SILENCE_SECONDS = 45.0


class BrokerClient:
    """Calls over the Unix socket at `path`; `timeout` seconds bound each, on top of the wait the call itself asks for.

    Every method raises BrokerError: the daemon's own, `daemon_unreachable` with what to start, or `deadline_exceeded`.
    """

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        """Connects on first use."""
        self._path = path
        self._timeout = timeout
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def health(self) -> Health:
        """Ask how the daemon is."""
        return await self._call(Health, "GET", "/v1/health")

    async def accounts(self) -> tuple[AccountView, ...]:
        """List the accounts."""
        return (await self._call(AccountList, "GET", "/v1/accounts")).accounts

    async def account(self, account: AccountId | str) -> AccountView:
        """Show one account."""
        return await self._call(AccountView, "GET", _account_path(account))

    async def lease(self, account: AccountId | str, *, min_validity: float = 60.0, max_wait: float = 10.0) -> Lease:
        """Borrow a token good for `min_validity` seconds, waiting up to `max_wait` for a renewal. A provider's name means its default account."""
        provider, _, label = str(account).partition("/")
        path = f"/v1/lease/{quote(provider, safe='')}" + (f"/{quote(label, safe='')}" if label else "")
        return await self._call(
            Lease, "GET", f"{path}?min_validity={min_validity!r}&max_wait={max_wait!r}", wait=max_wait
        )

    async def report(self, report: Report) -> ReportAnswer:
        """Tell what happened with a lease."""
        return await self._call(ReportAnswer, "POST", "/v1/report", encode(report), wait=report.max_wait)

    async def refresh(self, account: AccountId | str, *, max_wait: float = 30.0) -> AccountView:
        """Renew now."""
        return await self._call(
            AccountView, "POST", f"{_account_path(account)}/refresh?max_wait={max_wait!r}", wait=max_wait
        )

    async def pause(self, account: AccountId | str) -> AccountView:
        """Set an account aside."""
        return await self._call(AccountView, "POST", f"{_account_path(account)}/pause")

    async def resume(self, account: AccountId | str) -> AccountView:
        """Serve an account again."""
        return await self._call(AccountView, "POST", f"{_account_path(account)}/resume")

    async def clear_cooldown(self, account: AccountId | str) -> AccountView:
        """Forget an account's cool-downs."""
        return await self._call(AccountView, "POST", f"{_account_path(account)}/clear-cooldown")

    async def quota(self, account: AccountId | str, *, max_wait: float = 20.0) -> AccountQuota:
        """Ask for plan and limits; the provider is asked once a minute at most."""
        return await self._call(
            AccountQuota, "GET", f"{_account_path(account)}/quota?max_wait={max_wait!r}", wait=max_wait
        )

    async def set_default(self, account: AccountId | str) -> AccountView:
        """Make an account what its provider's name alone means."""
        return await self._call(AccountView, "POST", f"{_account_path(account)}/default")

    async def rename(self, account: AccountId | str, label: str) -> AccountView:
        """Give an account another label."""
        return await self._call(
            AccountView, "POST", f"{_account_path(account)}/rename", encode(Relabel(label)), wait=20.0
        )

    async def logout(self, account: AccountId | str, *, keep_remote: bool = False) -> LogoutAnswer:
        """Revoke (unless `keep_remote`) and remove. The revocation is a call to the provider: allow it time."""
        query = "?keep_remote=true" if keep_remote else ""
        return await self._call(LogoutAnswer, "DELETE", f"{_account_path(account)}{query}", wait=30.0)

    async def add_key(self, key: KeyAdd) -> AccountView:
        """Put away an API key as an account; one of its name gets the new key."""
        return await self._call(AccountView, "POST", "/v1/keys", encode(key), wait=30.0)

    async def network(self) -> NetworkView:
        """Show by which way accounts and providers are reached."""
        return await self._call(NetworkView, "GET", "/v1/network")

    async def test_network(self, test: NetworkTest) -> NetworkTestAnswer:
        """Connect through the outbound proxy in question."""
        return await self._call(NetworkTestAnswer, "POST", "/v1/network/test", encode(test), wait=_TEST_SECONDS)

    async def start_login(self, start: LoginStart) -> LoginView:
        """Begin a login. Device flows and issuers with discovery call the provider first."""
        return await self._call(LoginView, "POST", "/v1/logins", encode(start), wait=30.0)

    async def login(self, login_id: str, *, wait: float = 0.0) -> LoginView:
        """Show a login, waiting up to `wait` seconds for it to move on."""
        return await self._call(LoginView, "GET", f"/v1/logins/{quote(login_id, safe='')}?wait={wait!r}", wait=wait)

    async def finish_login(self, login_id: str, text: Secret) -> LoginView:
        """Hand in the pasted callback URL or code."""
        body = encode(LoginCallback(text))
        return await self._call(LoginView, "POST", f"/v1/logins/{quote(login_id, safe='')}/callback", body, wait=60.0)

    async def cancel_login(self, login_id: str) -> LoginView:
        """Give a login up."""
        return await self._call(LoginView, "DELETE", f"/v1/logins/{quote(login_id, safe='')}")

    async def watch(self, last_event_id: str | None = None) -> AsyncIterator[tuple[str, WatchEvent]]:
        """Follow the accounts over one connection: yields event ids and events.

        With the id of the last event seen, goes on from there where the daemon still can; else the first event is a Snapshot. Never ends by
        itself: when the daemon goes, or is silent for 45 s, it raises `daemon_unreachable`, and the caller begins again with the last id.
        """
        extra = (("Accept", "text/event-stream"), *([("Last-Event-ID", last_event_id)] if last_event_id else []))
        connection = await self._connect()
        try:
            async with asyncio.timeout(self._timeout):
                await _begin_watch(connection, request_head("GET", "/v1/watch", extra=extra))
            events = EventReader()
            while True:
                async with asyncio.timeout(_WATCH_SILENCE_SECONDS):
                    piece = await connection.piece()
                if not piece:
                    raise unreachable(self._path, "the push stream ended")
                for event in events.feed(piece):
                    yield event.id, decode_event(event.data)
        except TimeoutError:
            raise unreachable(self._path, "the push stream fell silent") from None
        except StaleConnectionError:
            raise unreachable(self._path, "it hung up") from None
        finally:
            connection.close()

    async def _call(
        self, shape: type[T], method: str, target: str, body: bytes | None = None, *, wait: float = 0.0
    ) -> T:
        request = request_head(method, target, body=body)
        # A repeated report or pause does no harm; a login, logout or rename is never sent twice.
        repeatable = not target.startswith("/v1/logins") and not target.endswith("/rename") and method != "DELETE"
        try:
            async with asyncio.timeout(self._timeout + wait), self._free:
                answer = await self._exchange(request, repeatable=repeatable)
        except TimeoutError:
            raise BrokerError(
                ErrorCode.DEADLINE_EXCEEDED, f"the daemon did not answer within {self._timeout + wait:g} s"
            ) from None
        if answer.status >= 400:
            raise _refusal(answer, answer.body)
        return decode(answer.body, shape)

    async def _exchange(self, request: bytes, *, repeatable: bool) -> Answer:
        if repeatable and (idle := self._take_idle()) is not None:
            try:
                return await self._exchange_on(idle, request)
            except StaleConnectionError:
                pass  # it was closed under us: once more on a new one
        try:
            return await self._exchange_on(await self._connect(), request)
        except StaleConnectionError:
            raise unreachable(self._path, "it hung up") from None

    async def _exchange_on(self, connection: Connection, request: bytes) -> Answer:
        answer = await connection.exchange(request)
        if connection.usable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._timeout):
                return await Connection.open(self._path)
        except TimeoutError:
            raise unreachable(self._path, "it does not accept connections") from None

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None


async def _begin_watch(connection: Connection, request: bytes) -> None:
    answer = await connection.begin(request)
    if answer.status == 200:
        return
    body = b""
    while piece := await connection.piece():
        body += piece
    raise _refusal(answer, body)


def _account_path(account: AccountId | str) -> str:
    provider, slash, label = str(account).partition("/")
    if not slash:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"an account is written provider/label, not {provider[:60]!r}")
    return f"/v1/accounts/{quote(provider, safe='')}/{quote(label, safe='')}"


def _refusal(answer: Answer, body: bytes) -> BrokerError:
    if answer.headers.get("content-type", "").startswith(PROBLEM_JSON):
        return error_of(decode(body, Problem))
    return BrokerError(ErrorCode.INTERNAL, f"the daemon answered {answer.status} without saying why")
