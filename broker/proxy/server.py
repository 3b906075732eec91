"""One worker: everything put together around a listening socket, until it is told to stop.

Owns: the order of starting and stopping. On stop it accepts nothing new, closes idle connections, lets the answers under way end, up to a limit, and only then
lets go of upstreams and of the daemon.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from broker.config import INTERNAL_KEY, Config, ProxyConfig
from broker.model.clock import Chance, Clock
from broker.model.naming import Names
from broker.model.secret import Secret
from broker.network.settings import network_of
from broker.observe.tasks import spawn
from broker.paths import proxy_state_dir
from broker.proxy.access import Rules
from broker.proxy.buckets import Buckets
from broker.proxy.catalog import Catalog
from broker.proxy.front import Front
from broker.proxy.gateway import Gateway
from broker.proxy.headers import Headers
from broker.proxy.keyfile import KeyFile
from broker.proxy.leases import LeaseSource, LeaseTable
from broker.proxy.listen import BACKLOG
from broker.proxy.meters import Meters
from broker.proxy.networks import Networks
from broker.proxy.policies import Policies
from broker.proxy.porter import Porter
from broker.proxy.reqlog.entry import DIRECTORY
from broker.proxy.reqlog.log import RequestLog
from broker.proxy.shop import Shop
from broker.proxy.upstreams.places import Places
from broker.proxy.usage import Usage
from broker.proxy.usage_metrics import UsageMetrics
from broker.proxy.wire.exchange import Limits
from broker.proxy.wire.listener import Listener
from broker.proxy.wire.pool import Pool
from broker.proxy.wire.ticker import Ticker
from broker.proxy.wire.turn import Turn
from broker.settings.effective import Edition, digest_of

_log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 30.0
"""How long answers under way may take after a stop; a service manager waits 90."""

_MAX_TICK_SECONDS: Final = 1.0
_FIRST_SNAPSHOT_SECONDS: Final = 2.0


class Worker:
    """One worker, from `start` to `stop`."""

    def __init__(
        self,
        config: Config,
        source: LeaseSource,
        clock: Clock,
        chance: Chance,
        *,
        number: int = 0,
        limits: Limits | None = None,
        keys: KeyFile | None = None,
        rates: Buckets | None = None,
        env: Mapping[str, str] = os.environ,
        usage: Path | None = None,
    ) -> None:
        """Make the parts; must be called inside a running loop.

        `number` is the worker's place among its siblings, for the numbers of Prometheus; `keys` are the local keys, none without; `rates` are what
        its siblings share; `env` may name outbound proxies. `usage` is the file in which usage is
        counted, with those of its siblings; without one it is counted in memory.
        """
        proxy = config.proxy
        self._clock, self._chance, self._own_limits = clock, chance, limits
        self._env = env
        self._porter = Porter(rules_of(proxy), clock, keys, rates)
        self._turn = Turn()
        self._ticker = Ticker(tick_seconds(proxy), self._porter.look, self._turn)
        self._pool = Pool(self._ticker, proxy.connect_timeout, turn=self._turn)
        self.table = LeaseTable(source, clock, chance)
        gauges: dict[str, Callable[[], float]] = {
            "client_connections": lambda: len(self._listener.connections),
            "upstream_connections": lambda: self._pool.open,
            "upstream_connections_idle": self._pool.idle,
            "leases": self.table.held,
            "daemon_connected": lambda: float(self.table.connected),
        }
        self._meters = Meters(number, gauges)
        names = Names(config.routing.aliases, config.combos)
        self._gateway = Gateway(
            self._shop(config), self._porter, clock, f"{chance.token(6)}-", names, safety_off=proxy.safety_off
        )
        self._listener = Listener(
            Front(self._gateway),
            limits or limits_of(proxy),
            self._ticker,
            Networks(proxy.allow, proxy.deny).admit,
            self._turn,
        )
        self._gateway.edition = self._edition(config)
        self._usage = Usage(usage, clock, self._ticker.time, self._porter.used_until, enabled=config.usage.enabled)
        self._gateway.usage = self._usage
        self._meters.usage = UsageMetrics(self._usage.table, number)
        log = proxy_state_dir(env) / DIRECTORY
        self._request_log = RequestLog(log, clock, self._ticker.time, self._meters.logged)
        self._gateway.request_log = self._request_log.apply(config.request_log, proxy.api_keys)
        self._server: asyncio.Server | None = None
        self._following: asyncio.Task[None] | None = None

    def apply(self, config: Config, edition: Edition | None = None) -> None:
        """Serve every request that begins from now on by other settings; those under way end by the ones they began with.

        Whatever is made of the config is made anew, here and in `__init__` alike; what the requests share (table, connections, numbers, cursors) goes on.
        Where it listens stays as it was.
        """
        proxy = config.proxy
        shop = self._shop(config)
        names = Names(config.routing.aliases, config.combos)
        admit = Networks(proxy.allow, proxy.deny).admit
        shop.inherit(self._gateway.shop)
        self._porter.rules = rules_of(proxy)
        self._ticker.interval = tick_seconds(proxy)
        self._pool.connect_timeout = proxy.connect_timeout
        self._usage.enabled = config.usage.enabled
        self._gateway.request_log = self._request_log.apply(config.request_log, proxy.api_keys)
        self._gateway.renew(shop, names, safety_off=proxy.safety_off)
        self._gateway.edition = edition or self._edition(config)
        self._listener.renew(self._own_limits or limits_of(proxy), admit)

    def _edition(self, config: Config) -> Edition:
        return Edition(digest_of(config), self._clock.now().wall)

    def _shop(self, config: Config) -> Shop:
        shop = Shop(
            self.table,
            self._pool,
            self._ticker,
            self._clock,
            self._meters,
            config.proxy,
            places_of(config),
            headers_of(config),
            config.routing,
            self._chance,
            network_of(config, self._env),
        )
        shop.catalog = Catalog(config.models)
        shop.policies = Policies.of(config.policies, config.payload)
        return shop

    @property
    def pool(self) -> Pool:
        """The connections to upstreams."""
        return self._pool

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._listener.connections)

    async def start(self, listening: socket.socket) -> tuple[str, int]:
        """Follow the daemon and accept; return the address.

        A daemon that is there is given a moment to send its accounts, so that the first request does not find none.
        """
        self._following = spawn(self.table.follow(), name="proxy-watch")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_SNAPSHOT_SECONDS):
                await self.table.settled.wait()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._listener.protocol, sock=listening, backlog=BACKLOG)
        host, port = listening.getsockname()[:2]
        _log.info("listening", extra={"host": host, "port": port})
        return str(host), int(port)

    async def stop(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Drain and end."""
        if self._server is not None:
            self._server.close()
        self._listener.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await self._listener.drained.wait()
        left = len(self._listener.connections)
        if left:
            _log.warning("answers cut by the stop", extra={"connections": left})
            self._listener.abort()
            await asyncio.sleep(0)
        self._gateway.discovery.close()
        self._pool.close()
        self._ticker.close()
        await self._usage.close()
        await self._request_log.close()
        self._porter.close()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)


