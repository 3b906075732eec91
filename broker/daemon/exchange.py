"""One request and its answer, by aiohttp.

Owns: the one HTTP session of the daemon. It must never follow a redirect, repeat a request, reuse a connection or keep a cookie. A module of its own, as
aiohttp takes a third of the daemon's start to load, and a quarter of its memory: `broker.daemon.outbound` loads it with the first request.
"""

import ssl
from contextvars import ContextVar
from typing import TYPE_CHECKING

import aiohttp
import yarl
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from broker.daemon.progress import ExchangeError, Progress, system_word, why
from broker.model.network import Target
from broker.network.tunnel import TunnelError, connect
from broker.oauth.messages import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from aiohttp.tracing import Trace

_MAX_ANSWER_BYTES = 1 << 20

_progress: ContextVar[Progress] = ContextVar("progress")


class Exchanges:
    """Performs requests. Close it."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        """Trust what `tls` does."""
        # A reused connection may be closed by the server in the moment we write to it, and then nobody knows whether the request was read.
        # With a new one for each request, "not connected" means "nothing was sent", and nothing else does.
        self._session = aiohttp.ClientSession(
            connector=_Connector(ssl=tls, force_close=True, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            request_class=_Request,
        )

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def perform(
        self, request: HttpRequest, headers: dict[str, str], body: bytes | None, seconds: float, progress: Progress
    ) -> HttpResponse:
        """Send one request, which `seconds` bound as a whole; `progress` tells at any time how far it came.

        Raises:
            ExchangeError: why there is no whole answer of at most 1 MiB.
        """
        _progress.set(progress)
        try:
            async with self._session.request(
                request.method,
                yarl.URL(request.encode_url(), encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as answer:
                received = await _whole(answer)
                head = {name.lower(): value for name, value in answer.headers.items()}
                return HttpResponse(answer.status, head, received)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ExchangeError(_why(error)) from None


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    received = bytearray()
    async for piece in answer.content.iter_any():
        received += piece
        if len(received) > _MAX_ANSWER_BYTES:
            raise ExchangeError("longer than 1 MiB")
    return bytes(received)


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
            raise _NoTunnelError(why(error)) from None


class _Request(aiohttp.ClientRequest):
    """Knows the moment in which the connection stands and nothing was sent: what is raised then closes the connection."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        progress = _progress.get()
        if progress.before is not None:
            await progress.before()
        progress.connected = True
        return await super().send(conn)


def _why(error: Exception) -> str:
    """Say what went wrong in words that hold nothing of the request."""
    if isinstance(error, _NoTunnelError):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, ssl.SSLCertVerificationError):
        return system_word(error.os_error) or error.os_error.strerror or "no such name"
    return why(error)
