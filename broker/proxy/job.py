"""One request on its way: sends it, hands the answer on in the same call it came in, and keeps its deadlines.

Owns: the moving of bytes between an exchange and upstream connections. What to do after each answer `attempts` decides, what the bytes become a relay. A
task exists only while there is something to wait for besides an answer: a new connection, a token, a pause.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Final, assert_never

import msgspec

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.tasks import spawn
from broker.proxy import attempts
from broker.proxy.answering import Answering
from broker.proxy.choose import Candidate
from broker.proxy.deadlines import Deadlines, Overtime
from broker.proxy.failures import failure, timed
from broker.proxy.notes import Notes
from broker.proxy.refused import Refused, is_page, refused
from broker.proxy.relays import Relay
from broker.proxy.shop import Shop
from broker.proxy.upstreams.base import Upstream
from broker.proxy.upstreams.table import PROVIDERS, upstream_of
from broker.proxy.verdict import Asked, given_up
from broker.proxy.way import Begun, Sending, Straight, Successor, Way, sent_at_once, way_to
from broker.proxy.wire.client import FailureKind, UpstreamConnection, UpstreamError
from broker.proxy.wire.exchange import Exchange
from broker.proxy.wire.heads import ResponseHead
from broker.proxy.witness import Nobody, Witness
from broker.proxy.works import Work
from broker.translate.failures import failure_of
from broker.translate.ir import Failure

_log = logging.getLogger(__name__)

_MAX_ERROR_BYTES: Final = 1 << 20
_OK: Final = 200
_GOOD: Final = attempts.Answered(_OK)
_NOT_BEGUN: Final = attempts.State(())
_OWN_FAULT: Final = frozenset({ErrorCode.BAD_REQUEST, ErrorCode.UNSUPPORTED, ErrorCode.TOO_LARGE})
_SLOW: Final = frozenset({FailureKind.HEADERS_TIMEOUT, FailureKind.FIRST_BYTE_TIMEOUT, FailureKind.IDLE_TIMEOUT})
_TIMEOUTS: Final = _SLOW | {FailureKind.CONNECT_TIMEOUT}


class Job:
    """Serves one request. It is the `Receiver` of its upstream connections."""

    def __init__(
        self,
        shop: Shop,
        exchange: Exchange,
        work: Work,
        request_id: str,
        asked: Asked,
        done: Callable[[int], None],
        witness: Witness | None = None,
    ) -> None:
        """Begin with `run`. `done` is told the status once it has ended: 499 where the client left; `witness` sees everything on the way."""
        self._shop = shop
        self._witness = witness or Nobody()
        self._client = Answering(exchange, work.voice, work.client, request_id, shop.ticker, self._witness)
        self._work = work
        self._id = request_id
        self._notes = Notes(shop.meters, request_id, work.wanted.name)
        self._asked = asked
        self._done = done
        self._state: attempts.State = _NOT_BEGUN
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._upstream: Upstream | None = None
        self._way: Way | None = None
        self._body = b""
        self._lease: Lease | None = None
        self._model = ""
        self._relay: Relay | None = None
        self._head: ResponseHead | None = None
        self._error = bytearray()
        self._said: Refused | None = None
        self._stale_retried = False
        self._deadlines = Deadlines(shop.timeouts, shop.ticker.now)
        self._found: tuple[Candidate, ...] = ()
        self.successor: Successor | None = None
        """Who may give a good stream on instead."""

    def run(self, found: tuple[Candidate, ...] | None = None) -> None:
        """Start, with the accounts `found` where they were chosen already."""
        chosen = self._shop.chosen(self._work.wanted, self._work.session) if found is None else found
        self._found = chosen
        self._follow(attempts.begin(chosen, self._shop.patience))

    def resume(self, sent: Sending, *, over: bool) -> None:
        """Go on from where `run` would be, had it sent the request and told the witness; `over` where the connection has nothing more to say."""
        straight = sent.straight
        self._state, _ = attempts.begin(sent.found, self._shop.patience)
        self._lease, self._model, self._upstream = straight.lease, straight.model, straight.upstream
        self._way, self._body = straight.way.of(sent.body), sent.body
        self._connection = None if over else sent.connection
        self._deadlines = Deadlines(self._shop.timeouts, sent.begun)
        self._deadlines.sent(sent.since)
        self._client.resumed(sent.begun)

    def go_on(self, begun: Begun) -> None:
        """Go on, after `resume`, in the midst of an answer."""
        assert self._upstream is not None
        self._state, _ = attempts.step(self._state, _GOOD)
        self._head = begun.head
        self._relay = self._work.relay(self._upstream, begun.head)
        self._relay.feed(begun.tail)
        self._deadlines = begun.deadlines
        self._client.resumed(begun.given_at)

    def straight(self) -> Straight | None:
        """Return how the request was sent, where another one with the same head can be sent the same way; asked after `run`."""
        way, upstream, lease, state = self._way, self._upstream, self._lease, self._state
        if way is None or not way.begun or upstream is None or lease is None or state.sent != 1 or state.over:
            return None
        return Straight(lease, self._model, upstream, way)

    # --- what the client does ---

    def blocked(self, blocked: bool) -> None:
        """Hold the upstream back while the client is slow."""
        if self._connection is not None:
            if blocked:
                self._connection.pause()
            else:
                self._connection.resume()
                self._deadlines.read(self._shop.ticker.now)

    def gone(self) -> None:
        """The client left: close the upstream at once, blame nobody."""
        self._step(attempts.ClientGone())

    def fail(self, told: Failure) -> None:
        """Let go of everything after a fault of ours, and tell the client where its answer has not ended."""
        self._state = msgspec.structs.replace(self._state, over=True)
        self._drop()
        if self._client.ended:
            self._finish(self._client.status, cut=True)
        else:
            self._tell(told)

    def tick(self, now: float) -> None:
        """Keep the deadlines, and a waiting stream alive."""
        overtime = self._deadlines.overtime(now)
        if overtime is not None:
            self._overdue(overtime)
            return
        late = self._deadlines.late(now)
        if late is not None and self._connection is not None and not self._connection.paused:
            self._connection.cancel()
            self._connection = None
            self._broke(late)
        if self._work.events and self._client.silent(now) >= self._shop.timeouts.keepalive_seconds:
            self._keep_alive()

    # --- what the upstream does (Receiver) ---

    def on_response(self, head: ResponseHead) -> None:
        """Take the head; nothing is told to the client before there is a byte of an answer."""
        if self.successor is not None and self._succeeded(self.successor, head):
            return
        self._head = head
        self._deadlines.head()
        self._witness.answered(head)
        if 200 <= head.status < 300 and self._upstream is not None and not is_page(head):
            self._relay = self._work.relay(self._upstream, head)

    def on_data(self, parts: list[bytes]) -> None:
        """Take parts of the body, and send what they become."""
        if self._takes(parts):
            self._deadlines.read(self._shop.ticker.now)
            self._client.flush()

    def on_done(self, parts: list[bytes]) -> None:
        """Take the rest: the answer is complete."""
        self._connection = None
        self._client.guard(self._complete, parts)

    def on_failed(self, failed: UpstreamError) -> None:
        """There will be no answer, or no more of it."""
        self._connection = None
        self._client.guard(self._lost, failed)

    # --- steps ---

    def _succeeded(self, successor: Successor, head: ResponseHead) -> bool:
        """Leave a good stream to who gives it on without a job; tell whether that is so, and nothing is left to do here."""
        self.successor = None
        straight, connection, client = self.straight(), self._connection, self._client
        if straight is None or connection is None or head.status != _OK or client.started or client.blocked:
            return False
        sent = sent_at_once(self._found, straight, self._body, self._deadlines, connection)
        return sent is not None and successor(sent, head, self._witness)

    def _takes(self, parts: list[bytes]) -> bool:
        """Take parts of the body; tell whether they are one of an answer, which else is dealt with."""
        relay = self._relay
        for part in parts:
            self._deadlines.data()
            self._witness.received(part)
            if relay is not None:
                self._give(relay, relay.feed(part))
            elif len(self._error) < _MAX_ERROR_BYTES:
                self._error += part
            if self._relay is not relay:
                return False
        return True

    def _complete(self, parts: list[bytes]) -> None:
        relay = self._relay
        if not self._takes(parts):
            return
        if relay is None:
            self._refused()
            return
        self._give(relay, relay.close())
        if self._relay is not relay:
            return  # it was no answer, and is dealt with
        if not self._state.relaying:
            self._begin(relay)
        self._notes.attempted(self._upstream, "ok")
        self._client.end()
        self._finish(self._client.status)

    def _lost(self, failed: UpstreamError) -> None:
        if failed.stale and not self._stale_retried:
            # A kept connection that the upstream had closed: it has not seen the request. A new one cannot be stale.
            self._stale_retried = True
            self._later(self._connect())
            return
        self._broke(failed)

    def _step(self, event: attempts.Event) -> None:
        self._follow(attempts.step(self._state, event))

    def _follow(self, step: attempts.Step) -> None:
        self._state, actions = step
        for action in actions:
            self._act(action)

    def _act(self, action: attempts.Action) -> None:
        match action:
            case attempts.Send():
                self._send(action)
            case attempts.Borrow():
                self._later(self._borrow(action))
            case attempts.Reject():
                self._later(self._reject(action))
            case attempts.Limit():
                self._shop.table.limit(action)
            case attempts.Relay():
                pass  # the state says it from now on
            case attempts.PassBack():
                self._tell(action.failure)
            case attempts.GiveUp():
                self._give_up(action.tried)
            case attempts.Cut():
                self._cut(action.failure)
            case attempts.Close():
                self._drop()
                self._finish(499)
            case _:
                assert_never(action)

    def _send(self, action: attempts.Send) -> None:
        self._relay = self._head = None
        self._error.clear()
        self._stale_retried = False
        self._use(action.lease)
        lease, self._model = action.lease, action.model
        upstream = self._upstream = upstream_of(PROVIDERS[lease.provider], self._work.client)
        try:
            sent = self._work.sent(upstream, lease, action.model)
            begun = self._way.homes if self._way is not None else ()
            way = way_to(self._shop, upstream, lease, sent, action.home, begun, self._client.made)
        except BrokerError as error:
            self._unsendable(error)
            return
        except ValueError:
            self._unsendable(
                BrokerError(ErrorCode.MISCONFIGURED, "a header or the address of its API is not valid", hint="")
            )
            return
        self._way, self._body = way, sent.body
        self._witness.sent(way.attempt(lease, upstream, action.model, sent.body, action.home))
        connection = self._shop.pool.take(way.origin) if not action.delay else None
        if connection is not None:
            self._write(connection)
        else:
            self._later(self._connect(action.delay))

    def _elsewhere(self) -> bool:
        """Tell whether the upstream has a further host."""
        return self._way is not None and self._state.home + 1 < len(self._way.homes)

    def _unsendable(self, error: BrokerError) -> None:
        if error.code in _OWN_FAULT:
            self._step(attempts.Answered(400, failure_of(error)))
        else:
            self._step(attempts.Leased(None, f"{error.detail}; {error.hint}" if error.hint else error.detail))

    def _write(self, connection: UpstreamConnection) -> None:
        assert self._way is not None
        self._connection = connection
        self._deadlines.sent(self._shop.ticker.now)
        if self._client.blocked:
            connection.pause()
        connection.send(self, "POST", self._way.head, self._body)

    def _give(self, relay: Relay, out: bytes) -> None:
        """Hand converted bytes to the client, or deal with an answer that turned out to be none."""
        if relay.failure is not None and not self._state.relaying:
            self._no_answer(relay.failure)
            return
        if out:
            if not self._state.relaying:
                self._begin(relay)
            self._client.give(out)
        if relay.failure is not None:
            self._ended_badly(relay.failure)

    def _begin(self, relay: Relay) -> None:
        """The first byte: from here on there is no other account."""
        self._step(_GOOD)
        if self._lease is not None:
            self._shop.table.served(self._lease.account, self._lease.generation, self._model)
        self._client.begin(relay)

    def _no_answer(self, told: Failure) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.cancel()
        self._relay = None
        self._notes.attempted(self._upstream, str(told.status))
        self._step(attempts.Answered(told.status, timed(told, None, self._shop.clock.now().wall), self._elsewhere()))

    def _ended_badly(self, told: Failure) -> None:
        """The stream has told its own failure; what the upstream may still send is of no use."""
        self._state = msgspec.structs.replace(self._state, over=True)
        self._relay = None
        self._drop()
        self._notes.attempted(self._upstream, str(told.status))
        self._notes.line("the upstream's stream failed", told.message, self._lease, self._model)
        self._client.end()
        self._finish(self._client.status, cut=True)

    def _refused(self) -> None:
        head, upstream = self._head, self._upstream
        assert head is not None
        assert upstream is not None
        body, self._error = bytes(self._error), bytearray()
        said = refused(upstream, head, body, self._shop.clock.now().wall)
        told = said.told
        self._notes.attempted(self._upstream, said.outcome)
        if said.is_error:
            self._said = said
            self._notes.line(f"the upstream answered {head.status}", told.message, self._lease, self._model)
        self._step(attempts.Answered(told.status, told, self._elsewhere()))

    def _broke(self, failed: UpstreamError) -> None:
        self._notes.attempted(self._upstream, failed.kind.value)
        self._notes.line("the upstream failed", failed.text, self._lease, self._model)
        told = failure(504 if failed.kind in _TIMEOUTS else 502, failed.text, reason=failed.kind.value)
        self._step(attempts.Broken(told, self._elsewhere(), failed.kind in _SLOW))

    def _overdue(self, limit: Overtime) -> None:
        self._drop()
        self._notes.attempted(self._upstream, "total_timeout")
        text = f"the request was not answered within {limit.seconds:g} s"
        self._step(attempts.Overdue(failure(504, text, reason="total_timeout")))

    # --- what the client is told ---

    def _keep_alive(self) -> None:
        within = self._state.relaying and self._relay is not None and not self._relay.between
        if not (self._state.over or self._client.blocked or within):
            self._client.keep_alive()

    def _give_up(self, tried: tuple[attempts.Tried, ...]) -> None:
        now = self._shop.clock.now().wall
        self._tell(given_up(self._asked, tried, self._shop.table.accounts(), self._work.wanted.goals, now))

    def _tell(self, told: Failure) -> None:
        said = self._said
        own = said.untouched(self._work, self._id) if said is not None and said.told is told else None
        self._client.tell(told, own)
        self._notes.line("refused", told.message, self._lease, self._model)
        self._finish(told.status)

    def _cut(self, told: Failure) -> None:
        self._client.cut(self._relay, told)
        self._finish(self._client.status, cut=True)

    # --- waiting ---

    def _later(self, work: Coroutine[object, object, None]) -> None:
        self._task = spawn(self._guarded(work), name=f"proxy-job-{self._id}")

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - whatever goes wrong, the client is told
            _log.exception("request failed", extra={"request_id": self._id})
            self.fail(failure(500, "a fault of the proxy; its log has the details"))

    async def _connect(self, delay: float = 0.0) -> None:
        way = self._way
        assert way is not None
        if delay:
            await self._shop.clock.sleep(self._shop.jittered(delay))
        try:
            connection = await self._shop.pool.connect(way.origin)
        except UpstreamError as failed:
            if way.origin.via is None:  # else it may be the way alone, which others do not take
                self._shop.unreachable(way.homes[min(self._state.home, len(way.homes) - 1)])
            self._broke(failed)
            return
        self._write(connection)

    async def _borrow(self, action: attempts.Borrow) -> None:
        if action.delay:
            await self._shop.clock.sleep(self._shop.jittered(action.delay))
        self._step(await self._shop.table.borrow(action.account))

    async def _reject(self, action: attempts.Reject) -> None:
        self._step(await self._shop.table.reject(action.account, action.generation))

    def _use(self, lease: Lease | None) -> None:
        if self._lease is not None:
            self._shop.release(self._lease.account)
        if lease is not None:
            self._shop.take(lease.account)
        self._lease = lease

    def _finish(self, status: int, *, cut: bool = False) -> None:
        self._use(None)
        self._witness.ended(status, cut=cut)
        self._done(status)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
