"""Putting the daemon together, starting and stopping it.

Owns: which part is given which, and the order of beginning and end. The sockets come first: a second daemon learns at once that it is the second,
and clients that connect early wait in the backlog instead of failing. It must never decide anything a part could.
"""

import asyncio
import base64
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from broker import __version__, paths
from broker.config import Config, Loaded
from broker.daemon.accounts import Accounts
from broker.daemon.changes import Changes
from broker.daemon.configs import Configs
from broker.daemon.cooldowns import Cooldowns
from broker.daemon.copies import Copies
from broker.daemon.dispatch import Dispatch
from broker.daemon.health import HealthCheck
from broker.daemon.hub import Hub
from broker.daemon.imports import Imports
from broker.daemon.incidents import Incidents
from broker.daemon.kept_cooldowns import KeptCooldowns
from broker.daemon.keys import Keys
from broker.daemon.later import Formats, Later
from broker.daemon.leases import Leases
from broker.daemon.network import Ways
from broker.daemon.notices import Notices
from broker.daemon.outbound import Outbound
from broker.daemon.publisher import Publisher
from broker.daemon.quotas import Quotas
from broker.daemon.reloading import Reloading
from broker.daemon.reports import Reports
from broker.daemon.server import Server
from broker.daemon.stream import chunk
from broker.daemon.views import kept_notes
from broker.daemon.work import Work
from broker.ipc.unix import adopt, bind_socket, private_folder, remove_socket
from broker.login.clients import Clients
from broker.login.credentials import Credentials, file_of
from broker.model.account import AccountId, Record
from broker.model.clock import Chance, Clock
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.network.settings import network_of
from broker.observe.audit import Audit, Event
from broker.observe.logs import log_id
from broker.observe.metrics import Metrics
from broker.providers import registry
from broker.providers.base import Client
from broker.providers.native.base import Native, Refused, Seen
from broker.refresh.engine import Engine
from broker.settings.changes import Program
from broker.settings.running import Running
from broker.store.base import Store
from broker.store.emergency import EmergencyCopies
from broker.store.files import Disk
from broker.store.groups import Groups
from broker.store.link_watch import LinkWatch
from broker.store.linked import LinkedStore
from broker.store.store import FileStore
from broker.system import SystemChance, SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.login.adopt import Adopter, Discovery
    from broker.login.sessions import Keep, Logins, WayOut
    from broker.store.seal import AeadSeal

_log = logging.getLogger(__name__)

_NOTICE_SECONDS = 5.0  # what a stop waits for a hook; less than the service managers add to the stop timeout

_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Sockets(msgspec.Struct, frozen=True):
    """The two listening sockets. `own` are the paths we made ourselves, and remove."""

    token: socket.socket
    control: socket.socket
    own: Mapping[Path, socket.socket] = msgspec.field(default_factory=dict)

    def paths(self) -> tuple[Path, ...]:
        """Where they are."""
        return tuple(Path(os.fsdecode(each.getsockname())) for each in (self.token, self.control))

    def close(self) -> None:
        """Hang up, and remove what we made."""
        for path, listener in self.own.items():
            remove_socket(path, listener)
        self.token.close()
        self.control.close()


class Daemon(msgspec.Struct, frozen=True):
    """All parts. Built by `build`; usable without sockets through `dispatch`."""

    config: Config
    store: Store
    links: LinkWatch
    copies: Copies
    groups: Groups
    engine: Engine
    outbound: Outbound
    logins: "Later[Logins]"
    publisher: Publisher
    incidents: Incidents
    cooldowns: KeptCooldowns
    dispatch: Dispatch
    server: Server
    work: Work
    audit: Audit
    reloading: Reloading

    async def start(self) -> None:
        """Read the auth directories, bring interrupted renewals to their end, begin to look ahead. Raises BrokerError."""
        await self.store.open()
        await self.engine.start()
        await self.links.start()
        self.cooldowns.start()
        self.publisher.start()
        self.incidents.start()
        self.audit.record(Event.STARTED, version=__version__)

    async def stop(self) -> None:
        """Answer what is under way, wait for renewals in flight within the configured limit, and close."""
        if self.logins.made is not None:
            await self.logins.made.close()
        # Together: who waits for a renewal is answered when it lands, and no later than the limit of both.
        limit = self.config.refresh.stop_timeout_seconds
        await asyncio.gather(self.server.stop(limit), self.work.drain(limit), self.engine.stop())
        await self.dispatch.quotas.close()
        self.publisher.stop()
        await self.incidents.stop(_NOTICE_SECONDS)
        await self.cooldowns.stop()
        await self.links.stop()
        await self.copies.close()
        await self.store.close()
        self.groups.close()
        await self.outbound.close()
        self.audit.record(Event.STOPPED)


