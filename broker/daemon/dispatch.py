"""From a call to its answer: which use case, and its message as bytes.

Owns: the table from operations to use cases. It must never know of connections: the command line uses it without any.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

import msgspec

from broker import __version__
from broker.daemon.accounts import Accounts
from broker.daemon.changes import Changes
from broker.daemon.configs import Configs
from broker.daemon.health import HealthCheck
from broker.daemon.hub import Hub
from broker.daemon.imports import Imports
from broker.daemon.keys import Keys
from broker.daemon.later import Later
from broker.daemon.leases import Leases
from broker.daemon.network import Ways
from broker.daemon.quotas import Quotas
from broker.daemon.reports import Reports
from broker.ipc.network_schema import NetworkTest
from broker.ipc.operations import Call, Name
from broker.ipc.schema import ImportRequest, KeyAdd, LoginCallback, LoginStart, Relabel, Report, decode, encode
from broker.model.account import AccountId
from broker.observe.metrics import Metrics

if TYPE_CHECKING:
    from broker.login.sessions import Logins

_METRICS_LIBRARY: Final = "prometheus_client"


class Answer(msgspec.Struct, frozen=True):
    """A status from 200 to 299, and a body of `media_type`."""

    status: int
    body: bytes
    media_type: str

    def __repr__(self) -> str:
        # The body may be a lease.
        return f"Answer(status={self.status}, {len(self.body)} bytes)"


Handler = Callable[[Call, bytes], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Performs calls. Everything a client can ask for is a method of one of its parts."""

    accounts: Accounts
    leases: Leases
    reports: Reports
    changes: Changes
    quotas: Quotas
    imports: Imports
    logins: "Later[Logins]"
    keys: Keys
    health: HealthCheck
    hub: Hub
    metrics: Metrics
    ways: Ways
    configs: Configs
    _handlers: dict[Name, Handler] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Bind the table; tests/daemon/test_dispatch.py holds it to be complete."""
        self._handlers.update(
            {
                Name.HEALTH: self._health,
                Name.ACCOUNTS: self._accounts,
                Name.ACCOUNT: self._account,
                Name.LEASE_DEFAULT: self._lease,
                Name.LEASE: self._lease,
                Name.REPORT: self._report,
                Name.WATCH: self._watch_head,
                Name.REFRESH: self._refresh,
                Name.PAUSE: self._pause,
                Name.RESUME: self._resume,
                Name.CLEAR_COOLDOWN: self._clear_cooldown,
                Name.LOGOUT: self._logout,
                Name.QUOTA: self._quota,
                Name.SET_DEFAULT: self._set_default,
                Name.RENAME: self._rename,
                Name.ADD_KEY: self._add_key,
                Name.LOGIN_START: self._login_start,
                Name.LOGIN: self._login,
                Name.LOGIN_CALLBACK: self._login_callback,
                Name.LOGIN_CANCEL: self._login_cancel,
                Name.IMPORT: self._import,
                Name.CONFIG: self._config,
                Name.RELOAD: self._reload,
                Name.NETWORK: self._network,
                Name.NETWORK_TEST: self._network_test,
                Name.METRICS: self._metrics,
                Name.OPENAPI: self._openapi,
            }
        )

    async def perform(self, call: Call, body: bytes) -> Answer:
        """Do what is asked.

        Raises:
            BrokerError: as the operation's entry in `broker.ipc.operations` says.
        """
        operation = call.operation
        data = await self._handlers[operation.name](call, body)
        return Answer(operation.status, data, operation.media_type)

    async def _health(self, _call: Call, _body: bytes) -> bytes:
        return encode(self.health.now())

    async def _accounts(self, _call: Call, _body: bytes) -> bytes:
        return encode(self.accounts.list())

    async def _account(self, call: Call, _body: bytes) -> bytes:
        return encode(self.accounts.view(self._named(call)))

    async def _lease(self, call: Call, _body: bytes) -> bytes:
        query = call.query
        grant = await self.leases.lend(
            call.path["provider"],
            call.path.get("label"),
            min_validity=query["min_validity"],
            max_wait=query["max_wait"],
            waited=call.waited,
        )
        return self.leases.data(grant)

    async def _report(self, call: Call, body: bytes) -> bytes:
        return encode(await self.reports.take(decode(body, Report), call.waited))

    async def _watch_head(self, _call: Call, _body: bytes) -> bytes:
        return b""  # HEAD; the stream itself is the server's

    async def _refresh(self, call: Call, _body: bytes) -> bytes:
        wait = min(call.query["max_wait"], self.leases.max_wait)
        return encode(await self.changes.refresh(self._named(call), wait))

    async def _pause(self, call: Call, _body: bytes) -> bytes:
        return encode(await self.changes.set_paused(self._named(call), paused=True))

    async def _resume(self, call: Call, _body: bytes) -> bytes:
        return encode(await self.changes.set_paused(self._named(call), paused=False))

    async def _clear_cooldown(self, call: Call, _body: bytes) -> bytes:
        return encode(self.changes.clear_cooldown(self._named(call)))

    async def _logout(self, call: Call, _body: bytes) -> bytes:
        return encode(await self.changes.logout(self._named(call), keep_remote="keep_remote" in call.flags))

    async def _quota(self, call: Call, _body: bytes) -> bytes:
        return encode(await self.quotas.read(self._named(call), call.query["max_wait"]))

    async def _set_default(self, call: Call, _body: bytes) -> bytes:
        return encode(await self.changes.set_default(self._named(call)))

    async def _rename(self, call: Call, body: bytes) -> bytes:
        return encode(await self.changes.rename(self._named(call), decode(body, Relabel).label))

    async def _add_key(self, _call: Call, body: bytes) -> bytes:
        return encode(await self.keys.add(decode(body, KeyAdd)))

    async def _login_start(self, _call: Call, body: bytes) -> bytes:
        return encode(await (await self.logins.get()).start(decode(body, LoginStart)))

    async def _login(self, call: Call, _body: bytes) -> bytes:
        return encode(
            await (await self.logins.get()).follow(call.path["id"], min(call.query["wait"], self.leases.max_wait))
        )

    async def _login_callback(self, call: Call, body: bytes) -> bytes:
        return encode(await (await self.logins.get()).finish(call.path["id"], decode(body, LoginCallback).text))

    async def _login_cancel(self, call: Call, _body: bytes) -> bytes:
        return encode(await (await self.logins.get()).cancel(call.path["id"]))

    async def _import(self, _call: Call, body: bytes) -> bytes:
        return encode(await self.imports.run(decode(body, ImportRequest)))

    async def _config(self, _call: Call, _body: bytes) -> bytes:
        return encode(self.configs.view())

    async def _reload(self, _call: Call, _body: bytes) -> bytes:
        return encode(self.configs.reload())

    async def _network(self, _call: Call, _body: bytes) -> bytes:
        return encode(self.ways.view())

    async def _network_test(self, _call: Call, body: bytes) -> bytes:
        return encode(await self.ways.test(decode(body, NetworkTest)))

    async def _metrics(self, _call: Call, _body: bytes) -> bytes:
        if _METRICS_LIBRARY not in sys.modules:
            await asyncio.to_thread(import_module, _METRICS_LIBRARY)  # in a thread: leases are served meanwhile
        return self.metrics.render()

    async def _openapi(self, _call: Call, _body: bytes) -> bytes:
        return _openapi()

    def _named(self, call: Call) -> AccountId:
        return self.accounts.named(call.path["provider"], call.path["label"])


@cache
def _openapi() -> bytes:
    from broker.ipc.openapi import document  # noqa: PLC0415 - asked for by hardly anybody, and a part of every start

    return msgspec.json.encode(document(__version__))
