"""Requests to providers: token endpoints, discovery, the calls after a login.

Owns: the one HTTP session and the one TLS context of the daemon. Implements `broker.oauth.transport.Transport`. It must never follow a redirect (the
body of the request holds a refresh token), repeat a request, reuse a connection, keep a cookie, log a URL, or go past the outbound proxy that is set.
"""

import asyncio
import base64
import os
import ssl
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote_plus, urlsplit

import aiohttp
import yarl
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from broker import __version__
from broker.model.errors import BrokerError
from broker.model.network import Network, ProxyServer, Route, Target
from broker.model.secret import Secret
from broker.network.tunnel import TunnelError, connect, through
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.oauth.transport import AnswerLostError, NotSentError, Transport
from broker.settings.checks import is_loopback

if TYPE_CHECKING:
    from aiohttp.tracing import Trace

_DIRECT: Final = Network()
_MAX_ANSWER_BYTES = 1 << 20
_USER_AGENT = f"ccs-broker/{__version__}"


class _TooLongError(Exception):
    """The answer outgrew the limit."""


@dataclass(slots=True)
class _Progress:
    """How far one request came. `before` is run between the connection and the first byte; `proxy` is on the way."""

    before: Callable[[], Awaitable[None]] | None = None
    proxy: ProxyServer | None = None
    connected: bool = False


_progress: ContextVar[_Progress] = ContextVar("progress")


class Outbound:
    """Performs requests, each within `timeout` seconds for everything. Use as an async context manager, or `close` it."""

    def __init__(self, *, timeout: float, tls: ssl.SSLContext | None = None, network: Network = _DIRECT) -> None:
        """Open nothing yet. `tls` replaces the system's certificates (`SSL_CERT_FILE` applies to those); `network` says by which way."""
        self.network = network
        """May be replaced at any time; requests that begin later go by the new one."""
        self.timeout = timeout
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session; a later request opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self, request: HttpRequest, *, connected: Callable[[], Awaitable[None]] | None = None
    ) -> HttpResponse:
        """Send one request for nobody's account and return the whole answer, whatever its status; `connected` as in `Transport`.

        Raises:
            NotSentError: a URL that is neither https nor loopback, no way through the outbound proxy, or no connection: nothing was sent.
            AnswerLostError: connected, and then no whole answer of at most 1 MiB in time.
        """
        return await self._send(request, connected, None, None)

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
            raise NotSentError(f"cannot connect to {where} ({_why(error)})") from None

    async def _send(
        self,
        request: HttpRequest,
        connected: Callable[[], Awaitable[None]] | None,
        provider: str | None,
        own: Secret | None,
    ) -> HttpResponse:
        where = _checked_host(request.url)
        try:
            proxy = self.network.route(provider, own, Target.of(request.url)).proxy()
        except (BrokerError, ValueError) as error:
            raise NotSentError(f"cannot connect to {where} ({error})") from None
        where = where if proxy is None else f"{where} {through(proxy)}"
        progress = _Progress(connected, proxy)
        try:
            return await self._exchange(request, progress)
        except (aiohttp.ClientError, OSError, ValueError, _TooLongError) as error:
            if progress.connected:
                raise AnswerLostError(f"{where} gave no whole answer ({_why(error)})") from None
            raise NotSentError(f"cannot connect to {where} ({_why(error)})") from None

    async def _exchange(self, request: HttpRequest, progress: _Progress) -> HttpResponse:
        body = request.encode_body()
        _progress.set(progress)
        async with self._opened().request(
            request.method,
            yarl.URL(request.encode_url(), encoded=True),
            data=None if body is None else body[0],
            headers=_headers(request, None if body is None else body[1]),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=self.timeout),
        ) as answer:
            received = bytearray()
            async for piece in answer.content.iter_any():
                received += piece
                if len(received) > _MAX_ANSWER_BYTES:
                    raise _TooLongError
            return HttpResponse(
                answer.status, {name.lower(): value for name, value in answer.headers.items()}, bytes(received)
            )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A reused connection may be closed by the server in the moment we write to it, and then nobody knows whether the request was read.
            # With a new one for each request, "not connected" means "nothing was sent", and nothing else does.
            self._session = aiohttp.ClientSession(
                connector=_Connector(ssl=self._context(), force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                request_class=_Request,
            )
        return self._session

    def _context(self) -> ssl.SSLContext:
        self._tls = self._tls or ssl.create_default_context()
        return self._tls


@dataclass(frozen=True, slots=True)
class _OnBehalf:
    """A transport by the way of one provider or account."""

    perform: Callable[
        [HttpRequest, Callable[[], Awaitable[None]] | None, str | None, Secret | None], Awaitable[HttpResponse]
    ]
    origin: Transport
    provider: str
    own: Secret | None

    async def send(
        self, request: HttpRequest, *, connected: Callable[[], Awaitable[None]] | None = None
    ) -> HttpResponse:
        return await self.perform(request, connected, self.provider, self.own)

    def on_behalf(self, provider: str, own: Secret | None = None) -> Transport:
        return self.origin.on_behalf(provider, own)


class _NoTunnelError(aiohttp.ClientConnectionError):
    """A connection through a proxy that was not made; its text says why."""


class _Connector(aiohttp.TCPConnector):
    """Makes the connection through the proxy of the request, where it has one; aiohttp's own way counts a proxy's refusal as an answer."""

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> ResponseHandler:
        proxy = _progress.get().proxy
        if proxy is None:
            return await super()._create_connection(req, traces, timeout)
        target = Target.of(str(req.url.origin()))
        tls = self._ssl if target.secure and isinstance(self._ssl, ssl.SSLContext) else None
        try:
            return await connect(lambda: ResponseHandler(self._loop), proxy, target.host, target.port, tls)
        except (TunnelError, ssl.SSLError) as error:
            raise _NoTunnelError(_why(error)) from None


class _Silent(asyncio.Protocol):
    """Hangs up as soon as the connection stands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Request(aiohttp.ClientRequest):
    """Knows the moment in which the connection stands and nothing was sent: what is raised then closes the connection."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        await _note_connected(_progress.get())
        return await super().send(conn)


async def _note_connected(progress: _Progress) -> None:
    if progress.before is not None:
        await progress.before()
    progress.connected = True


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


def _why(error: Exception) -> str:
    """Say what went wrong in words that hold nothing of the request."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, (TunnelError, _NoTunnelError)):
        return str(error)
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return "its certificate is not trusted"
    if isinstance(error, _TooLongError):
        return "longer than 1 MiB"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _system_word(error.os_error) or error.os_error.strerror or "no such name"
    return (_system_word(error) if isinstance(error, OSError) else "") or type(error).__name__


def _system_word(error: OSError) -> str:
    """Return the system's word for an error; asyncio puts its own words, and the address, into strerror."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else ""
