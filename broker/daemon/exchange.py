"""One request and its answer, by aiohttp.

Owns: the one HTTP session of the daemon. It must never follow a redirect, repeat a request, reuse a connection or keep a cookie. A module of its own, as
aiohttp takes a third of the daemon's start to load, and a quarter of its memory: `broker.daemon.outbound` loads it with the first request.
"""

import asyncio
import contextlib
import functools
import logging
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import yarl
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from broker.daemon.progress import ExchangeError, Progress, system_word, why
from broker.model.network import ProxyServer, Target
from broker.network.tunnel import TunnelError, connect
from broker.oauth.messages import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from aiohttp.tracing import Trace

_log = logging.getLogger(__name__)

_MAX_ANSWER_BYTES = 1 << 20

_progress: ContextVar[Progress] = ContextVar("progress")


class Exchanges:
    """Performs requests. Close it."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        """Trust what `tls` does."""
        # A reused connection may be closed by the server in the moment we write to it, and then nobody knows whether the request was read.
        # With a new one for each request, "not connected" means "nothing was sent", and nothing else does.
        self._session = aiohttp.ClientSession(
            connector=_Connector(tls),
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
                async for piece in answer.content.iter_any():
                    _take(progress, piece)
                _take(progress, b"")  # what was taken before is not read again
                return progress.answer or _end(progress, answer.status, answer.headers)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if progress.answer is not None:
                return progress.answer  # what went wrong after it takes nothing from it
            raise ExchangeError(_why(error)) from None


def _take(progress: Progress, piece: bytes) -> None:
    progress.received += piece
    if len(progress.received) > _MAX_ANSWER_BYTES:
        raise ExchangeError("longer than 1 MiB")


def _end(progress: Progress, status: int, headers: Mapping[str, str]) -> HttpResponse:
    answer = HttpResponse(status, {name.lower(): value for name, value in headers.items()}, bytes(progress.received))
    progress.end(answer)
    return answer


class _Listener(ResponseHandler):
    """A connection that ends the progress of its request in the step in which the last byte of the answer arrives.

    Who reads the answer goes on a turn of the event loop later, behind all that the others have to do in this one, and ends it where this does not: an
    answer that is too long to be held here, or ends with the connection. What is looked into here aiohttp does not promise to keep as it is: where another
    release has it otherwise, the answer must come to who reads all the same.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._progress = _progress.get()
        self._begun: list[tuple[RawResponseMessage, StreamReader]] = []

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], *size: int, **named: int) -> None:
        super().feed_data(data, *size, **named)
        self._begun.append(data)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Without data, this is called from within the reading of the content, by who reads.
        if data and self._progress.answer is None:
            try:
                self._listen()
            except Exception:  # noqa: BLE001 - raised from here, it would end the connection
                _log.exception("an answer is heard later than it arrived")

    def _listen(self) -> None:
        for message, content in self._begun:
            if message.code >= HTTPStatus.OK:
                if content.is_eof() and content.exception() is None:
                    self._end(message, content.read_nowait())
                return

    def _end(self, message: RawResponseMessage, rest: bytes) -> None:
        with contextlib.suppress(ExchangeError):  # who reads comes upon it too
            _take(self._progress, rest)
            _end(self._progress, message.code, message.headers)


class _NoTunnelError(aiohttp.ClientConnectionError):
    """A connection through a proxy that was not made; its text says why."""


class _Connector(aiohttp.TCPConnector):
    """Makes the connection through the proxy of the request, where it has one; aiohttp's own way counts a proxy's refusal as an answer."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(ssl=tls, force_close=True, limit=0)
        listener: type[ResponseHandler] = _Listener
        self._factory = functools.partial(listener, loop=self._loop)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> ResponseHandler:
        progress = _progress.get()
        if progress.proxy is None:
            made = await super()._create_connection(req, traces, timeout)
        else:
            made = await self._tunnelled(req, progress.proxy)
        progress.connected = True  # `_Request` knows better; should it not be asked, something may have been sent
        return made

    async def _tunnelled(self, req: aiohttp.ClientRequest, proxy: ProxyServer) -> ResponseHandler:
        target = Target.of(str(req.url.origin()))
        tls = self._ssl if target.secure and isinstance(self._ssl, ssl.SSLContext) else None
        try:
            return await connect(lambda: _Listener(self._loop), proxy, target.host, target.port, tls)
        except (TunnelError, ssl.SSLError) as error:
            raise _NoTunnelError(why(error)) from None


class _Request(aiohttp.ClientRequest):
    """Knows the moment in which the connection stands and nothing was sent: what is raised then closes the connection."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        progress = _progress.get()
        if progress.before is not None:
            progress.connected = False
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