def rules_of(proxy: ProxyConfig) -> Rules:
    """Return who may come in."""
    internal = Secret(INTERNAL_KEY) if proxy.internal_key else None
    return Rules.of(proxy.api_keys, internal, proxy.allowed_hosts)


def places_of(config: Config) -> Places:
    """Return where tokens may go, as far as the config says."""
    configured = {name: upstream.urls for name, upstream in config.upstreams.items()}
    return Places(configured, {name: table.api_url for name, table in config.providers.items() if table.api_url})


def headers_of(config: Config) -> dict[str, Headers]:
    """Return the config's own headers by kind of upstream."""
    return {
        name: [(header.lower().encode(), value.encode()) for header, value in upstream.headers.items()]
        for name, upstream in config.upstreams.items()
    }


def tick_seconds(proxy: ProxyConfig) -> float:
    """Return how often deadlines are looked at: each second, or a quarter of the shortest setting."""
    shortest = min(
        proxy.headers_timeout,
        proxy.first_byte_timeout,
        proxy.idle_timeout,
        proxy.total_timeout,
        proxy.keepalive_seconds,
    )
    return min(_MAX_TICK_SECONDS, shortest / 4)


def limits_of(proxy: ProxyConfig) -> Limits:
    """Return the limits of clients; a client that takes nothing for the idle timeout is cut as an upstream that gives nothing is."""
    return Limits(
        body_bytes=proxy.max_body_bytes, connections=proxy.max_connections, stall_seconds=min(30.0, proxy.idle_timeout)
    )
