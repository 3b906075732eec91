"""An answer that goes back untouched while it comes, of a request that went the short way, or a stream whose job has nothing more to do.

Owns: `Passing`, which gives on what each read brings, and counts it at the end. That is all it can do: silence, a slow client, one that leaves, an upstream
that breaks off are for the job that would have served the same request, which is made in the midst of it then; so it must never decide anything.
"""

import logging
from functools import partial
from typing import Final, final

from broker.proxy.call import ClientCall
from broker.proxy.deadlines import Deadlines
from broker.proxy.failures import failure
from broker.proxy.gateway import Gateway
from broker.proxy.headers import shown
from broker.proxy.job import Job
from broker.proxy.relays import is_events
from broker.proxy.session import session_of
from broker.proxy.trail import Track, Trail
from broker.proxy.way import Begun, Sending
from broker.proxy.wire.client import UpstreamError
from broker.proxy.wire.exchange import Exchange
from broker.proxy.wire.heads import ResponseHead
from broker.proxy.witness import Nobody, Witness

_log = logging.getLogger(__name__)

_TAIL: Final = 4  # bytes: as much as it takes to tell whether an event is over
_UNTOLD: Final = 4096  # bytes of small reads that are told together
_NOBODY: Final = Nobody()


def taken_over(
    gateway: Gateway,
    exchange: Exchange,
    trail: Trail,
    sent: Sending,
    request_id: str,
    head: ResponseHead,
    witness: Witness,
) -> bool:
    """Give on a stream instead of the job that sent its request (see `call.TakingOver`)."""
    track = trail.tracks.get(sent.straight.lease.account)
    if track is None or not track.passes or not is_events(head):
        return False
    Passing(gateway, exchange, trail, track, sent, request_id, head, witness)
    return True