def build(
    config: Config,
    *,
    state_dir: Path,
    clock: Clock | None = None,
    chance: Chance | None = None,
    env: Mapping[str, str] = os.environ,
    socket_paths: Callable[[], tuple[Path, ...]] = tuple,
    keepalive_seconds: float = 15.0,
    running: Running | None = None,
) -> Daemon:
    """Put a daemon together on the running event loop; nothing is touched but `state_dir`, which is made.

    Long, as it is the one list of all parts, in the order in which they need one another.

    Raises:
        BrokerError: `bad_request` for a config that makes no sense, `misconfigured` where sealed files cannot be had for want of their key.
    """
    clock, chance = clock or SystemClock(), chance or SystemChance()
    private_folder(state_dir)
    directories = config.auth_directories()
    providers = registry.build(config.providers)
    disk = Disk(lambda: chance.token(6))
    seal = _seal(config, state_dir, chance, disk, env)
    files = FileStore(
        directories, providers, state_dir, clock, chance,
        rescan_seconds=config.store.rescan_seconds, seal=seal,
    )  # fmt: skip
    store = LinkedStore(files, Formats(), _read_login, clock, chance)
    links = LinkWatch(store, clock)
    files.on_rescan = links.rescan
    outbound = Outbound(timeout=config.refresh.request_timeout_seconds, network=network_of(config, env))
    clients = Clients(
        config.providers, directories, outbound, clock, env,
        Credentials(file_of(config, env), providers.names, config.providers),
    )  # fmt: skip
    groups = Groups(directories[0], disk, clock)
    engine = Engine(
        store, providers, outbound, clients, clock, chance, config.refresh,
        EmergencyCopies(state_dir, disk, seal), groups, outbound.prepare,
    )  # fmt: skip
    cooldowns, work = Cooldowns(), Work()
    audit = Audit(state_dir, lambda: clock.now().wall)
    copies = Copies(lambda: _discover(env), store, providers, clock)
    accounts = Accounts(store, engine, providers, cooldowns, clock, warnings=copies.warnings)

    def logins() -> "Logins":
        from broker.login.sessions import Logins  # noqa: PLC0415

        keep = _keeper(store, clock, audit, work)
        return Logins(providers, clients, outbound, clock, chance, keep, _ways_out(store))

    def adopter() -> "Adopter":
        from broker.login.adopt import Adopter  # noqa: PLC0415

        return Adopter(providers, clients, outbound, clock)

    later = Later("broker.login.sessions", logins)
    notices = Notices(config.notify, env)
    incidents = Incidents(accounts, notices, disk, state_dir)
    metrics = Metrics(accounts.states)
    quotas = Quotas(accounts, clients, outbound, config.socket.max_wait_seconds)
    hub = Hub(chance.token(9), __version__, chunk)
    leases = Leases(accounts, metrics, config.socket.max_wait_seconds)

    def gone(account: AccountId) -> None:
        leases.forget(account)
        cooldowns.clear(account)
        quotas.forget(account)

    publisher = Publisher(accounts, hub, metrics, audit, gone)
    store.on_problem = publisher.touch
    reports = Reports(accounts, publisher, metrics, audit, config.socket.max_wait_seconds)
    loaded = Loaded(config, paths.config_file(env), exists=False)
    running = running or Running(loaded, Program.DAEMON, lambda: loaded, clock)
    dispatch = Dispatch(
        accounts=accounts,
        leases=leases,
        reports=reports,
        changes=Changes(accounts, publisher, outbound, clients, audit, work),
        quotas=quotas,
        imports=Imports(accounts, store, Later("broker.login.adopt", adopter), audit, work, env),
        logins=later,
        keys=Keys(accounts, audit, work),
        health=HealthCheck(
            accounts, clock.now().boot, config.store.mode, tuple(str(each) for each in directories), socket_paths
        ),
        hub=hub,
        ways=Ways(accounts, outbound),
        metrics=metrics,
        configs=Configs(running, env),
    )
    server = Server(dispatch, metrics, config.socket, keepalive_seconds=keepalive_seconds)
    reloading = Reloading(
        files, providers, outbound, clients, engine, notices, leases, quotas, reports, server, env,
    )  # fmt: skip
    running.on_change(reloading.prepare)
    return Daemon(
        config, store, links, copies, groups, engine, outbound, later, publisher, incidents,
        KeptCooldowns(cooldowns, disk, state_dir, clock), dispatch, server, work, audit, reloading,
    )  # fmt: skip


