"""What one worker serves: its shop, its settings, its models, and how it is.

Owns: `Gateway`, which the requests of a worker share, and what it says of itself. It must never touch a token.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from broker import __version__
from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.model.naming import Names
from broker.proxy import codex_models, models
from broker.proxy.afterwards import Afterwards
from broker.proxy.asking import Meanings
from broker.proxy.context import Context
from broker.proxy.discovery import Discovery
from broker.proxy.keys import Holder
from broker.proxy.naming import Served, meaning
from broker.proxy.porter import Porter
from broker.proxy.reqlog.log import RequestLog
from broker.proxy.shop import Shop
from broker.proxy.shown import codex_entries, shown
from broker.proxy.upstreams.table import PROVIDERS
from broker.proxy.usage import Usage
from broker.settings.effective import Edition
from broker.translate.signatures import SignatureMemory

_log = logging.getLogger(__name__)

_JSON: Final = (b"content-type", b"application/json")


class _Daemon(msgspec.Struct, frozen=True):
    connected: bool
    detail: str


class _Health(msgspec.Struct, frozen=True):
    """GET /health. `status` is `ok` when the daemon is followed and some account can serve, else `degraded`; counts only, no names."""

    status: str
    version: str
    uptime: float
    daemon: _Daemon
    accounts: dict[str, int]
    leases: int
    settings: Edition | None = None


class Gateway:
    """What one worker serves."""

    def __init__(self, shop: Shop, porter: Porter, clock: Clock, ids: str, names: Names, *, safety_off: bool) -> None:
        """Serve from `shop`. `ids` begins every request id of this worker, `names` are the user's own for models."""
        self.shop = shop
        self.porter = porter
        self._clock = clock
        self._ids = ids
        self._number = 0
        self._started = clock.now().boot
        self._signatures = SignatureMemory()
        self._names = names
        self._safety_off = safety_off
        self.edition: Edition | None = None
        self.usage: Usage | None = None
        self.request_log: RequestLog | None = None
        self.discovery = Discovery()
        self.afterwards = Afterwards()
        self._second = 0
        self._read_at = -1.0
        self._meanings = Meanings()
        self._read_by: tuple[Served, Names, int] | None = None

    def renew(self, shop: Shop, names: Names, *, safety_off: bool) -> None:
        """Serve what begins from now on from `shop`, by other settings."""
        self.shop = shop
        self._names = names
        self._safety_off = safety_off

    def next_id(self) -> str:
        """Return the id of a request that begins."""
        self._number += 1
        return f"{self._ids}{self._number:x}"

    def context(self, request_id: str, provider: str | None = None) -> Context:
        """Return what a work needs besides its request; `provider` is the one its path names, if any."""
        served, names, shop = self._served(), self._names, self.shop
        if (
            self._read_at != shop.ticker.now
        ):  # whole seconds are told of it, so it need not be read more often than that moves
            self._read_at, self._second = shop.ticker.now, int(self._clock.now().wall)
        shared = (self._signatures, self._safety_off, served, names, shop.turn)
        return Context(request_id, self._second, *shared, provider, shop.policies, self._meanings)

    def answered(self, request_id: str, route: str, status: int, seconds: float) -> None:
        """Count an answer that ended, and let it be known to whoever debugs."""
        self.shop.meters.answered(route, status, seconds)
        if _log.isEnabledFor(logging.DEBUG):
            told = {"request_id": request_id, "route": route, "status": status, "seconds": round(seconds, 3)}
            _log.debug("request", extra=told)

    def _served(self) -> Served:
        """Return what is served; the same value, and the same meanings, until something of it changes."""
        table, catalog, learnt = self.shop.table, self.shop.catalog, self.discovery.learnt
        prefixes, present = table.prefixes(), table.providers()
        if self._read_by is not None:
            served, names, edition = self._read_by
            same = served.prefixes is prefixes and served.present is present and served.catalog is catalog
            if same and names is self._names and edition == learnt.edition:
                return served
        served = Served(PROVIDERS, prefixes, present, catalog, learnt)
        self._read_by, self._meanings = (served, self._names, learnt.edition), Meanings()
        return served

    def health(self) -> bytes:
        """Write GET /health."""
        table = self.shop.table
        states = Counter(account.view.state for account in table.accounts())
        good = table.connected and table.held() > 0
        return msgspec.json.encode(
            _Health(
                "ok" if good else "degraded",
                __version__,
                round(self._clock.now().boot - self._started, 3),
                _Daemon(
                    table.connected,
                    "" if table.connected else table.away or "it went away; its leases serve until they expire",
                ),
                dict(states),
                table.held(),
                self.edition,
            )
        )

    def served_models(self) -> tuple[models.Model, ...]:
        """Return the models there are accounts for, whether or not they can serve at this moment, and the user's own names for such."""
        own = (models.Model(name, name, owner="ccs-broker") for name in self._names.listed if self.offers(name))
        return (*shown(self.shop.table.accounts(), PROVIDERS, self.shop.catalog, self.discovery.learnt), *own)

    def model(self, name: str, served: Sequence[models.Model], holder: Holder | None = None) -> models.Model | None:
        """Return a model of a list, also by a name that means it: `provider/model`, one with a prefix, one that fits a pattern of the user's."""
        known = models.find(name, served)
        if known is not None or not self.offers(name, holder):
            return known
        goals = meaning(name, self._names, self._served(), lambda _: 0).goals
        known = next((each for goal in goals if (each := models.find(goal.model, served)) is not None), None)
        return None if known is None else msgspec.structs.replace(known, id=name.removeprefix("models/"))

    def codex_list(self, served: Sequence[models.Model]) -> bytes:
        """Write the list of models as Codex reads it."""
        entries = codex_entries(self.shop.table.accounts(), self.discovery.learnt)
        return codex_models.listed(served, entries, self.shop.catalog.known_limits(served))

    def providers(self) -> frozenset[str]:
        """Return the providers there are accounts of that can be served from."""
        return self.shop.table.providers() & PROVIDERS.keys()

    def offers(self, name: str, holder: Holder | None = None) -> bool:
        """Tell whether there is an account for a model's name, of those a key opens."""
        served = self._served()
        try:
            wanted = meaning(name, self._names, served, lambda _: 0)
        except BrokerError:
            return False
        left = holder.narrowed(name, wanted) if holder is not None else wanted
        return left is not None and not self.providers().isdisjoint(left.providers)
