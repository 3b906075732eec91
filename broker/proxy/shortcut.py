"""One request that goes the way the last one with its head went, from its body to its answer in one read.

Owns: `Shortcut`, which sends at once what a `Trail` has ready and gives a whole, good answer straight back. That is all it can do. Whatever else happens (an
answer in parts, an error, silence, a slow client, one that leaves) it hands to the job that would have sent the same request, which never learns of the
difference; so it must never decide anything, and has no deadlines of its own.
"""

from typing import Final, final

from broker.proxy.call import ClientCall
from broker.proxy.gateway import Gateway
from broker.proxy.headers import Headers, to_client
from broker.proxy.job import Job
from broker.proxy.session import session_of
from broker.proxy.trail import Trail
from broker.proxy.wire.client import UpstreamConnection, UpstreamError
from broker.proxy.wire.exchange import Exchange
from broker.proxy.wire.heads import ResponseHead, with_length
from broker.translate.tokens import Ends

_OK: Final = 200


@final
class Shortcut:
    """One request (see `wire.exchange.Call`), and the receiver of its answer."""

    __slots__ = ("_body", "_connection", "_exchange", "_gateway", "_head", "_id", "_parts", "_since", "_trail")

    def __init__(self, gateway: Gateway, exchange: Exchange, trail: Trail) -> None:
        """Belongs to `exchange`, whose head `trail` belongs to."""
        self._gateway = gateway
        self._exchange = exchange
        self._trail = trail
        self._id = gateway.next_id()
        self._body = b""
        self._since = 0.0
        self._connection: UpstreamConnection | None = None
        self._head: ResponseHead | None = None
        self._parts: list[bytes] = []

    # --- what the client does ---

    def on_head(self) -> None:
        """Wait for the body: what there is to say of the head was said."""

    def on_body(self, body: bytes) -> None:
        """Send it, where all is as it was and a connection is at hand."""
        trail = self._trail
        shop, way = trail.shop, trail.straight.way
        if (
            self._exchange.blocked
            or not trail.holds(self._gateway, body)
            or (connection := shop.pool.take(way.origin)) is None
        ):
            self._long_way(body)
            return
        self._body = body
        self._since = shop.ticker.now
        self._connection = connection
        connection.send(self, "POST", with_length(way.begun, len(body)), body)

    def on_fault(self, status: int, text: str) -> None:
        """Say that something went wrong here."""
        if self._connection is not None:
            self._connection.cancel()
        ClientCall(self._gateway, self._exchange, self._trail.route, self._id).on_fault(status, text)

    def on_blocked(self, blocked: bool) -> None:
        """Leave it to the job."""
        self._job().blocked(blocked)

    def on_gone(self) -> None:
        """Leave it to the job."""
        self._job().gone()

    def tick(self, now: float) -> None:
        """Leave it to the job: what takes as long as this has deadlines."""
        self._job().tick(now)

    # --- what the upstream does ---

    def on_response(self, head: ResponseHead) -> None:
        """Keep the head: this read may bring all of the answer."""
        self._head = head

    def on_data(self, data: bytes) -> None:
        """Keep a part."""
        self._parts.append(data)

    def on_flush(self) -> None:
        """There is more to come: that is the job's."""
        self._told().on_flush()

    def on_done(self) -> None:
        """Give the answer on, if it is one."""
        self._connection = None
        head = self._head
        if head is not None and head.status == _OK and self._parts and _is_plain(head.headers):
            self._answer(head)
        else:
            self._told().on_done()

    def on_failed(self, failure: UpstreamError) -> None:
        """Leave it to the job."""
        self._connection = None
        self._told().on_failed(failure)

    # --- helpers ---

    def _long_way(self, body: bytes) -> None:
        """Serve it like a request nothing is known of."""
        self._exchange.call = call = ClientCall(self._gateway, self._exchange, self._trail.route, self._id)
        call.on_head()
        if not self._exchange.ended:
            call.on_body(body)

    def _answer(self, head: ResponseHead) -> None:
        exchange, trail = self._exchange, self._trail
        exchange.start(_OK, to_client(head.headers, self._id.encode()), head.length)
        for part in self._parts:
            exchange.write(part)
        exchange.end()
        trail.shop.table.served(
            trail.straight.lease.account, trail.straight.lease.generation, trail.straight.candidate.model
        )
        self._count(head)

    def _count(self, head: ResponseHead) -> None:
        """Count what the job and its witness count of such an answer."""
        trail, gateway = self._trail, self._gateway
        upstream, meters = trail.straight.upstream, trail.shop.meters
        seconds = trail.shop.ticker.time() - self._exchange.since
        meters.attempted(upstream.kind, "ok")
        if gateway.usage is not None:
            ends = None if trail.free else Ends(upstream.dialect)
            if ends is not None:
                for part in self._parts:
                    ends.feed(part)
            gateway.usage.passed(trail.who, head.headers, ends, seconds, self._session)
        gateway.answered(self._id, type(trail.route.target).__name__, _OK, seconds)

    def _session(self) -> str | None:
        return session_of(self._exchange.head.headers, self._body)

    def _job(self) -> Job:
        """Make the job that is in the middle of what was done here, and leave the rest to it."""
        call = ClientCall(self._gateway, self._exchange, self._trail.route, self._id)
        self._exchange.call = call
        job = call.resume(self._trail, self._body, self._since, self._connection)
        if self._connection is not None:
            self._connection.hand_over(job)
        return job

    def _told(self) -> Job:
        """The same, and let it know what came so far."""
        job = self._job()
        if self._head is not None:
            job.on_response(self._head)
        for part in self._parts:
            job.on_data(part)
        return job


def _is_plain(headers: Headers) -> bool:
    """Tell whether an answer is neither a page nor a stream of events, which the job and its relay look at."""
    for name, value in headers:  # noqa: SIM110 - a generator costs more than the few headers there are
        if name == b"content-type" and value[:5].lower() == b"text/":
            return False
    return True
