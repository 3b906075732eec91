"""Connections to a target, through an outbound proxy or directly.

Owns: the tunnel (CONNECT, RFC 9110 section 9.3.6, over TCP or TLS; SOCKS 5, RFC 1928 and 1929) and the TLS inside it, which is with the target and in its
name. A proxy that is down or refuses is an error that names the proxy: it must never connect directly instead, and never show what the proxy was sent.
"""

import asyncio
import base64
import os
import re
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar, final

from broker.model.network import ProxyServer, Scheme

P = TypeVar("P", bound=asyncio.Protocol)

_MAX_HEAD_BYTES: Final = 16_384
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r\n]")
_SOCKS_SECONDS: Final = 3600.0  # the deadline is the caller's
_AUTHENTICATE: Final = 407


class TunnelError(Exception):
    """There is no way through the proxy. `text` is a sentence that names the proxy, and holds nothing secret; not one byte went to the target."""

    def __init__(self, text: str) -> None:
        """Carry the sentence."""
        super().__init__(text)
        self.text = text


async def connect(
    factory: Callable[[], P], proxy: ProxyServer | None, host: str, port: int, tls: ssl.SSLContext | None
) -> P:
    """Connect to host and port, with `tls` or in clear, and return the protocol, whose `connection_made` has been called.

    Raises:
        TunnelError: the proxy cannot be reached, refuses, or does not answer as one.
        OSError: as `loop.create_connection`, of the target; `ssl.SSLError` where its certificate is not trusted.
    """
    loop = asyncio.get_running_loop()
    if proxy is None:
        _, protocol = await loop.create_connection(factory, host, port, ssl=tls)
        return protocol
    if proxy.scheme in (Scheme.SOCKS5, Scheme.SOCKS5H):
        return await _by_socks(factory, proxy, host, port, tls)
    return await _by_connect(factory, proxy, host, port, tls)


def through(proxy: ProxyServer) -> str:
    """Say which proxy, for a sentence about a connection."""
    return f"through the proxy {proxy.address}"


# --- SOCKS ---


async def _by_socks(
    factory: Callable[[], P], proxy: ProxyServer, host: str, port: int, tls: ssl.SSLContext | None
) -> P:
    # As long to load as a tenth of a start, for a way that few go.
    from python_socks import ProxyConnectionError, ProxyError, ProxyType  # noqa: PLC0415
    from python_socks.async_.asyncio import Proxy  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    user = proxy.user.reveal() if proxy.user is not None else None
    password = proxy.password.reveal() if proxy.password is not None else None
    dialer = Proxy(ProxyType.SOCKS5, proxy.host, proxy.port, user, password, rdns=proxy.scheme is Scheme.SOCKS5H)
    try:
        sock = await dialer.connect(host, port, timeout=_SOCKS_SECONDS)
    except ProxyConnectionError as error:
        raise TunnelError(_unreachable(proxy, error)) from None
    except ProxyError as error:
        raise TunnelError(f"the proxy {proxy.address} made no connection: {_told(error)}") from None
    except OSError as error:
        # What is left is the target's name, looked up here.
        raise TunnelError(f"no address of {host} is known here: {_reason(error)}") from None
    except UnicodeError:
        raise TunnelError(f"the proxy {proxy.address} cannot be told this host") from None
    try:
        _, protocol = await loop.create_connection(
            factory, sock=sock, ssl=tls, server_hostname=host if tls is not None else None
        )
    except BaseException:
        sock.close()
        raise
    return protocol


def _told(error: Exception) -> str:
    text = str(error)
    return text[:100] if text.isascii() and text.isprintable() else "it refused"


# --- CONNECT ---


async def _by_connect(
    factory: Callable[[], P], proxy: ProxyServer, host: str, port: int, tls: ssl.SSLContext | None
) -> P:
    loop = asyncio.get_running_loop()
    outer = _to_proxies() if proxy.scheme is Scheme.HTTPS else None
    try:
        transport, asking = await loop.create_connection(
            lambda: _Asking(loop.create_future(), proxy.address), proxy.host, proxy.port, ssl=outer
        )
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or "TLS failed"
        raise TunnelError(f"no secure connection to the proxy {proxy.address}: {reason}") from None
    except OSError as error:
        raise TunnelError(_unreachable(proxy, error)) from None
    try:
        transport.write(_request(proxy, host, port))
        _accept(proxy, await asking.answer)
        return await _begin(factory(), transport, host, tls)
    except BaseException:
        transport.abort()
        raise


async def _begin(protocol: P, transport: asyncio.Transport, host: str, tls: ssl.SSLContext | None) -> P:
    if tls is None:
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return protocol
    loop = asyncio.get_running_loop()
    inner = await loop.start_tls(transport, protocol, tls, server_hostname=host)
    if inner is None:
        raise ConnectionResetError("the connection ended within the handshake")
    protocol.connection_made(inner)
    return protocol


def _request(proxy: ProxyServer, host: str, port: int) -> bytes:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        name = authority.encode("ascii")
    except UnicodeEncodeError:
        raise TunnelError(f"the proxy {proxy.address} cannot be told this host") from None
    head = b"CONNECT " + name + b" HTTP/1.1\r\nHost: " + name + b"\r\n"
    if proxy.user is not None and proxy.password is not None:
        pair = f"{proxy.user.reveal()}:{proxy.password.reveal()}".encode()
        head += b"Proxy-Authorization: Basic " + base64.b64encode(pair) + b"\r\n"
    return head + b"\r\n"


def _accept(proxy: ProxyServer, status: int) -> None:
    if status == _AUTHENTICATE:
        raise TunnelError(f"the proxy {proxy.address} refused the user name or password, or wants one (407)")
    if not 200 <= status < 300:
        raise TunnelError(f"the proxy {proxy.address} made no connection (it answered {status})")


@final
class _Asking(asyncio.Protocol):
    """Waits for the head of a proxy's answer. Bytes behind it would be nobody's: neither side has spoken yet."""

    def __init__(self, answer: "asyncio.Future[int]", proxy: str) -> None:
        self.answer = answer
        self._head = b""
        self._proxy = proxy

    def data_received(self, data: bytes) -> None:
        if self.answer.done():
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0 and len(self._head) <= _MAX_HEAD_BYTES:
            return
        found = _STATUS.match(self._head)
        status = int(found[1]) if found and end >= 0 else 0
        rest = len(self._head) - end - 4
        if not status or (200 <= status < 300 and rest):
            self._fail("did not answer as a proxy does")
        else:
            self.answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.answer.done():
            self._fail("closed the connection without an answer")

    def _fail(self, what: str) -> None:
        self.answer.set_exception(TunnelError(f"the proxy {self._proxy} {what}"))


# --- helpers ---


@lru_cache(maxsize=1)
def _to_proxies() -> ssl.SSLContext:
    return ssl.create_default_context()


def _unreachable(proxy: ProxyServer, error: OSError) -> str:
    return f"cannot connect to the proxy {proxy.address}: {_reason(error)}"


def _reason(error: OSError) -> str:
    # asyncio's text for a refusal is "Connect call failed" and the address; the system's own word is plainer.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or "the connection failed"
