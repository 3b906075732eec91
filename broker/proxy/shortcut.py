"""One request that goes the way the last one with its head went, from its body to its answer in one read.

Owns: `Shortcut`, which sends at once what a `Trail` has ready and gives a whole, good answer straight back. That is all it can do. Whatever else happens (an
answer in parts, an error, silence, a slow client, one that leaves) it hands to the job that would have sent the same request, which never learns of the
difference; so it must never decide anything, and has no deadlines of its own.
"""

from typing import Final, final

from broker.model.errors import BrokerError
from broker.proxy.call import ClientCall
from broker.proxy.gateway import Gateway
from broker.proxy.headers import Headers, to_client
from broker.proxy.job import Job
from broker.proxy.session import session_of
from broker.proxy.trail import Trail
from broker.proxy.wire.client import UpstreamConnection, UpstreamError
from broker.proxy.wire.exchange import Exchange
from broker.proxy.wire.heads import ResponseHead, with_length
from broker.proxy.works import Manner, Work
from broker.translate.tokens import Ends

_OK: Final = 200


@final
class Shortcut:
    """One request (see `wire.exchange.Call`), and the receiver of its answer."""

    __slots__ = (
        "_body", "_connection", "_exchange", "_gateway", "_head", "_id", "_parts", "_sent", "_since", "_trail", "_work",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, exchange: Exchange, trail: Trail) -> None:
        """Belongs to `exchange`, whose head `trail` belongs to."""
        self._gateway = gateway
        self._exchange = exchange
        self._trail = trail
        self._id = gateway.next_id()
        self._body = self._sent = b""
        self._work: Work | None = None
        self._since = 0.0
        self._connection: UpstreamConnection | None = None
        self._head: ResponseHead | None = None
        self._parts: list[bytes] = []

    # --- what the client does ---

    def on_head(self) -> None:
        """Wait for the body: what there is to say of the head was said."""

    def on_body(self, body: bytes) -> None:
        """Send it, where all is as it was and a connection is at hand."""
        trail, self._body = self._trail, body
        if self._exchange.blocked or not trail.holds(self._gateway, body):
            self._long_way()
            return
        sent = body if trail.manner is Manner.UNTOUCHED else self._translated()
        connection = trail.shop.pool.take(trail.straight.way.origin) if sent is not None else None
        if connection is None or sent is None:
            self._long_way()
            return
        self._sent = sent
        self._since = trail.shop.ticker.now
        self._connection = connection
        connection.send(self, "POST", with_length(trail.straight.way.begun, len(sent)), sent)

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
        """Keep the head of a good answer, all of which this read may bring; any other the job is to see as it comes."""
        if head.status == _OK and _is_plain(head.headers):
            self._head = head
        else:
            self._job().on_response(head)

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
        if head is not None and self._parts:
            self._answer(head, self._work)
        else:
            self._told().on_done()

    def on_failed(self, failure: UpstreamError) -> None:
        """Leave it to the job."""
        self._connection = None
        self._told().on_failed(failure)

    # --- helpers ---

    def _long_way(self) -> None:
        """Serve it like a request nothing is known of."""
        self._exchange.call = call = ClientCall(self._gateway, self._exchange, self._trail.route, self._id)
        call.on_head()
        if not self._exchange.ended:
            call.on_body(self._body)

    def _translated(self) -> bytes | None:
        """Return what goes out; None for a body that has no translation, of which the long way tells the client."""
        straight = self._trail.straight
        try:
            self._work = work = self._trail.work(self._exchange.head, self._body, self._id)
            return work.sent(straight.upstream, straight.lease, straight.candidate.model).body
        except BrokerError:
            return None

    def _answer(self, head: ResponseHead, work: Work | None) -> None:
        exchange, straight = self._exchange, self._trail.straight
        if work is None:
            exchange.start(_OK, to_client(head.headers, self._id.encode()), head.length)
            for part in self._parts:
                exchange.write(part)
        else:
            relay = work.relay(straight.upstream, head)
            for part in self._parts:
                relay.feed(part)
            out = relay.close()
            if relay.failure is not None:
                self._told().on_done()
                return
            start = relay.opening()
            exchange.start(start.status, start.headers, start.length)
            exchange.write(out)
        exchange.end()
        self._trail.shop.table.served(straight.lease.account, straight.lease.generation, straight.candidate.model)
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
        work = self._work or self._trail.work(self._exchange.head, self._body, self._id)
        job = call.resume(self._trail, work, self._sent, self._since, self._connection)
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
