"""The app on the server side of the wire.

Owns: `Front`, which begins with each request: the short way where one with the same head left a trail, else the long one. It must never look at more of it
than its head: whether the trail holds is the short way's to see.
"""

from broker.proxy.call import ClientCall, route_of
from broker.proxy.failures import failure, refusal
from broker.proxy.gateway import Gateway
from broker.proxy.headers import Headers
from broker.proxy.passing import taken_over
from broker.proxy.routes import Voice
from broker.proxy.shortcut import Shortcut
from broker.proxy.trail import Trail
from broker.proxy.wire.exchange import Call, Exchange


class Front:
    """Begins with each request (see `wire.exchange.App`)."""

    __slots__ = ("_gateway",)

    def __init__(self, gateway: Gateway) -> None:
        """Serve what `gateway` has."""
        self._gateway = gateway

    def open(self, exchange: Exchange) -> Call:
        """Begin with a request."""
        trail = exchange.head.made.get(Trail)
        if isinstance(trail, Trail):
            return Shortcut(self._gateway, exchange, trail)
        where, request_id = exchange.head.derived(route_of), self._gateway.next_id()
        return ClientCall(self._gateway, exchange, where, request_id, taking_over=taken_over)

    def refusal(self, status: int, text: str) -> tuple[Headers, bytes]:
        """Word an error for a client of which nothing is known yet."""
        self._gateway.shop.meters.answered("none", status, 0.0)
        return refusal(failure(status, text), Voice.OPENAI, self._gateway.next_id())
