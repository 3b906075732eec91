"""How long one request and each of its attempts may take.

Owns: the judgement of headers, first byte, idle and total. Pure: it is told what happened and when. Connecting has its own limit in `wire.pool`.
"""

from typing import Final, Protocol

import msgspec

from broker.proxy.wire.client import FailureKind, UpstreamError


class Timeouts(Protocol):
    """The settings a job keeps, in seconds; `broker.config.ProxyConfig` has them."""

    @property
    def headers_timeout(self) -> float:
        """From the request to the head of its answer."""
        ...

    @property
    def first_byte_timeout(self) -> float:
        """From the request to the first byte of the answer's body."""
        ...

    @property
    def idle_timeout(self) -> float:
        """Between two reads of an answer."""
        ...

    @property
    def total_timeout(self) -> float:
        """From a client's request to the end of its answer, with all attempts."""
        ...

    @property
    def keepalive_seconds(self) -> float:
        """Of silence before a waiting stream gets a comment."""
        ...


class Overtime(msgspec.Struct, frozen=True):
    """The whole has taken longer than this."""

    seconds: float


_HEADERS: Final = "begin its answer"
_FIRST_BYTE: Final = "send the first byte of its answer"
_IDLE: Final = "go on with its answer"


class Deadlines:
    """Of one request. All times are seconds on one clock."""

    __slots__ = ("_begun", "_data", "_head", "_read", "_sent", "_timeouts")

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        """Begin with the request."""
        self._timeouts = timeouts
        self._begun = self._sent = self._read = now
        self._head = self._data = False

    @property
    def begun_at(self) -> float:
        """When the request began."""
        return self._begun

    @property
    def sent_at(self) -> float:
        """When the last attempt went out."""
        return self._sent

    def sent(self, now: float) -> None:
        """An attempt goes out."""
        self._sent = self._read = now
        self._head = self._data = False

    def head(self) -> None:
        """Its answer's head is there."""
        self._head = True

    def data(self) -> None:
        """A byte of its body is there."""
        self._data = True

    def read(self, now: float) -> None:
        """The upstream was read, or is read again after a pause."""
        self._read = now

    def overtime(self, now: float) -> Overtime | None:
        """Tell whether the whole takes too long."""
        limit = self._timeouts.total_timeout
        return Overtime(limit) if now - self._begun > limit else None

    def late(self, now: float) -> UpstreamError | None:
        """Tell whether the upstream, which is being waited for, takes too long."""
        timeouts = self._timeouts
        if self._data:
            return _late(FailureKind.IDLE_TIMEOUT, _IDLE, now - self._read, timeouts.idle_timeout)
        waited = now - self._sent
        if not self._head and waited > timeouts.headers_timeout:
            return _late(FailureKind.HEADERS_TIMEOUT, _HEADERS, waited, timeouts.headers_timeout)
        return _late(FailureKind.FIRST_BYTE_TIMEOUT, _FIRST_BYTE, waited, timeouts.first_byte_timeout)

    def due(self, now: float, given_at: float) -> bool:
        """Tell whether a job would do anything now; `given_at` is when its client was given something last."""
        silent = now - given_at >= self._timeouts.keepalive_seconds
        return silent or self.overtime(now) is not None or self.late(now) is not None


def _late(kind: FailureKind, what: str, waited: float, limit: float) -> UpstreamError | None:
    return UpstreamError(kind, f"the upstream did not {what} within {limit:g} s") if waited > limit else None
