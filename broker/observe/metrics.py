"""Numbers for Prometheus.

Owns: every metric of the daemon and its labels. Labels come from closed sets (providers of the config, states, codes, sockets): an account never becomes a
label, as labels are public to whoever reads dashboards, and unbounded. They are kept as plain numbers: the library that writes them out is a tenth of a start,
and is loaded when somebody asks for them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from broker.system import SystemClock

if TYPE_CHECKING:
    from prometheus_client.core import Metric

StateCounts = Mapping[tuple[str, str], int]
"""(provider, state name) to number of accounts."""

_REFRESH_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The daemon's metrics; `states` is asked at each scrape."""

    def __init__(self, states: Callable[[], StateCounts]) -> None:
        """Begin with nothing counted."""
        self._states = states
        self._leases = _Tally("leases", "Leases answered", ("provider", "outcome"))
        self._reports = _Tally("reports", "Reports taken", ("provider", "outcome"))
        self._refreshes = _Tally("refreshes", "Refreshes ended", ("provider", "outcome"))
        self._refresh_seconds: dict[str, _Times] = {}
        self._connections: dict[str, int] = {}
        self._refused = _Tally("socket_refused", "Connections and requests refused", ("socket", "code"))
        self._watchers = 0
        self._cut = _Tally("watch_cut", "Push streams cut off because their reader was too slow", ())
        self._cut.add((), 0)

    def leased(self, provider: str, outcome: str) -> None:
        """Count a lease: `served` or the error's code."""
        self._leases.add((provider, outcome))

    def reported(self, provider: str, outcome: str) -> None:
        """Count a report by its outcome."""
        self._reports.add((provider, outcome))

    def refreshed(self, provider: str, outcome: str, seconds: float | None) -> None:
        """Count a refresh that ended, and how long it took where that is known."""
        self._refreshes.add((provider, outcome))
        if seconds is not None:
            self._refresh_seconds.setdefault(provider, _Times()).add(seconds)

    def connections(self, socket: str, number: int) -> None:
        """Say how many connections are open."""
        self._connections[socket] = number

    def refused(self, socket: str, code: str) -> None:
        """Count a refusal."""
        self._refused.add((socket, code))

    def watchers(self, number: int) -> None:
        """Say how many push streams are open."""
        self._watchers = number

    def cut(self) -> None:
        """Count a push stream cut off."""
        self._cut.add(())

    def render(self) -> bytes:
        """Return the Prometheus text format, version 0.0.4."""
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415
        from prometheus_client.registry import Collector  # noqa: PLC0415

        collect = self._collect

        class Numbers(Collector):
            def collect(self) -> "Iterator[Metric]":
                return collect()

        registry = CollectorRegistry()
        registry.register(Numbers())
        return generate_latest(registry)

    def _collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily  # noqa: PLC0415

        states = GaugeMetricFamily("ccs_broker_accounts", "Accounts by state", labels=["provider", "state"])
        for labels, number in sorted(self._states().items()):
            states.add_metric(list(labels), number)
        yield states
        yield from (self._leases.family(), self._reports.family(), self._refreshes.family())
        seconds = HistogramMetricFamily(
            "ccs_broker_refresh_seconds",
            "Time of a refresh, from its start to the durable grant or the failure",
            labels=["provider"],
        )
        for provider, times in self._refresh_seconds.items():
            seconds.add_metric([provider], times.buckets(), times.total)
            seconds.add_sample("ccs_broker_refresh_seconds_created", {"provider": provider}, times.since)
        yield seconds
        sockets = GaugeMetricFamily("ccs_broker_socket_connections", "Open connections", labels=["socket"])
        for socket, number in self._connections.items():
            sockets.add_metric([socket], number)
        yield sockets
        yield self._refused.family()
        yield GaugeMetricFamily("ccs_broker_watch_subscribers", "Open push streams", value=self._watchers)
        yield self._cut.family()


class _Tally:
    """A counter: how often each combination of labels came, and since when it is counted (wall-clock seconds)."""

    __slots__ = ("_counts", "_help", "_labels", "_name")

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name = name
        self._help = text
        self._labels = labels
        self._counts: dict[tuple[str, ...], list[float]] = {}

    def add(self, labels: tuple[str, ...], number: int = 1) -> None:
        told = self._counts.get(labels)
        if told is None:
            told = self._counts[labels] = [0, _wall()]
        told[0] += number

    def family(self) -> "Metric":
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

        made = CounterMetricFamily(f"ccs_broker_{self._name}", self._help, labels=self._labels)
        for labels, (count, since) in self._counts.items():
            made.add_metric(list(labels), count, since)
        return made


class _Times:
    """A histogram: how many fell into each bucket, the last without end, and their sum."""

    __slots__ = ("_counts", "since", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(_REFRESH_BUCKETS) + 1)
        self.total = 0.0
        self.since = _wall()

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(_REFRESH_BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        names = (*(str(float(bound)) for bound in _REFRESH_BUCKETS), "+Inf")
        return list(zip(names, accumulate(self._counts), strict=True))


def _wall() -> float:
    return SystemClock().now().wall
