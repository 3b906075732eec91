"""The client's side of a job: its answer from the first byte to the last, however it ends.

Owns: starting, writing, comments in silence, errors before and after the first byte. It decides nothing about upstreams, and must never start an answer
twice.
"""

from collections.abc import Callable
from typing import Final

from broker.proxy.failures import error_event, refusal
from broker.proxy.headers import Headers
from broker.proxy.relays import Relay, Start, event_start
from broker.proxy.routes import Voice
from broker.proxy.wire.exchange import Exchange, Given
from broker.proxy.wire.ticker import Ticker
from broker.proxy.witness import Witness
from broker.translate.codecs import Dialect
from broker.translate.ir import Failure
from broker.translate.sse import encode_comment

_KEEP_ALIVE: Final = encode_comment("keep-alive")


class Answering:
    """One client's answer."""

    __slots__ = ("_dialect", "_exchange", "_id", "_ticker", "_voice", "_witness", "_wrote_at")

    def __init__(
        self, exchange: Exchange, voice: Voice, dialect: Dialect, request_id: str, ticker: Ticker, witness: Witness
    ) -> None:
        """Nothing is said yet."""
        self._exchange = exchange
        self._dialect = dialect
        self._voice = voice
        self._id = request_id
        self._ticker = ticker
        self._witness = witness
        self._wrote_at = ticker.now

    @property
    def blocked(self) -> bool:
        """Whether the client reads too slowly at present."""
        return self._exchange.blocked

    @property
    def status(self) -> int:
        """What it was started with; 0 before."""
        return self._exchange.status

    @property
    def made(self) -> dict[object, object]:
        """What was worked out of the client's head."""
        return self._exchange.head.made

    @property
    def started(self) -> bool:
        """Whether anything was said."""
        return self._exchange.started

    @property
    def ended(self) -> bool:
        """Whether all is said."""
        return self._exchange.ended

    def begin(self, relay: Relay) -> None:
        """Start as the relay has it, unless a comment was first."""
        if not self._exchange.started:
            self._start(relay.opening())

    def give(self, data: bytes) -> None:
        """Write bytes of the body; they go out at `flush`."""
        self._exchange.write(data)
        self._witness.given(data)
        self._wrote_at = self._ticker.now

    def flush(self) -> None:
        """Send what was written."""
        self._exchange.flush()

    def end(self) -> None:
        """Finish."""
        self._exchange.end()

    def guard(self, step: Callable[[*Given], None], *given: *Given) -> None:
        """Take a step as `Exchange.guard` does."""
        self._exchange.guard(step, *given)

    def resumed(self, since: float) -> None:
        """Count silence from `since`: the request was sent then."""
        self._wrote_at = since

    def silent(self, now: float) -> float:
        """Return for how many seconds nothing was written."""
        return now - self._wrote_at

    def keep_alive(self) -> None:
        """Write a comment, where a stream of events is or may be begun."""
        if not self._exchange.started:
            self._start(event_start(self._id.encode()))
        self.give(_KEEP_ALIVE)
        self.flush()

    def tell(self, told: Failure, own: tuple[Headers, bytes] | None) -> None:
        """Answer with an error, or end the stream with one. `own` is an upstream's, to pass as it is where nothing was said yet."""
        exchange = self._exchange
        if exchange.started:
            self.give(error_event(told, self._voice, self._id, self._dialect))
            exchange.end()
            return
        headers, body = own or refusal(told, self._voice, self._id)
        self._witness.started(told.status, headers)
        self._witness.given(body)
        exchange.reply(told.status, headers, body)

    def cut(self, relay: Relay | None, told: Failure) -> None:
        """End a started answer that has no end: with an event where one can stand, else by cutting the connection."""
        end = relay.ending(error_event(told, self._voice, self._id, self._dialect)) if relay is not None else None
        if end is None:
            self._exchange.abort()
        else:
            self.give(end)
            self._exchange.end()

    def _start(self, start: Start) -> None:
        self._witness.started(start.status, start.headers)
        self._exchange.start(start.status, start.headers, start.length)
