"""A small app on the server side of the wire, reached over a real socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from broker.proxy.wire.exchange import Exchange, Limits
from broker.proxy.wire.heads import Headers
from broker.proxy.wire.listener import Listener
from broker.proxy.wire.ticker import Ticker


@dataclass
class EchoCall:
    """Answers by path: /early refuses at the head, /hang never answers, /stream sends chunks, /boom fails; others echo the body."""

    app: "EchoApp"
    exchange: Exchange

    def on_head(self) -> None:
        self.app.log.append(f"head {self.exchange.head.path}")
        if self.exchange.head.path == "/early":
            self.exchange.reply(401, [], b"no")

    def on_body(self, body: bytes) -> None:
        exchange = self.exchange
        self.app.log.append(f"body {exchange.head.path} {len(body)}")
        match exchange.head.path:
            case "/hang":
                self.app.hanging.append(exchange)
            case "/stream":
                exchange.start(200, [(b"content-type", b"text/plain")])
                exchange.write(b"one")
                exchange.write(b"two")
                exchange.end()
            case "/boom":
                raise RuntimeError("planted")
            case "/boom-late":
                exchange.start(200, [])
                raise RuntimeError("planted")
            case "/204":
                exchange.reply(204, [])
            case "/flood":
                exchange.start(200, [])
                self.app.hanging.append(exchange)
            case _:
                exchange.reply(200, [], body or exchange.head.path.encode())

    def on_fault(self, status: int, text: str) -> None:
        self.app.log.append(f"fault {status}")
        self.exchange.reply(status, [], text.encode())

    def on_blocked(self, blocked: bool) -> None:
        self.app.log.append("blocked" if blocked else "unblocked")

    def on_gone(self) -> None:
        self.app.log.append("gone")
        self.app.gone.set()

    def tick(self, now: float) -> None:
        self.app.ticks += 1


@dataclass
class EchoApp:
    log: list[str] = field(default_factory=list)
    hanging: list[Exchange] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    ticks: int = 0

    def open(self, exchange: Exchange) -> EchoCall:
        return EchoCall(self, exchange)

    def refusal(self, status: int, text: str) -> tuple[Headers, bytes]:
        self.log.append(f"refusal {status}")
        return [], text.encode()


@dataclass
class Site:
    app: EchoApp
    listener: Listener
    port: int
    dialled: list[asyncio.StreamWriter] = field(default_factory=list)

    async def talk(self, *sent: bytes, end: bool = False) -> bytes:
        """Send pieces, and return all that comes until the server closes (or `end`: until the client has half-closed)."""
        reader, writer = await self.dial()
        answer = b""
        with contextlib.suppress(
            ConnectionError
        ):  # a server that has had enough resets; what it said before is still read
            for piece in sent:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            if end:
                writer.write_eof()
        with contextlib.suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.dialled.append(writer)
        return reader, writer


MakeSite = Callable[..., contextlib.AbstractAsyncContextManager[Site]]


@pytest.fixture
def site() -> MakeSite:
    @contextlib.asynccontextmanager
    async def make(**limits: float) -> AsyncIterator[Site]:
        app = EchoApp()
        ticker = Ticker(0.02)
        listener = Listener(app, Limits(**limits), ticker)  # type: ignore[arg-type]
        server = await asyncio.get_running_loop().create_server(listener.protocol, "127.0.0.1", 0)
        made = Site(app, listener, server.sockets[0].getsockname()[1])
        try:
            yield made
        finally:
            server.close()
            for writer in made.dialled:
                writer.transport.abort()
            listener.abort()
            await asyncio.sleep(0.01)
            ticker.close()

    return make
