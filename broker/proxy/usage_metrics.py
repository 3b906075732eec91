"""Usage for Prometheus, of one worker since it began.

Owns: the series. Sums have no label but the worker and the kind of token, and everybody who may read `/metrics` reads them. Series by local key, account and
model are for those only who came without a local key: an account's name is often somebody's address, and who holds one local key need not know of the others.
There are never more of them than the table has rows. One that is no longer used gives its numbers to those called `other`.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from broker.proxy.usage_table import Counts, Table

_TOKENS: Final = ("prompt", "completion", "cached", "reasoning")
_NUMBERS: Final = {
    "requests": "Requests that ended",
    "failed": "Requests that failed, or whose answer had no end",
    "left": "Requests given up by their clients",
    "retried": "Attempts after which another one was made",
    "untold": "Answers whose upstream did not tell their tokens, or not all",
    "seconds": "Seconds from requests' first byte to their answers' last",
    "answered": "Requests an upstream began to answer",
    "first_seconds": "Seconds from requests' first byte to that of an upstream's answer",
}


class UsageMetrics:
    """Writes the table at each scrape."""

    def __init__(self, table: Table, worker: int) -> None:
        """Read `table`, of the worker with this number."""
        self._sums, self._rows = CollectorRegistry(auto_describe=False), CollectorRegistry(auto_describe=False)
        self._sums.register(_Sums(table, str(worker)))
        self._rows.register(_Rows(table, str(worker)))

    def text(self, *, rows: bool) -> bytes:
        """Write the sums, and with `rows` the series by key, account and model, in Prometheus' text format."""
        return generate_latest(self._sums) + (generate_latest(self._rows) if rows else b"")


class _Sums(Collector):
    def __init__(self, table: Table, worker: str) -> None:
        self._table = table
        self._worker = worker

    def collect(self) -> Iterator[CounterMetricFamily]:
        total = Counts()
        for _, counts in self._table.rows():
            total.add(counts)
        tokens = CounterMetricFamily("ccs_proxy_tokens", "Tokens as upstreams tell them", labels=["worker", "kind"])
        for kind in _TOKENS:
            tokens.add_metric([self._worker, kind], getattr(total, kind))
        yield tokens
        untold = CounterMetricFamily("ccs_proxy_untold", _NUMBERS["untold"], labels=["worker"])
        untold.add_metric([self._worker], total.untold)
        yield untold


class _Rows(Collector):
    def __init__(self, table: Table, worker: str) -> None:
        self._table = table
        self._worker = worker

    def collect(self) -> Iterator[CounterMetricFamily]:
        labels = ["worker", "key", "account", "model"]
        tokens = CounterMetricFamily(
            "ccs_proxy_usage_tokens", "Tokens as upstreams tell them", labels=[*labels, "kind"]
        )
        families = {
            name: CounterMetricFamily(f"ccs_proxy_usage_{name}", text, labels=labels) for name, text in _NUMBERS.items()
        }
        for who, counts in self._table.rows():
            if counts.requests or counts.retried:
                for kind in _TOKENS:
                    tokens.add_metric([self._worker, *who, kind], getattr(counts, kind))
                for name, family in families.items():
                    family.add_metric([self._worker, *who], getattr(counts, name))
        yield tokens
        yield from families.values()
