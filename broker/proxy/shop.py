"""What the requests of one worker share.

Owns: `Shop`: the table of leases, the pool, the clock, the numbers, the settings jobs keep, the cursor of each model, and how busy each account is. It decides
nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from broker.ipc.schema import Lease
from broker.model.clock import Chance, Clock
from broker.model.naming import Strategy
from broker.model.network import Network, Target
from broker.model.secret import Secret
from broker.proxy.attempts import Patience
from broker.proxy.catalog import Catalog
from broker.proxy.choose import Candidate, Picking, candidates, cooling
from broker.proxy.deadlines import Timeouts
from broker.proxy.headers import Headers
from broker.proxy.leases import LeaseTable
from broker.proxy.meters import Meters
from broker.proxy.naming import Wanted
from broker.proxy.policies import Policies
from broker.proxy.upstreams.base import Upstream
from broker.proxy.upstreams.places import Places
from broker.proxy.wire.pool import Origin, Pool
from broker.proxy.wire.ticker import Ticker

_NO_CHOICE: Final = Picking()
_DEAD_SECONDS: Final = 60.0
_DIRECT: Final = Network()
_MAX_CURSORS: Final = 4096  # model names come from clients


class Choosing(Protocol):
    """The settings of account choice; `broker.config.RoutingConfig` has them."""

    @property
    def strategy(self) -> Strategy:
        """Among equals."""
        ...

    @property
    def sticky(self) -> bool:
        """Whether a conversation stays with its account."""
        ...

    @property
    def discover_models(self) -> bool:
        """Whether accounts are asked which models they have."""
        ...

    @property
    def rounds(self) -> int:
        """How often accounts are gone through."""
        ...

    @property
    def max_wait_seconds(self) -> float:
        """For how long a limited account is waited for."""
        ...


@dataclass(slots=True)
class Counts:
    """What outlives a change of the settings: requests under way by account, cursors by name, and until when a base URL is taken to be unreachable."""

    busy: dict[str, int] = field(default_factory=dict)
    turns: dict[str, int] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)


class Shop:
    """What the jobs of a worker share."""

    def __init__(
        self,
        table: LeaseTable,
        pool: Pool,
        ticker: Ticker,
        clock: Clock,
        meters: Meters,
        timeouts: Timeouts,
        places: Places,
        headers: Mapping[str, Headers],
        choosing: Choosing,
        chance: Chance,
        network: Network = _DIRECT,
    ) -> None:
        """Hold it. `places` knows where each account's tokens go; `headers` are the config's own by kind of upstream; `network` says by which way."""
        self.table = table
        self.pool = pool
        self.ticker = ticker
        self.clock = clock
        self.meters = meters
        self.timeouts = timeouts
        self.places = places
        self.headers = headers
        self._choosing = choosing
        self._patience = Patience(choosing.rounds, choosing.max_wait_seconds)
        self.catalog = Catalog()
        """What the config says of models."""
        self.policies: Policies | None = None
        """What the config changes of requests; None for nothing."""
        self._chance = chance
        self.counts = Counts()
        self._network = network
        self._silent = network.silent
        self._origins: dict[str | tuple[str, str, Secret | None], tuple[Origin, bytes]] = {}

    def inherit(self, former: "Shop") -> None:
        """Go on with what `former` counted; its jobs go on counting there."""
        self.counts = former.counts

    def origin(self, url: str, lease: Lease) -> tuple[Origin, bytes]:
        """Return the origin, with the outbound proxy of an account before it, and the path before every target of a base URL.

        Raises:
            BrokerError: `misconfigured`: the account is to go by a way that cannot be.
        """
        direct = self._silent and lease.proxy_url is None
        key = url if direct else (url, lease.provider, lease.proxy_url)
        known = self._origins.get(key)
        if known is None:
            path = url.partition("://")[2].partition("/")[2]
            origin = Origin.of(url)
            if not direct:
                target = Target(origin.host, origin.port, origin.scheme == "https")
                via = self._network.route(lease.provider, lease.proxy_url, target).proxy()
                origin = msgspec.structs.replace(origin, via=via)
            known = (origin, b"/" + path.encode() if path else b"")
            self._origins[key] = known
        return known

    def homes(self, upstream: Upstream, lease: Lease, begun: tuple[str, ...]) -> tuple[str, ...]:
        """Return the base URLs to ask for an account: as `begun` where it was begun with them, else with those last that could not be reached of late.

        Raises:
            BrokerError: as `Places.of`.
        """
        urls = self.places.of(upstream, lease)
        if len(urls) == 1:
            return urls
        if set(urls) == set(begun):
            return begun
        now = self.ticker.now
        return tuple(sorted(urls, key=lambda url: self.counts.dead.get(url, 0.0) > now))

    def unreachable(self, url: str) -> None:
        """Note that no connection could be made to a base URL, so that not every request waits for it anew."""
        self.counts.dead[url] = self.ticker.now + _DEAD_SECONDS

    @property
    def discovers(self) -> bool:
        """Whether accounts are asked which models they have."""
        return self._choosing.discover_models

    @property
    def patience(self) -> Patience:
        """How often and how long a request is tried anew."""
        return self._patience

    def jittered(self, seconds: float) -> float:
        """Return a pause, longer by up to a quarter, so that those who failed together do not come back together."""
        return seconds * (1 + self._chance.unit() / 4)

    def turn(self, name: str) -> int:
        """Return the next number of a cursor."""
        if len(self.counts.turns) >= _MAX_CURSORS:
            self.counts.turns.clear()
        number = self.counts.turns.get(name, 0)
        self.counts.turns[name] = number + 1
        return number

    def picking(self, name: str, session: Callable[[], str | None]) -> Picking:
        """Return what decides among equals for a request for this name; `session` tells its conversation, where that matters."""
        choosing = self._choosing
        if not self.table.several:
            return Picking()
        return Picking(
            choosing.strategy,
            self.turn(f"accounts of {name}"),  # a chain of that name has a cursor of its own
            session() if choosing.sticky else None,
            self.counts.busy,
            (self._chance.unit(), self._chance.unit()),
        )

    def chosen(self, wanted: Wanted, session: Callable[[], str | None]) -> tuple[Candidate, ...]:
        """Return the accounts to try for what is wanted, in order; where none can serve now, those that soon can. `session` as for `picking`."""
        now, accounts, goals = self.clock.wall_seconds(), self.table.meant(wanted.goals), wanted.goals
        picking = self.picking(wanted.name, session) if len(accounts) > 1 else _NO_CHOICE
        found = candidates(accounts, goals, now, picking)
        return found or cooling(accounts, goals, now, self._patience.seconds)

    def take(self, account: str) -> None:
        """Count a request that an account begins to serve."""
        busy = self.counts.busy
        busy[account] = busy.get(account, 0) + 1

    def release(self, account: str) -> None:
        """Count it no longer."""
        busy = self.counts.busy
        if busy[account] > 1:
            busy[account] -= 1
        else:
            del busy[account]
