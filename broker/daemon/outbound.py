"""Requests to providers: token endpoints, discovery, the calls after a login.

Owns: the one HTTP session and the one TLS context of the daemon. Implements `broker.oauth.transport.Transport`. It must never follow a redirect (the
body of the request holds a refresh token), repeat a request, reuse a connection, keep a cookie, use a proxy from the environment, or log a URL.
"""

import base64
import os
import ssl
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote_plus, urlsplit

import aiohttp
import yarl
from aiohttp.connector import Connection

from broker import __version__
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.oauth.transport import AnswerLostError, NotSentError
from broker.settings.checks import is_loopback

_MAX_ANSWER_BYTES = 1 << 20
_USER_AGENT = f"ccs-broker/{__version__}"


class _TooLongError(Exception):
    """The answer outgrew the limit."""


@dataclass(slots=True)
class _Progress:
    """How far one request came. `before` is run between the connection and the first byte."""

    before: Callable[[], Awaitable[None]] | None = None
    connected: bool = False


_progress: ContextVar[_Progress] = ContextVar("progress")


class Outbound:
    """Performs requests, each within `timeout` seconds for everything. Use as an async context manager, or `close` it."""

    def __init__(self, *, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        """Open nothing yet. `tls` replaces the system's certificates (`SSL_CERT_FILE` applies to those)."""
        self._timeout = timeout
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
        """Send one request and return the whole answer, whatever its status; `connected` as in `Transport`.

        Raises:
            NotSentError: a URL that is neither https nor loopback, or no connection: nothing was sent.
            AnswerLostError: connected, and then no whole answer of at most 1 MiB in time.
        """
        where = _checked_host(request.url)
        progress = _Progress(connected)
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
            self._tls = self._tls or ssl.create_default_context()
            # A reused connection may be closed by the server in the moment we write to it, and then nobody knows whether the request was read.
            # With a new one for each request, "not connected" means "nothing was sent", and nothing else does.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                trust_env=False,
                request_class=_Request,
            )
        return self._session


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
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno  # asyncio puts its own words, and the address, into strerror
        return os.strerror(number) if number and number > 0 else error.os_error.strerror or "no such name"
    if isinstance(error, _TooLongError):
        return "longer than 1 MiB"
    return type(error).__name__