@final
class Passing:
    """One answer: who receives it, and what its client's exchange calls meanwhile."""

    __slots__ = (
        "_answered", "_exchange", "_gateway", "_given_at", "_head", "_id", "_over", "_read_at", "_room", "_sending", "_tail", "_ticker", "_track", "_trail",
        "_untold", "_witness",
    )  # fmt: skip

    def __init__(
        self,
        gateway: Gateway,
        exchange: Exchange,
        trail: Trail,
        track: Track,
        sending: Sending,
        request_id: str,
        head: ResponseHead,
        witness: Witness | None = None,
    ) -> None:
        """Go on with an answer that has the head `head`, to what was sent as `sending` says; `witness` knows of the sending, None where nobody does."""
        self._gateway = gateway
        self._exchange = exchange
        self._trail = trail
        self._track = track
        self._sending = sending
        self._id = request_id
        self._head = head
        self._over = False
        self._untold: list[bytes] = []
        self._room = 0
        self._tail = b""
        self._ticker = trail.shop.ticker
        self._read_at = sending.since
        self._given_at = sending.begun
        self._witness = witness
        self._answered = False
        exchange.call = self
        sending.connection.hand_over(self)

    # --- what the client does ---

    def on_head(self) -> None:
        """It came long ago."""

    def on_body(self, body: bytes) -> None:
        """It came long ago."""

    def on_fault(self, status: int, text: str) -> None:
        """Leave it to the job; where there can be none, let go of all."""
        try:
            job = self._job()
        except Exception:  # noqa: BLE001 - it is the second fault of this answer
            _log.exception("an answer could not be gone on with", extra={"request_id": self._id})
            self._trail.shop.release(self._sending.straight.lease.account)
            if not self._over:
                self._sending.connection.cancel()
            ClientCall(self._gateway, self._exchange, self._trail.route, self._id).on_fault(status, text)
        else:
            job.fail(failure(status, text))

    def on_blocked(self, blocked: bool) -> None:
        """Leave it to the job, unless all is said."""
        if not self._exchange.ended:
            self._job().blocked(blocked)

    def on_gone(self) -> None:
        """Leave it to the job."""
        self._job().gone()

    def tick(self, now: float) -> None:
        """Leave it to the job where it would do something now."""
        if not self._exchange.ended and self._deadlines().due(now, self._given_at):
            self._job().tick(now)

    # --- what the upstream does ---

    def on_response(self, head: ResponseHead) -> None:
        """Take the head: it is the one of the answer, of which there is no other."""
        self._head = head

    def on_data(self, parts: list[bytes]) -> None:
        """Give on what one read brought; with the first part the client's answer begins."""
        self._read_at = now = self._ticker.now
        if not parts:
            return
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if not self._exchange.started:
            self._begin()
        self._given_at = now
        self._untold.append(data)
        self._room -= len(data)
        self._exchange.give(data)
        if self._room < 0:
            self._tell()

    def on_done(self, parts: list[bytes]) -> None:
        """Give on the rest, and count it."""
        self._over = True
        self._exchange.guard(self._complete, b"".join(parts))

    def on_failed(self, failed: UpstreamError) -> None:
        """Leave it to the job."""
        self._over = True
        self._exchange.guard(self._lost, failed)

    # --- helpers ---

    def _begin(self) -> None:
        """Do what a job does at the first byte: from here on there is no other account."""
        head = self._head
        self._exchange.begin(head.status, shown(head.headers, self._id.encode()), head.length)

    def _tell(self) -> Witness:
        """Let the witness see what was given: the first byte at once, then some reads together."""
        witness = self._witness
        if witness is None:
            self._witness = witness = self._witnessed()
            witness.sent(self._sending.attempt())
        if not self._answered:
            self._answered = True
            straight = self._sending.straight
            witness.answered(self._head)
            self._trail.shop.table.served(straight.lease.account, straight.lease.generation, straight.model)
        data = b"".join(self._untold)
        self._untold.clear()
        self._room = _UNTOLD
        if data:
            self._tail = data[-_TAIL:] if len(data) >= _TAIL else self._tail + data
            witness.received(data)
        return witness

    def _complete(self, data: bytes) -> None:
        straight, shop, exchange = self._sending.straight, self._trail.shop, self._exchange
        if not exchange.started:
            self._begin()
        self._untold.append(data)
        exchange.write(data)
        exchange.end()
        shop.meters.attempted(straight.upstream.kind, "ok")
        shop.release(straight.lease.account)
        self._tell().ended(exchange.status)
        self._gateway.answered(self._id, self._trail.route.name, exchange.status, shop.ticker.time() - exchange.since)

    def _lost(self, failed: UpstreamError) -> None:
        self._job().on_failed(failed)

    def _witnessed(self) -> Witness:
        trail, exchange, usage = self._trail, self._exchange, self._gateway.usage
        holder = trail.admission.holder
        key = holder.key if holder is not None else None
        # Not a method of this object's: the one would keep the other until a collection.
        session = partial(session_of, exchange.head.headers, self._sending.body)
        counting = (
            usage.witness(self._track.who[0], key, trail.wanted.name, exchange.since, session, free=trail.route.free)
            if usage is not None
            else None
        )
        return counting or _NOBODY

    def _deadlines(self) -> Deadlines:
        """Return those a job would have."""
        made = Deadlines(self._trail.shop.timeouts, self._sending.begun)
        made.sent(self._sending.since)
        made.head()
        if self._exchange.started:
            made.data()
            made.read(self._read_at)
        return made

    def _job(self) -> Job:
        """Make the job that is in the middle of this answer, and leave the rest to it."""
        begun = self._exchange.started
        if begun:
            self._tell()
        trail, sending = self._trail, self._sending
        work = trail.work(self._exchange.head, sending.body, self._id)
        self._exchange.call = call = ClientCall(self._gateway, self._exchange, trail.route, self._id)
        job = call.resume(trail, work, sending, over=self._over, witness=self._witness)
        if not self._over:
            sending.connection.hand_over(job)
        if not begun:
            job.on_response(self._head)
        else:
            job.go_on(Begun(self._head, self._tail, self._deadlines(), self._given_at))
        return job
