"""Connections to upstreams, kept for reuse: last in, first out, one stack an origin and the outbound proxy before it.

Owns: making connections (TLS with one shared context, a deadline), keeping idle ones and letting them go. Losing reuse costs four times the
throughput and breaks nothing, so a test asserts it. It decides nothing about requests.
"""

import asyncio
import os
import ssl
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import msgspec

from broker.model.network import ProxyServer
from broker.network import tunnel
from broker.network.tunnel import TunnelError, through
from broker.proxy.wire import secure
from broker.proxy.wire.client import FailureKind, UpstreamConnection, UpstreamError
from broker.proxy.wire.ticker import Ticker
from broker.proxy.wire.turn import Turn

_IDLE_SECONDS: Final = 50.0  # Google's front ends close after 240 s, common servers after 60
_MAX_IDLE: Final = 128


class Origin(msgspec.Struct, frozen=True, cache_hash=True):
    """Where to connect (RFC 6454), and through which outbound proxy: two accounts that go different ways never share a connection."""

    scheme: str
    host: str
    port: int
    via: ProxyServer | None = None

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Return the origin of a URL."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        return cls(parts.scheme, parts.hostname or "", parts.port or (443 if secure else 80))

    @property
    def authority(self) -> bytes:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        return (host if usual else f"{host}:{self.port}").encode()


class Pool:
    """The connections of one worker."""

    def __init__(
        self, ticker: Ticker, connect_timeout: float, tls: ssl.SSLContext | None = None, turn: Turn | None = None
    ) -> None:
        """Keep none yet. `tls` is made at the first https origin if not given (it takes 35 ms); `turn` as for `UpstreamConnection`."""
        self._turn = turn
        self._ticker = ticker
        self.connect_timeout = connect_timeout
        self._tls = tls
        self._homes: dict[Origin, _Stack] = {}
        self.opened = 0
        self.open = 0
        self.closed = False
        ticker.add(self)

    def take(self, origin: Origin) -> UpstreamConnection | None:
        """Return the idle connection used last, if there is one."""
        home = self._homes.get(origin)
        while home is not None and home.idle:
            connection = home.idle.pop()
            if connection.usable:
                return connection
        return None

    async def connect(self, origin: Origin) -> UpstreamConnection:
        """Open a connection.

        Raises:
            UpstreamError: it could not be opened, or not in time, the way through the proxy included.
        """
        way = f" {through(origin.via)}" if origin.via is not None else ""
        home = self._homes.setdefault(origin, _Stack(self))
        context = self._context() if origin.scheme == "https" else None
        where = origin.via, origin.host, origin.port
        made = partial(UpstreamConnection, home, self._turn, self._ticker.time)
        try:
            async with asyncio.timeout(self.connect_timeout):
                if context is None:
                    return await tunnel.connect(made, *where, None)
                return await secure.connect(made, *where, context)
        except TimeoutError:
            text = f"{origin.host} did not accept a connection{way} within {self.connect_timeout:g} s"
            raise UpstreamError(FailureKind.CONNECT_TIMEOUT, text) from None
        except TunnelError as error:
            raise UpstreamError(FailureKind.CONNECT, error.text) from error
        except ssl.SSLError as error:
            text = f"no secure connection to {origin.host}{way}: {error.reason or 'TLS failed'}"
            raise UpstreamError(FailureKind.TLS, text) from error
        except UnicodeError as error:
            # Python's own look at a name, before anybody is asked for it.
            raise UpstreamError(FailureKind.CONNECT, f"{(origin.via or origin).host} is no name of a host") from error
        except OSError as error:
            # asyncio's text for a refusal is "Connect call failed" and the address; the system's own word is plainer.
            refused = isinstance(error, ConnectionError) and error.errno is not None
            reason = os.strerror(error.errno or 0) if refused else error.strerror or "the connection failed"
            text = f"cannot connect to {origin.host}:{origin.port}{way}: {reason}"
            raise UpstreamError(FailureKind.CONNECT, text) from error

    def idle(self) -> int:
        """Return how many connections wait for use."""
        return sum(len(home.idle) for home in self._homes.values())

    def close(self) -> None:
        """Close the idle connections and keep no more."""
        self.closed = True
        self._ticker.discard(self)
        for home in self._homes.values():
            idle, home.idle = home.idle, []
            for connection in idle:
                connection.close()

    def tick(self, now: float) -> None:
        """Let go of what has been idle too long; the oldest lie at the bottom."""
        for home in self._homes.values():
            while home.idle and now - home.idle[0].idle_since > _IDLE_SECONDS:
                home.idle.pop(0).close()
        if not self.idle():
            self._ticker.discard(self)

    def count(self) -> None:
        """Note a connection that was made."""
        self.opened += 1
        self.open += 1

    def keep(self, origin: Origin, connection: UpstreamConnection) -> None:
        """Put a free connection on the stack of an origin."""
        self.put(self._homes.setdefault(origin, _Stack(self)).idle, connection)

    def put(self, idle: list[UpstreamConnection], connection: UpstreamConnection) -> None:
        """Put a free connection on its stack."""
        if self.closed or len(idle) >= _MAX_IDLE:
            connection.close()
            return
        connection.idle_since = self._ticker.now
        idle.append(connection)
        if len(idle) == 1:
            self._ticker.add(self)

    def forget(self, idle: list[UpstreamConnection], connection: UpstreamConnection) -> None:
        """Take a closed connection off its stack."""
        self.open -= 1
        if connection in idle:
            idle.remove(connection)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


class _Stack:
    """The idle connections to an origin, the one used last at the end, and each one's way back there."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.idle: list[UpstreamConnection] = []

    def made(self, connection: UpstreamConnection) -> None:
        del connection
        self._pool.count()

    def released(self, connection: UpstreamConnection) -> None:
        self._pool.put(self.idle, connection)

    def lost(self, connection: UpstreamConnection) -> None:
        self._pool.forget(self.idle, connection)
