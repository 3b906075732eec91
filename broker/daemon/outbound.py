"""Requests to providers: token endpoints, discovery, the calls after a login.

Owns: the one TLS context of the daemon, and by which way a request goes. Implements `broker.oauth.transport.Transport`. It must never follow a redirect
(the body of the request holds a refresh token), repeat a request, reuse a connection, keep a cookie, log a URL, or go past the outbound proxy that is set.
How a request is sent is `broker.daemon.exchange`'s.
"""

import asyncio
import base64
import contextlib
import importlib
import ssl
import sys
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote_plus, urlsplit

import msgspec

from broker import __version__
from broker.daemon.progress import ExchangeError, Progress, why
from broker.model.errors import BrokerError
from broker.model.network import Network, Route, Target
from broker.model.secret import Secret
from broker.network.tunnel import TunnelError, connect, through
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.oauth.transport import AnswerLostError, Connected, Heard, NotSentError, Transport
from broker.settings.checks import is_loopback

if TYPE_CHECKING:
    from broker.daemon.exchange import Exchanges

_DIRECT: Final = Network()
_EXCHANGE: Final = "broker.daemon.exchange"
_USER_AGENT = f"ccs-broker/{__version__}"


class Outbound:
    """Performs requests, each within `timeout` seconds for everything. Use as an async context manager, or `close` it."""

    def __init__(self, *, timeout: float, tls: ssl.SSLContext | None = None, network: Network = _DIRECT) -> None:
        """Open nothing yet. `tls` replaces the system's certificates (`SSL_CERT_FILE` applies to those); `network` says by which way."""
        self.network = network
        """May be replaced at any time; requests that begin later go by the new one."""
        self.timeout = timeout
        self._tls = tls
        self._exchanges: Exchanges | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session; a later request opens another."""
        exchanges, self._exchanges = self._exchanges, None
        if exchanges is not None:
            await exchanges.close()

    async def send(
        self, request: HttpRequest, *, connected: Connected | None = None, heard: Heard | None = None
    ) -> HttpResponse:
        """Send one request for nobody's account and return the whole answer, whatever its status; `connected` and `heard` as in `Transport`.

        Raises:
            NotSentError: a URL that is neither https nor loopback, no way through the outbound proxy, or no connection: nothing was sent.
            AnswerLostError: connected, and then no whole answer of at most 1 MiB in time.
        """
        return await self._send(request, connected, heard, None, None)

    def on_behalf(self, provider: str, own: Secret | None = None) -> Transport:
        """As in `Transport`."""
        return _OnBehalf(self._send, self, provider, own)

    async def probe(self, url: str, route: Route) -> None:
        """Connect to the host of a URL by a way, with the TLS handshake, and hang up: nothing is sent.

        Raises:
            NotSentError: there is no way, or it does not lead there in time.
        """
        where, target = _checked_host(url), Target.of(url)
        try:
            proxy = route.proxy()
            where = where if proxy is None else f"{where} {through(proxy)}"
            async with asyncio.timeout(self.timeout):
                await connect(_Silent, proxy, target.host, target.port, self._context() if target.secure else None)
        except BrokerError as error:
            raise NotSentError(error.detail) from None
        except (TunnelError, OSError, ValueError) as error:
            raise NotSentError(f"cannot connect to {where} ({why(error)})") from None

    async def _send(
        self,
        request: HttpRequest,
        connected: Connected | None,
        heard: Heard | None,
        provider: str | None,
        own: Secret | None,
    ) -> HttpResponse:
        where = _checked_host(request.url)
        try:
            proxy = self.network.route(provider, own, Target.of(request.url)).proxy()
        except (BrokerError, ValueError) as error:
            raise NotSentError(f"cannot connect to {where} ({error})") from None
        where = where if proxy is None else f"{where} {through(proxy)}"
        progress = Progress(connected, heard, proxy)
        try:
            return await self._exchange(request, progress)
        except (ExchangeError, OSError, ValueError) as error:
            if progress.connected:
                raise AnswerLostError(f"{where} gave no whole answer ({why(error)})") from None
            raise NotSentError(f"cannot connect to {where} ({why(error)})") from None

    async def _exchange(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        body = request.encode_body()
        headers = _headers(request, None if body is None else body[1])
        exchanges = await self._opened()
        return await exchanges.perform(request, headers, None if body is None else body[0], self.timeout, progress)

    async def prepare(self) -> bool:
        """Load what requests need; tell whether that was to be done. What cannot be loaded now is told by the request that needs it."""
        if _EXCHANGE in sys.modules:
            return False
        with contextlib.suppress(OSError, ImportError):
            await _load()
        return True

    async def _opened(self) -> "Exchanges":
        if _EXCHANGE not in sys.modules:
            await _load()
        from broker.daemon.exchange import Exchanges  # noqa: PLC0415

        self._exchanges = self._exchanges or Exchanges(self._context())
        return self._exchanges

    def _context(self) -> ssl.SSLContext:
        self._tls = self._tls or ssl.create_default_context()
        return self._tls


async def _load() -> None:
    await asyncio.to_thread(importlib.import_module, _EXCHANGE)  # in a thread: leases are served meanwhile


class _OnBehalf(msgspec.Struct, frozen=True):
    """A transport by the way of one provider or account."""

    perform: Callable[[HttpRequest, Connected | None, Heard | None, str | None, Secret | None], Awaitable[HttpResponse]]
    origin: Transport
    provider: str
    own: Secret | None

    async def send(
        self, request: HttpRequest, *, connected: Connected | None = None, heard: Heard | None = None
    ) -> HttpResponse:
        return await self.perform(request, connected, heard, self.provider, self.own)

    def on_behalf(self, provider: str, own: Secret | None = None) -> Transport:
        return self.origin.on_behalf(provider, own)


class _Silent(asyncio.Protocol):
    """Hangs up as soon as the connection stands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _checked_host(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise NotSentError(f"{parts.scheme}://{parts.hostname} is neither https nor loopback")
    return parts.hostname or "no host"


def _headers(request: HttpRequest, content_type: str | None) -> dict[str, str]:
    headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **request.headers}
    if content_type is not None:
        headers.setdefault("Content-Type", content_type)  # some vendors want a kind of JSON of their own
    if request.bearer is not None:
        headers["Authorization"] = f"{request.scheme} {request.bearer.reveal()}"
    elif request.basic is not None:
        client_id, secret = request.basic
        pair = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers
