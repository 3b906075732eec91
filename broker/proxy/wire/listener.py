"""What the connections of one listening socket share.

Owns: `Listener`. It must never look at what they say.
"""

import asyncio
from collections.abc import Callable

from broker.proxy.wire.exchange import App, Limits
from broker.proxy.wire.known import Alike
from broker.proxy.wire.server import ServerConnection
from broker.proxy.wire.ticker import Ticker
from broker.proxy.wire.turn import Turn


class Listener:
    """What the connections of one listening socket share."""

    def __init__(
        self,
        app: App,
        limits: Limits,
        ticker: Ticker,
        admit: Callable[[str], bool] = lambda _address: True,
        turn: Turn | None = None,
    ) -> None:
        """Serve `app` to peers whose address `admit` lets stay. What is read is framed when `turn` has it so; without one, at once."""
        self.app = app
        self.admit = admit
        self.limits = limits
        self.ticker = ticker
        self.connections: set[ServerConnection] = set()
        self.alike = Alike()
        self.turn = turn
        self.draining = False
        self.drained = asyncio.Event()
        """Set once `drain` was called and no connection is left."""

    def protocol(self) -> ServerConnection:
        """Make the protocol of a new connection (the factory `create_server` takes)."""
        return ServerConnection(self)

    def renew(self, limits: Limits, admit: Callable[[str], bool]) -> None:
        """Keep to other limits from now on, and part with those who would not be let in any more, after the answer they are owed."""
        if self.turn is not None:
            self.turn.take()
        self.limits = limits
        self.admit = admit
        for connection in list(self.connections):
            connection.renew(limits)
            if not admit(connection.peer[0]):
                connection.drain()

    def drain(self) -> None:
        """Close idle connections now and the others after the answer they owe."""
        if self.turn is not None:
            self.turn.take()  # what has come is owed one
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        self.left()

    def left(self) -> None:
        """Look whether anyone is still there."""
        if self.draining and not self.connections:
            self.drained.set()

    def abort(self) -> None:
        """Cut whatever is left."""
        for connection in list(self.connections):
            connection.abort()
