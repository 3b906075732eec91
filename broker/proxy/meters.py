"""Numbers for Prometheus, of one worker.

Owns: every metric of the proxy but those of usage (`usage_metrics`), in a registry of our own. Labels come from closed sets (routes, statuses, kinds of
upstream, outcomes): no account, model or key, as labels are public to whoever reads dashboards, and unbounded. With several workers each scrape meets one of
them; `worker` tells which.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

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
        self._answers = _Answers(str(worker))
        self._registry.register(self._answers)
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

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer that ended; status 499 is a client that left."""
        answers = self._answers
        answers.requests[route, status] = answers.requests.get((route, status), 0) + 1
        told = answers.seconds.get(route)
        if told is None:
            told = answers.seconds[route] = [0.0] * (len(_BUCKETS) + 2)
        told[bisect_left(_BUCKETS, seconds)] += 1
        told[-1] += seconds

    def attempted(self, kind: str, outcome: str) -> None:
        """Count an attempt: `ok`, the status it failed with, or how it broke."""
        attempts = self._answers.attempts
        attempts[kind, outcome] = attempts.get((kind, outcome), 0) + 1

    def logged(self, outcome: str) -> None:
        """Count a request for the request log: `written`, `dropped` as there was no keeping up, or `failed`. From any thread."""
        self._logged.labels(self._worker, outcome).inc()

    def text(self, *, rows: bool = True) -> bytes:
        """Write all in Prometheus' text format; without `rows` nothing that names a key or an account (see `usage_metrics`)."""
        return generate_latest(self._registry) + (self.usage.text(rows=rows) if self.usage is not None else b"")


class _Answers(Collector):
    """What every request raises, in plain numbers: the library's own counters take a lock and some calls each."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self.requests: dict[tuple[str, int], int] = {}
        self.seconds: dict[str, list[float]] = {}
        """By route: how many fell into each bucket, the last without end, and their sum."""
        self.attempts: dict[tuple[str, str], int] = {}

    def collect(self) -> Iterator[Metric]:
        worker = self._worker
        requests = CounterMetricFamily("ccs_proxy_requests", "Requests answered", labels=["worker", "route", "status"])
        for (route, status), count in self.requests.items():
            requests.add_metric([worker, route, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "ccs_proxy_request_seconds", "From a request's first byte to its answer's last", labels=["worker", "route"]
        )
        for route, (*counts, total) in self.seconds.items():
            names = (*(str(float(bound)) for bound in _BUCKETS), "+Inf")
            seconds.add_metric([worker, route], list(zip(names, accumulate(counts), strict=True)), total)
        yield seconds
        attempts = CounterMetricFamily(
            "ccs_proxy_upstream", "Attempts at upstreams", labels=["worker", "kind", "outcome"]
        )
        for (kind, outcome), count in self.attempts.items():
            attempts.add_metric([worker, kind, outcome], count)
        yield attempts