def _seal(config: Config, state_dir: Path, chance: Chance, disk: Disk, env: Mapping[str, str]) -> "AeadSeal | None":
    """Return the seal of sealed mode. May wait for the keyring or a key derivation: nothing is served yet."""
    if config.store.mode == "plain":
        return None

    # Not for plain mode: cryptography is a seventh of the memory.
    from broker.store.keys import Keys as SealKeys  # noqa: PLC0415
    from broker.store.seal import AeadSeal  # noqa: PLC0415

    def random(count: int) -> bytes:
        text = chance.token(count)
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    return AeadSeal(SealKeys(state_dir, env, random, disk).load(config.store.key_source), random)


def open_sockets(folder: Path, env: Mapping[str, str], pid: int) -> Sockets:
    """Take over the sockets the service manager passed, by the names `token` and `control`; make those it did not, in `folder`.

    Before any thread is started: see `broker.ipc.unix.bind_socket`.

    Raises:
        BrokerError: where a daemon runs already, or the folder cannot be used.
    """
    passed = adopt(env, pid)
    found: dict[str, socket.socket] = {}
    own: dict[Path, socket.socket] = {}
    for name, file_name in (("token", paths.TOKEN_SOCKET), ("control", paths.CONTROL_SOCKET)):
        if name in passed:
            found[name] = passed.pop(name)
            continue
        private_folder(folder)
        path = paths.socket_path(file_name, folder)
        try:
            own[path] = found[name] = bind_socket(path)
        except BrokerError:
            for other, listener in own.items():
                remove_socket(other, listener)
            raise
    for name, listener in passed.items():
        _log.warning("passed socket has an unknown name", extra={"name_given": name})
        listener.close()
    return Sockets(found["token"], found["control"], own)


async def run_daemon(
    config: Config,
    *,
    stop: asyncio.Event,
    ready: Callable[[], None],
    env: Mapping[str, str] = os.environ,
    running: Running | None = None,
) -> None:
    """Run until `stop` is set; call `ready` once, when clients are served. `running` tells of changed settings.

    Raises:
        BrokerError: it cannot start; the detail says why.
    """
    sockets = open_sockets(paths.runtime_dir(env), env, os.getpid())
    for name in _LISTEN_VARIABLES:
        os.environ.pop(name, None)
    try:
        daemon = build(config, state_dir=paths.state_dir(env), env=env, socket_paths=sockets.paths, running=running)
        try:
            await daemon.start()
            daemon.server.start(sockets.token, sockets.control)
            _log.info("daemon ready", extra={"pid": os.getpid(), "accounts": len(daemon.store.entries())})
            ready()
            await stop.wait()
        finally:
            await daemon.stop()
            _log.info("daemon stopped")
    finally:
        sockets.close()


def _read_login(native: Native, path: Path) -> Seen | Refused | None:
    from broker.login.adopt import read_login  # noqa: PLC0415 - see `Later`

    return read_login(native, path)


def _discover(env: Mapping[str, str]) -> "Iterable[Discovery]":
    from broker.login.adopt import discover  # noqa: PLC0415 - see `Later`

    return discover("all", None, env)


def _ways_out(store: Store) -> "WayOut":
    """Return what knows the outbound proxies of accounts that are there already."""

    def way_out(provider: str, label: str) -> Secret | None:
        known = store.get(AccountId(provider, label))
        return known.record.routing.proxy_url if known is not None else None

    return way_out


def _keeper(store: Store, clock: Clock, audit: Audit, work: Work) -> "Keep":
    """Return what puts a finished login away."""
    from broker.login.sessions import Kept  # noqa: PLC0415 - see `Later`

    async def keep(record: Record, client: Client, notes: tuple[str, ...]) -> Kept:
        there = frozenset(store.entries())
        entry = await work.finish(store.add(record, client, clock.now()), name="keep-login")
        said = kept_notes(record.account, entry, there)
        audit.record(Event.LOGIN, entry.account, notes=len(notes) + len(said))
        _log.info("login stored", extra={"account": log_id(entry.account)})
        return Kept(entry.account, entry.file, said)

    return keep
