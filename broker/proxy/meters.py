"""Numbers for Prometheus, of one worker.

Owns: every metric of the proxy but those of usage (`usage_metrics`), in a registry of our own. Labels come from closed sets (routes, statuses, kinds of
upstream, outcomes): no account, model or key, as labels are public to whoever reads dashboards, and unbounded. With several workers each scrape meets one of
them; `worker` tells which.
"""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from broker.proxy.usage_metrics import UsageMetrics

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Meters:
    """The proxy's metrics. `gauges` names what is read at each scrape."""

    def __init__(self, worker: int, gauges: dict[str, Callable[[], float]]) -> None:
        """Register everything."""
        self._registry = CollectorRegistry()
        self.usage: UsageMetrics | None = None
        labels = {"worker": str(worker)}
        self._requests = Counter(
            "ccs_proxy_requests_total", "Requests answered", ["worker", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "ccs_proxy_request_seconds",
            "From a request's first byte to its answer's last",
            ["worker", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._upstream = Counter(
            "ccs_proxy_upstream_total", "Attempts at upstreams", ["worker", "kind", "outcome"], registry=self._registry
        )
        self._logged = Counter(
            "ccs_proxy_request_log_total",
            "Requests for the request log",
            ["worker", "outcome"],
            registry=self._registry,
        )
        for name, read in gauges.items():
            gauge = Gauge(f"ccs_proxy_{name}", f"Now: {name.replace('_', ' ')}", ["worker"], registry=self._registry)
            gauge.labels(**labels).set_function(read)
        self._worker = str(worker)
        # Finding a metric by its labels costs more than raising it.
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._attempted: dict[tuple[str, str], Counter] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer that ended; status 499 is a client that left."""
        known = self._answered.get((route, status))
        if known is None:
            counter = self._requests.labels(self._worker, route, str(status))
            known = self._answered[route, status] = (counter, self._seconds.labels(self._worker, route))
        known[0].inc()
        known[1].observe(seconds)

    def attempted(self, kind: str, outcome: str) -> None:
        """Count an attempt: `ok`, the status it failed with, or how it broke."""
        known = self._attempted.get((kind, outcome))
        if known is None:
            known = self._attempted[kind, outcome] = self._upstream.labels(self._worker, kind, outcome)
        known.inc()

    def logged(self, outcome: str) -> None:
        """Count a request for the request log: `written`, `dropped` as there was no keeping up, or `failed`. From any thread."""
        self._logged.labels(self._worker, outcome).inc()

    def text(self, *, rows: bool = True) -> bytes:
        """Write all in Prometheus' text format; without `rows` nothing that names a key or an account (see `usage_metrics`)."""
        return generate_latest(self._registry) + (self.usage.text(rows=rows) if self.usage is not None else b"")
