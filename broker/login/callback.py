"""The loopback callback of the code flow (RFC 8252 section 7.3).

Owns: the listener on 127.0.0.1 and ::1, and what it lets through: a GET of the one path, with our Host, carrying the state of the login under way, once.
It must never log a request, and no page of it repeats anything that came in one.
"""

import asyncio
import importlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from broker.login import pages
from broker.login.pages import Page
from broker.login.ports import bind_loopback, holder_of
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.code import Approved, Denied, read_callback, state_matches
from broker.providers.base import Redirect

if TYPE_CHECKING:
    from aiohttp import web

_log = logging.getLogger(__name__)

# aiohttp logs the text of a request it cannot parse, and the text of a callback holds the code.
_silent = logging.getLogger(f"{__name__}.http")
_silent.disabled = True
_silent.propagate = False

_QUERY_MAX = 8000
_STOP_SECONDS = 2.0  # a browser on the same machine reads a page of 2 KiB in far less

Returned = Approved | Denied
"""What a callback can be that belongs to a login."""

Answer = Callable[[Returned], Awaitable[Page]]
"""Told of the callback once; returns the page to show, in its own time."""


class CallbackListener:
    """A listener that waits for one callback. Make it with `open`."""

    def __init__(self, runner: "web.ServerRunner", port: int, host: str, path: str) -> None:
        """Wrap what `open` made."""
        self._runner = runner
        self.port = port
        self.redirect_uri = f"http://{host}:{port}{path}"

    @classmethod
    async def open(cls, redirect: Redirect, state: Secret, answer: Answer) -> Self:
        """Listen on the callback's port, or the first of its fallbacks that is free.

        Raises:
            BrokerError: `login_failed` where all are taken, with the program that holds the first where the system tells.
        """
        port, sockets = _bind(redirect)
        # With the first login and not with the daemon's start, of which it would be a third; in a thread, as leases are served meanwhile.
        await asyncio.to_thread(importlib.import_module, "aiohttp.web")
        from aiohttp import web  # noqa: PLC0415

        gate = _Gate(port, redirect.path, state, answer)
        runner = web.ServerRunner(
            web.Server(gate.handle, access_log=None, logger=_silent),
            handle_signals=False,
            shutdown_timeout=_STOP_SECONDS,
        )
        await runner.setup()
        for sock in sockets:
            await web.SockSite(runner, sock).start()
        return cls(runner, port, redirect.host, redirect.path)

    async def close(self) -> None:
        """Stop listening, after the page under way was sent. Calling it again does nothing."""
        await self._runner.cleanup()


class _Gate:
    """Decides about each request."""

    def __init__(self, port: int, path: str, state: Secret, answer: Answer) -> None:
        names = ("localhost", "127.0.0.1", "[::1]")
        bare = names if port == 80 else ()  # browsers leave out the port a scheme has by itself
        self._hosts = frozenset((*(f"{name}:{port}" for name in names), *bare))
        self._path = path
        self._state = state
        self._answer = answer
        self._used = False

    async def handle(self, request: "web.BaseRequest") -> "web.StreamResponse":
        from aiohttp import web  # noqa: PLC0415

        page = await self._page(request)
        body = page.render() if request.method != "HEAD" else b""
        return web.Response(status=page.status, body=body, headers=pages.HEADERS)

    async def _page(self, request: "web.BaseRequest") -> Page:
        # A name that resolves to loopback but is not ours is a site that wants to talk to us (DNS rebinding).
        if request.method != "GET" or request.headers.get("Host", "").lower() not in self._hosts:
            return pages.not_allowed()
        target = urlsplit(request.raw_path)
        if target.path != self._path or len(target.query) > _QUERY_MAX:
            return pages.not_here()
        match read_callback(Secret("?" + target.query)):
            case (Approved() | Denied()) as callback if state_matches(callback.state, self._state):
                return await self._once(callback)
            case _:
                return pages.wrong_state()

    async def _once(self, callback: Returned) -> Page:
        if self._used:
            return pages.ended()
        self._used = True
        return await self._answer(callback)


def _bind(redirect: Redirect) -> tuple[int, list[socket.socket]]:
    fault: OSError | None = None
    for port in redirect.ports:
        try:
            return bind_loopback(port)
        except OSError as error:
            fault = fault or error
    assert fault is not None
    raise _port_error(redirect, fault)


def _port_error(redirect: Redirect, error: OSError) -> BrokerError:
    port = redirect.port
    holder = holder_of(port) if port else None
    who = f" by {holder}" if holder else ""
    others = "".join(f", and so is {other}" for other in redirect.fallback_ports)
    detail = f"port {port} on loopback is taken{who}{others}" if port else "no port on loopback is free"
    # Fallbacks are there where the provider takes no other port.
    elsewhere = "" if redirect.fallback_ports else ", or set redirect_port in the config to another port (0 for any)"
    _log.warning("callback port not available", extra={"port": port, "errno": error.errno})
    return BrokerError(
        ErrorCode.LOGIN_FAILED,
        detail,
        hint=f"Stop that program, or use --no-browser{elsewhere}.",
        retryable=True,
    )
