"""Numbers for Prometheus.

Owns: every metric of the daemon and its labels, in a registry of our own. Labels come from closed sets (providers of the config, states, codes,
sockets): an account never becomes a label, as labels are public to whoever reads dashboards, and unbounded.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

StateCounts = Mapping[tuple[str, str], int]
"""(provider, state name) to number of accounts."""

_REFRESH_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The daemon's metrics; `states` is asked at each scrape."""

    def __init__(self, states: Callable[[], StateCounts]) -> None:
        """Register everything."""
        self._registry = CollectorRegistry()
        self._registry.register(_States(states))
        self._leases = Counter(
            "ccs_broker_leases_total", "Leases answered", ["provider", "outcome"], registry=self._registry
        )
        self._lease_counters: dict[tuple[str, str], Counter] = {}  # finding one by its labels takes as long as all else
        self._reports = Counter(
            "ccs_broker_reports_total", "Reports taken", ["provider", "outcome"], registry=self._registry
        )
        self._refreshes = Counter(
            "ccs_broker_refreshes_total", "Refreshes ended", ["provider", "outcome"], registry=self._registry
        )
        self._refresh_seconds = Histogram(
            "ccs_broker_refresh_seconds",
            "Time of a refresh, from its start to the durable grant or the failure",
            ["provider"],
            buckets=_REFRESH_BUCKETS,
            registry=self._registry,
        )
        self._connections = Gauge(
            "ccs_broker_socket_connections", "Open connections", ["socket"], registry=self._registry
        )
        self._refused = Counter(
            "ccs_broker_socket_refused_total",
            "Connections and requests refused",
            ["socket", "code"],
            registry=self._registry,
        )
        self._watchers = Gauge("ccs_broker_watch_subscribers", "Open push streams", registry=self._registry)
        self._cut = Counter(
            "ccs_broker_watch_cut_total",
            "Push streams cut off because their reader was too slow",
            registry=self._registry,
        )

    def leased(self, provider: str, outcome: str) -> None:
        """Count a lease: `served` or the error's code."""
        counter = self._lease_counters.get((provider, outcome))
        if counter is None:
            counter = self._lease_counters[provider, outcome] = self._leases.labels(provider, outcome)
        counter.inc()

    def reported(self, provider: str, outcome: str) -> None:
        """Count a report by its outcome."""
        self._reports.labels(provider, outcome).inc()

    def refreshed(self, provider: str, outcome: str, seconds: float | None) -> None:
        """Count a refresh that ended, and how long it took where that is known."""
        self._refreshes.labels(provider, outcome).inc()
        if seconds is not None:
            self._refresh_seconds.labels(provider).observe(seconds)

    def connections(self, socket: str, number: int) -> None:
        """Say how many connections are open."""
        self._connections.labels(socket).set(number)

    def refused(self, socket: str, code: str) -> None:
        """Count a refusal."""
        self._refused.labels(socket, code).inc()

    def watchers(self, number: int) -> None:
        """Say how many push streams are open."""
        self._watchers.set(number)

    def cut(self) -> None:
        """Count a push stream cut off."""
        self._cut.inc()

    def render(self) -> bytes:
        """Return the Prometheus text format, version 0.0.4."""
        return generate_latest(self._registry)


class _States(Collector):
    def __init__(self, states: Callable[[], StateCounts]) -> None:
        self._states = states

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        for labels, number in sorted(self._states().items()):
            family.add_metric(list(labels), number)
        return [family]

    @staticmethod
    def _family() -> GaugeMetricFamily:
        return GaugeMetricFamily("ccs_broker_accounts", "Accounts by state", labels=["provider", "state"])
