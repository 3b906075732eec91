"""The sockets: who may connect, how many, and from a request to its answer.

Owns: accepting, the peer's uid, limits, and the translation between aiohttp and `broker.daemon.dispatch`, which decides what is answered. It must
never read a byte from a peer that is not ours, or wait for one that does not read.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from dataclasses import dataclass, field, replace
from typing import Final

from aiohttp import web

from broker.config import SocketConfig
from broker.daemon.connection import COMMON_HEADERS, Connection, problem_response, raw_problem, too_slow
from broker.daemon.dispatch import Answer, Dispatch
from broker.daemon.stream import Stream
from broker.ipc.operations import EVENT_STREAM, Name, allowed_methods, resolve
from broker.ipc.unix import peer_pid, peer_uid
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.logs import request_id
from broker.observe.metrics import Metrics
from broker.observe.tasks import spawn

_log = logging.getLogger(__name__)

HOSTS: Final = frozenset({"ccs-broker", "localhost"})
"""The `Host` headers we answer to. A browser tricked into reaching a socket would send another one."""

_ACCEPT_PAUSE_SECONDS = 0.1  # after "too many open files": a busy loop would make it worse


@dataclass(slots=True)
class _Door:
    """One of the two sockets."""

    name: str
    control: bool
    listener: socket.socket
    manager: web.Server
    accepting: asyncio.Task[None] | None = None
    open: set[Connection] = field(default_factory=set)


class Server:
    """Serves both sockets."""

    def __init__(
        self, dispatch: Dispatch, metrics: Metrics, config: SocketConfig, *, keepalive_seconds: float = 15.0
    ) -> None:
        """`keepalive_seconds` between the comments on a silent push stream."""
        self._dispatch = dispatch
        self._metrics = metrics
        self._config = config
        self._keepalive = keepalive_seconds
        self._uid = os.geteuid()
        self._doors: list[_Door] = []
        self._streams: set[Stream] = set()
        self._numbers = itertools.count(1)
        self._stopping = False

    def start(self, token: socket.socket, control: socket.socket) -> None:
        """Accept on both listening sockets."""
        for name, listener in (("token", token), ("control", control)):
            self._open_door(name, listener)

    def _open_door(self, name: str, listener: socket.socket) -> None:
        control = name == "control"

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._handle(door, request)

        door = _Door(name, control, listener, web.Server(handle, handler_cancellation=True))
        door.accepting = spawn(self._accept(door), name=f"accept-{name}")
        self._doors.append(door)

    async def stop(self, seconds: float) -> None:
        """Accept no more, end the push streams, let requests under way be answered within `seconds`, then hang up."""
        self._stopping = True
        accepting = [door.accepting for door in self._doors if door.accepting is not None]
        for task in accepting:
            task.cancel()
        if accepting:
            await asyncio.wait(accepting)
        for stream in list(self._streams):
            stream.close()
        for door in self._doors:
            door.manager.pre_shutdown()  # idle connections end now
        await asyncio.gather(*(door.manager.shutdown(seconds) for door in self._doors))

    # -- accepting

    async def _accept(self, door: _Door) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, _ = await loop.sock_accept(door.listener)
            except OSError as error:
                _log.error("cannot accept", extra={"socket": door.name, "error": error.strerror})
                await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            if not self._refused(door, peer):
                await loop.connect_accepted_socket(lambda: self._connection(door), peer)

    def _refused(self, door: _Door, peer: socket.socket) -> bool:
        """Hang up on a peer of another user, without reading, and on one too many, saying so."""
        try:
            uid = peer_uid(peer)
        except OSError:
            uid = -1
        if uid != self._uid:
            self._metrics.refused(door.name, ErrorCode.FORBIDDEN_PEER.value)
            _log.warning(
                "connection of another user refused", extra={"socket": door.name, "uid": uid, "pid": peer_pid(peer)}
            )
            peer.close()
            return True
        if sum(len(each.open) for each in self._doors) < self._config.max_connections:
            return False
        self._metrics.refused(door.name, ErrorCode.TOO_MANY.value)
        full = BrokerError(ErrorCode.TOO_MANY, f"{self._config.max_connections} connections are open", retry_after=1.0)
        with contextlib.suppress(OSError):
            peer.setblocking(False)
            peer.send(raw_problem(full))
        peer.close()
        return True

    def _connection(self, door: _Door) -> Connection:
        made = Connection(
            door.manager,
            request_seconds=self._config.request_timeout_seconds,
            closed=lambda connection: self._closed(door, connection),
            now=self._now,
        )
        door.open.add(made)
        self._metrics.connections(door.name, len(door.open))
        return made

    def _now(self) -> float:
        return self._dispatch.accounts.clock.now().boot

    def _closed(self, door: _Door, connection: Connection) -> None:
        door.open.discard(connection)
        self._metrics.connections(door.name, len(door.open))

    # -- requests

    async def _handle(self, door: _Door, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        deadline = connection.begin()
        number = f"{next(self._numbers):x}"
        request_id.set(number)
        try:
            response = await self._respond(door, request, connection, deadline)
            response.headers["X-Request-Id"] = number
            if not response.prepared:
                await self._write(request, response)
        finally:
            connection.end()
        return response

    async def _respond(
        self, door: _Door, request: web.BaseRequest, connection: Connection, deadline: float
    ) -> web.StreamResponse:
        target = request.raw_path
        try:
            _check_caller(request)
            body = await self._body(request, deadline)
            self._check_open()
            call = resolve(request.method, target, control=door.control)
            if call.operation.name is Name.WATCH and request.method == "GET":
                return await self._watch(request)
            return _response(await self._dispatch.perform(replace(call, waited=connection.waited), body))
        except BrokerError as error:
            extra = {"Allow": ", ".join(allowed_methods(target, control=door.control))}
            unread = not request.content.is_eof()
            if error.code in (ErrorCode.FORBIDDEN_PEER, ErrorCode.TOO_LARGE, ErrorCode.TOO_SLOW):
                self._metrics.refused(door.name, error.code.value)
            return problem_response(error, extra if error.code is ErrorCode.METHOD_NOT_ALLOWED else None, close=unread)

    def _check_open(self) -> None:
        if self._stopping:
            raise BrokerError(ErrorCode.STOPPING, "the daemon is stopping")

    async def _body(self, request: web.BaseRequest, deadline: float) -> bytes:
        if not request.body_exists:
            return b""
        limit = self._config.max_body_bytes
        too_large = BrokerError(ErrorCode.TOO_LARGE, f"the body is longer than {limit} bytes")
        if (request.content_length or 0) > limit:
            raise too_large
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            async with asyncio.timeout_at(deadline):
                async for piece in request.content.iter_any():
                    body += piece
                    if len(body) > limit:
                        raise too_large
        except TimeoutError:
            raise too_slow(self._config.request_timeout_seconds) from None
        except web.RequestPayloadError:
            raise BrokerError(ErrorCode.BAD_REQUEST, "the body is not framed as HTTP/1.1 says") from None
        return bytes(body)

    async def _write(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Send an answer; a client that does not read it in time is hung up on."""
        try:
            async with asyncio.timeout(self._config.request_timeout_seconds):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError from None

    # -- the push stream

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.version < (1, 1) or request.transport is None:
            raise BrokerError(ErrorCode.BAD_REQUEST, "the push stream needs HTTP/1.1")
        response = web.StreamResponse(headers={**COMMON_HEADERS, "Content-Type": EVENT_STREAM})
        response.enable_chunked_encoding()
        await response.prepare(request)
        stream = Stream(request.transport, cut=self._metrics.cut)
        data, leave = self._dispatch.hub.join(stream.take, request.headers.get("Last-Event-ID"))
        self._streams.add(stream)
        self._metrics.watchers(len(self._streams))
        try:
            stream.begin(data)
            await stream.run(self._keepalive)
        finally:
            leave()
            self._streams.discard(stream)
            self._metrics.watchers(len(self._streams))
        response.force_close()
        return response


def _check_caller(request: web.BaseRequest) -> None:
    """Refuse what a browser sends, and what was meant for another host (RFC 9112 section 3.2)."""
    for name in ("Origin", "Referer"):
        if name in request.headers:
            raise BrokerError(
                ErrorCode.FORBIDDEN_PEER, f"requests with {name} are refused: browsers have no business here"
            )
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1:
        raise BrokerError(ErrorCode.BAD_REQUEST, "a request has one Host header")
    if hosts[0].lower() not in HOSTS:
        raise BrokerError(
            ErrorCode.FORBIDDEN_PEER, f"this is not the host {hosts[0][:60]!r}", hint="Send Host: localhost."
        )


def _response(answer: Answer) -> web.Response:
    headers = {**COMMON_HEADERS, "Content-Type": answer.media_type}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
