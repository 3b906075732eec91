"""One request that goes the way the last one with its head went, from its body to its answer in one read.

Owns: `Shortcut`, which sends at once what a `Trail` has ready and gives a whole, good answer straight back. That is all it can do. One in parts that
goes back as it comes it leaves to `passing`; whatever else happens (an error, silence, a slow client, one that leaves) it hands to the job that would have
sent the same request, which never learns of the difference; so it must never decide anything, and has no deadlines of its own.
"""

import logging
from typing import Final, final

from broker.model.errors import BrokerError
from broker.proxy.call import ClientCall
from broker.proxy.choose import Candidate
from broker.proxy.deadlines import Deadlines
from broker.proxy.failures import failure
from broker.proxy.gateway import Gateway
from broker.proxy.headers import shown, to_client
from broker.proxy.job import Job
from broker.proxy.passing import Passing, taken_over
from broker.proxy.relays import EVENTS, Relay, media
from broker.proxy.session import session_of
from broker.proxy.trail import Track, Trail
from broker.proxy.way import Sending, Straight
from broker.proxy.wire.client import UpstreamError
from broker.proxy.wire.exchange import Exchange
from broker.proxy.wire.heads import ResponseHead, with_length
from broker.proxy.works import Manner, Work

_log = logging.getLogger(__name__)

_OK: Final = 200
_TEXT: Final = b"text/"


