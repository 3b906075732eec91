"""Looking at providers' token endpoints, and at the way there: only where the user asked for it.

Owns: one HEAD request to each, without a body, a token or an id of ours. Whatever answers will do: what counts is that it answers, and its Date header.
One that is reached through an outbound proxy is only connected to, and so are the outbound proxies themselves.
"""

import asyncio
import contextlib
import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from broker.doctor.facts import AuthFile, OutboundProxy, Reach
from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.model.network import Network, ProxyServer, Setting, Target, Unusable, read
from broker.network.tunnel import TunnelError, connect
from broker.providers.base import Provider

_AT_ONCE = 8


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow nobody elsewhere: an answer is an answer."""

    def redirect_request(self, *_: object) -> None:
        """Say that there is no further request."""


def reach(providers: Sequence[Provider], network: Network, clock: Clock, seconds: float) -> list[Reach]:
    """Ask the token endpoint of each provider that has one, by the provider's way; all at once, each for `seconds` at most."""
    known = [(each.name, each.endpoints.token_url) for each in providers if each.endpoints.token_url]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor") as pool:
        return list(pool.map(lambda each: _ask(each[0], each[1] or "", network, clock, seconds), known))


def proxies(network: Network, files: Sequence[AuthFile], *, online: bool, seconds: float) -> list[OutboundProxy]:
    """Look at every outbound proxy that is set. Where others may be asked, those that can be are connected to, all at once."""
    found = dict(_settings(network, files))
    told = [OutboundProxy(where, setting.why) for where, setting in found.items() if isinstance(setting, Unusable)]
    servers = [(where, each) for where, each in found.items() if isinstance(each, ProxyServer)] if online else []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor") as pool:
        asked = pool.map(lambda each: _dial(each[0], each[1], seconds), servers)
        return [*told, *(each for each in asked if each is not None)]


def _settings(network: Network, files: Sequence[AuthFile]) -> Iterator[tuple[str, Setting]]:
    if network.everywhere is not None:
        yield "network.proxy_url", network.everywhere
    for name, setting in network.providers.items():
        yield f"providers.{name}.proxy_url", setting
    for said in (network.environment.secure, network.environment.plain):
        if said is not None:
            yield said
    for file in files:
        if file.record is not None and file.record.routing.proxy_url is not None:
            yield str(file.path), read(file.record.routing.proxy_url)


def _dial(where: str, server: ProxyServer, seconds: float) -> OutboundProxy | None:
    try:
        socket.create_connection((server.host, server.port), timeout=seconds).close()
    except OSError as error:
        return OutboundProxy(where, f"names {server.shown}, which cannot be connected to: {_why(error)}")
    return None


def _ask(provider: str, url: str, network: Network, clock: Clock, seconds: float) -> Reach:
    host = urlsplit(url).netloc
    try:
        target = Target.of(url)
        server = network.route(provider, None, target).proxy()
        if server is not None:
            return Reach(provider, host, asyncio.run(_through(server, target, seconds)))
    except (BrokerError, ValueError) as error:
        return Reach(provider, host, str(error))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    # The config and the registry accept http and https only.
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310
    try:
        with opener.open(request, timeout=seconds) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        headers = error.headers
        error.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Reach(provider, host, _why(error))
    ahead = None
    with contextlib.suppress(ValueError):
        ahead = parsedate_to_datetime(headers.get("Date", "")).timestamp() - clock.now().wall
    return Reach(provider, host, ahead=ahead)


async def _through(server: ProxyServer, target: Target, seconds: float) -> str | None:
    """Return why there is no connection through a proxy; None where there is one."""
    try:
        async with asyncio.timeout(seconds):
            tls = ssl.create_default_context() if target.secure else None
            await connect(_Silent, server, target.host, target.port, tls)
    except TunnelError as error:
        return error.text
    except OSError as error:
        return f"{_why(error)}, through the proxy {server.address}"
    return None


class _Silent(asyncio.Protocol):
    """Hangs up at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hang up."""
        transport.close()


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    told = reason.strerror if isinstance(reason, OSError) else None
    return told or type(reason).__name__
