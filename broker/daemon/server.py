"""The sockets: who may connect, how many, and from a request to its answer.

Owns: accepting, the peer's uid, limits, and what stands between a connection and `broker.daemon.dispatch`, which decides what is answered. It must
never read a byte from a peer that is not ours.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from typing import Final

import msgspec

from broker.config import SocketConfig
from broker.daemon.connection import Connection, Limits, Request
from broker.daemon.dispatch import Dispatch
from broker.daemon.replies import LAST_CHUNK, Reply, found, problem, stream_head
from broker.daemon.shortcut import Shortcut
from broker.daemon.stream import Stream
from broker.ipc.operations import EVENT_STREAM, JSON, Call, Name, allowed_methods, resolve
from broker.ipc.unix import peer_pid, peer_uid
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.logs import request_id
from broker.observe.metrics import Metrics
from broker.observe.tasks import spawn

_log = logging.getLogger(__name__)

HOSTS: Final = frozenset({"ccs-broker", "localhost"})
"""The `Host` headers we answer to. A browser tricked into reaching a socket would send another one."""

_ACCEPT_PAUSE_SECONDS = 0.1  # after "too many open files": a busy loop would make it worse


class _Door(msgspec.Struct):
    """One of the two sockets."""

    name: str
    control: bool
    listener: socket.socket
    accepting: asyncio.Task[None] | None = None
    open: set[Connection] = msgspec.field(default_factory=set)


class Server:
    """Serves both sockets."""

    def __init__(
        self, dispatch: Dispatch, metrics: Metrics, config: SocketConfig, *, keepalive_seconds: float = 15.0
    ) -> None:
        """`keepalive_seconds` between the comments on a silent push stream."""
        self._dispatch = dispatch
        self._metrics = metrics
        self.config = config
        """May be replaced at any time; connections that are open keep to the limits they began with."""
        self._keepalive = keepalive_seconds
        self._uid = os.geteuid()
        self._shortcut = Shortcut(dispatch.leases)
        self._doors: list[_Door] = []
        self._streams: set[Stream] = set()
        self._numbers = itertools.count(1)
        self._stopping = False

    def start(self, token: socket.socket, control: socket.socket) -> None:
        """Accept on both listening sockets."""
        for name, listener in (("token", token), ("control", control)):
            self._open_door(name, listener)

    def _open_door(self, name: str, listener: socket.socket) -> None:
        door = _Door(name, name == "control", listener)
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
        connections = [each for door in self._doors for each in door.open]
        for connection in connections:
            connection.drain()  # idle ones end now
        busy = [each.task for each in connections if each.task is not None]
        if busy:
            await asyncio.wait(busy, timeout=seconds)
        for connection in connections:
            if connection.task is not None:
                connection.abort()

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
        if sum(len(each.open) for each in self._doors) < self.config.max_connections:
            return False
        self._metrics.refused(door.name, ErrorCode.TOO_MANY.value)
        full = BrokerError(ErrorCode.TOO_MANY, f"{self.config.max_connections} connections are open", retry_after=1.0)
        with contextlib.suppress(OSError):
            peer.setblocking(False)
            peer.send(problem(full).encode("close"))
        peer.close()
        return True

    def _connection(self, door: _Door) -> Connection:
        made = Connection(
            Limits(self.config.request_timeout_seconds, self.config.max_body_bytes),
            _check_caller,
            lambda connection, request: self._handle(door, connection, request),
            self._again,
            closed=lambda connection: self._closed(door, connection),
            late=lambda: self._metrics.refused(door.name, ErrorCode.TOO_SLOW.value),
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

    async def _handle(self, door: _Door, connection: Connection, request: Request) -> Reply | None:
        request.number = f"{next(self._numbers):x}"
        request_id.set(request.number)
        try:
            self._check_open(request)
            known = resolve(request.method, request.target, control=door.control)
            if known.operation.name is Name.WATCH and request.method == "GET":
                await self._watch(connection, request)
                return None
            call = Call(known.operation, known.path, known.query, self._now() - request.heard, known.flags)
            answer = await self._dispatch.perform(call, request.body)
            if request.raw and request.keep_alive and request.version == "1.1" and request.method == "GET":
                self._shortcut.learn(request.raw, call)
        except BrokerError as error:
            return self._refusal(door, request, error)
        return Reply(answer.status, answer.body, answer.media_type)

    def _again(self, request: bytes) -> bytes | None:
        """Answer a lease that is asked for again in the same bytes, and is at hand."""
        lease = None if self._stopping else self._shortcut.lease(request)
        return None if lease is None else found(lease, JSON, next(self._numbers))

    def _check_open(self, request: Request) -> None:
        if request.fault is not None:
            raise request.fault
        if self._stopping:
            raise BrokerError(ErrorCode.STOPPING, "the daemon is stopping")

    def _refusal(self, door: _Door, request: Request, error: BrokerError) -> Reply:
        if error.code in (ErrorCode.FORBIDDEN_PEER, ErrorCode.TOO_LARGE):
            self._metrics.refused(door.name, error.code.value)
        if error.code is ErrorCode.METHOD_NOT_ALLOWED:
            return problem(error, (("Allow", ", ".join(allowed_methods(request.target, control=door.control))),))
        return problem(error)

    # -- the push stream

    async def _watch(self, connection: Connection, request: Request) -> None:
        transport = connection.transport
        if request.version != "1.1" or transport is None:
            raise BrokerError(ErrorCode.BAD_REQUEST, "the push stream needs HTTP/1.1")
        transport.write(stream_head(EVENT_STREAM, request.number))
        stream = Stream(transport, cut=self._metrics.cut)
        last = request.values(b"last-event-id")
        data, leave = self._dispatch.hub.join(stream.take, last[0].decode("latin-1") if last else None)
        self._streams.add(stream)
        self._metrics.watchers(len(self._streams))
        try:
            stream.begin(data)
            await stream.run(self._keepalive)
        finally:
            leave()
            self._streams.discard(stream)
            self._metrics.watchers(len(self._streams))
        if not transport.is_closing():
            transport.write(LAST_CHUNK)


def _check_caller(request: Request) -> None:
    """Refuse what a browser sends, and what was meant for another host (RFC 9112 section 3.2)."""
    hosts: list[bytes] = []
    for name, value in request.headers:
        if name == b"host":
            hosts.append(value)
        elif name in (b"origin", b"referer"):
            detail = f"requests with {name.decode().capitalize()} are refused: browsers have no business here"
            raise BrokerError(ErrorCode.FORBIDDEN_PEER, detail)
    if len(hosts) != 1:
        raise BrokerError(ErrorCode.BAD_REQUEST, "a request has one Host header")
    if (host := hosts[0].decode("latin-1")).lower() not in HOSTS:
        raise BrokerError(ErrorCode.FORBIDDEN_PEER, f"this is not the host {host[:60]!r}", hint="Send Host: localhost.")