@final
class Shortcut:
    """One request (see `wire.exchange.Call`), and the receiver of its answer."""

    __slots__ = (
        "_body", "_exchange", "_gateway", "_head", "_id", "_over", "_parts", "_seconds", "_sending", "_track", "_trail", "_work",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, exchange: Exchange, trail: Trail) -> None:
        """Belongs to `exchange`, whose head `trail` belongs to."""
        self._gateway = gateway
        self._exchange = exchange
        self._trail = trail
        self._id = gateway.next_id()
        self._body = b""
        self._track: Track | None = None
        self._work: Work | None = None
        self._sending: Sending | None = None
        self._over = False
        self._head: ResponseHead | None = None
        self._parts: list[bytes] = []
        self._seconds = 0.0

    # --- what the client does ---

    def on_head(self) -> None:
        """Wait for the body: what there is to say of the head was said."""

    def on_body(self, body: bytes) -> None:
        """Send it, where all is as it was and a connection is at hand."""
        trail, self._body = self._trail, body
        if (
            self._exchange.connection.blocked
            or not trail.holds(self._gateway, body)
            or (trail.foreign and not self._read())
        ):
            if not trail.stands(self._gateway):
                self._exchange.head.made.pop(Trail, None)  # it holds tokens, some perhaps of accounts that are gone
            self._long_way()
            return
        found = trail.chosen(self._session)
        track = self._track = trail.track(found)
        sent = body if track is None or track.manner is Manner.UNTOUCHED else self._translated(track.straight)
        if track is None or sent is None or (connection := trail.shop.pool.take(track.straight.way.origin)) is None:
            self._long_way(None if trail.alone else found)
            return
        shop, straight = trail.shop, track.straight
        now = shop.ticker.now
        self._sending = Sending(found, straight, sent, now, now, connection)
        shop.take(straight.lease.account)
        connection.send(self, "POST", with_length(straight.way.begun, len(sent)), sent)

    def on_fault(self, status: int, text: str) -> None:
        """Say that something went wrong here; where the answer is waited for, by the job, if one can be made."""
        if self._sending is not None and not self._over:
            try:
                job = self._job()
            except Exception:  # noqa: BLE001 - it is the second fault of this request
                _log.exception("a request could not be gone on with", extra={"request_id": self._id})
                self._sending.connection.cancel()
            else:
                job.fail(failure(status, text))
                return
        if self._sending is not None:
            self._trail.shop.release(self._sending.straight.lease.account)
        ClientCall(self._gateway, self._exchange, self._trail.route, self._id).on_fault(status, text)

    def on_blocked(self, blocked: bool) -> None:
        """Leave it to the job, unless it is the answer that the client is slow to read: that is in nobody's hands any more."""
        if not self._exchange.ended:
            self._job().blocked(blocked)

    def on_gone(self) -> None:
        """Leave it to the job."""
        self._job().gone()

    def tick(self, now: float) -> None:
        """Leave it to the job where it would do something now."""
        if self._exchange.ended or self._sending is None:
            return
        since = self._sending.since
        if Deadlines(self._trail.shop.timeouts, since).due(now, since):
            self._job().tick(now)

    # --- what the upstream does ---

    def on_response(self, head: ResponseHead) -> None:
        """Keep the head of a good answer, all of which this read may bring; any other the job is to see as it comes."""
        kind, plain = media(head)
        if head.status == _OK and not kind.startswith(_TEXT):  # neither a page nor a stream of events
            self._head = head
        elif head.status != _OK or not plain or not kind.startswith(EVENTS) or self._passing(head) is None:
            self._job().on_response(head)

    def on_data(self, parts: list[bytes]) -> None:
        """There is more to come: that is for others."""
        self._told().on_data(parts)

    def on_done(self, parts: list[bytes]) -> None:
        """Give the answer on, if it is one."""
        self._over = True
        self._parts = parts
        self._exchange.guard(self._complete)

    def on_failed(self, failure: UpstreamError) -> None:
        """Leave it to the job."""
        self._over = True
        self._exchange.guard(self._lost, failure)

    # --- helpers ---

    def _complete(self) -> None:
        head, track = self._head, self._track
        if head is None or track is None or not self._parts:
            self._told().on_done(self._parts)
            return
        shop, straight = self._trail.shop, track.straight
        if self._work is None:
            self._pass(head)
        elif not self._turned(self._work.relay(straight.upstream, head)):
            self._told().on_done(self._parts)
            return
        shop.release(straight.lease.account)
        shop.table.served(straight.lease.account, straight.lease.generation, straight.model)
        self._seconds = shop.ticker.time() - self._exchange.since
        self._gateway.afterwards.add(self._count)

    def _lost(self, failure: UpstreamError) -> None:
        self._told().on_failed(failure)

    def _long_way(self, found: tuple[Candidate, ...] | None = None) -> None:
        """Serve it like a request nothing is known of, but by the accounts `found` where they were chosen: whose turn it was it still is."""
        route = self._trail.route
        self._exchange.call = call = ClientCall(self._gateway, self._exchange, route, self._id, found, taken_over)
        call.on_head()
        if not self._exchange.ended:
            call.on_body(self._body)

    def _read(self) -> bool:
        """Read the body before anybody is chosen; tell whether it can be: the long way tells the client."""
        try:
            self._work = self._trail.work(self._exchange.head, self._body, self._id)
        except BrokerError:
            return False
        return True

    def _translated(self, straight: Straight) -> bytes | None:
        """Return what goes out; None for a body that has no translation, of which the long way tells the client."""
        if self._work is None and not self._read():
            return None
        assert self._work is not None
        try:
            return self._work.sent(straight.upstream, straight.lease, straight.model).body
        except BrokerError:
            return None

    def _turned(self, relay: Relay) -> bool:
        """Write the answer in the client's dialect; tell whether it is one."""
        out = b"".join([*map(relay.feed, self._parts), relay.close()])
        if relay.failure is not None:
            return False
        start = relay.opening()
        self._exchange.start(start.status, start.headers, start.length)
        self._exchange.write(out)
        self._exchange.end()
        return True

    def _pass(self, head: ResponseHead) -> None:
        exchange, request_id = self._exchange, self._id.encode()
        if head.length is not None and len(self._parts) == 1:
            exchange.pass_on(_OK, shown(head.headers, request_id), self._parts[0])
            return
        exchange.start(_OK, to_client(head.headers, request_id), head.length)
        for part in self._parts:
            exchange.write(part)
        exchange.end()

    def _count(self) -> None:
        """Count what the job and its witness count of such an answer."""
        gateway, route, head, track = self._gateway, self._trail.route, self._head, self._track
        assert head is not None
        assert track is not None
        upstream = track.straight.upstream
        self._trail.shop.meters.attempted(upstream.kind, "ok")
        if gateway.usage is not None:
            dialect = None if route.free else upstream.dialect
            gateway.usage.passed(track.who, head.headers, dialect, self._parts, self._seconds, self._session)
        gateway.answered(self._id, route.name, _OK, self._seconds)

    def _session(self) -> str | None:
        return session_of(self._exchange.head.headers, self._body)

    def _job(self) -> Job:
        """Make the job that is in the middle of what was done here, and leave the rest to it."""
        assert self._sending is not None
        work = self._work or self._trail.work(self._exchange.head, self._body, self._id)
        self._exchange.call = call = ClientCall(self._gateway, self._exchange, self._trail.route, self._id)
        job = call.resume(self._trail, work, self._sending, over=self._over)
        if not self._over:
            self._sending.connection.hand_over(job)
        return job

    def _passing(self, head: ResponseHead) -> Passing | None:
        """Return who gives a good answer on while it comes, where it goes back untouched."""
        track, sending = self._track, self._sending
        if track is None or sending is None or self._over or not track.passes:
            return None
        return Passing(self._gateway, self._exchange, self._trail, track, sending, self._id, head)

    def _told(self) -> Job | Passing:
        """Return who goes on, and let it know of the head if there was one."""
        head = self._head
        if head is not None and (passing := self._passing(head)) is not None:
            return passing
        job = self._job()
        if head is not None:
            job.on_response(head)
        return job
