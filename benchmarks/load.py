"""The load generator: a closed loop of raw HTTP/1.1 connections in this process.

Owns: sending one prebuilt request again and again, framing the answers with llhttp, and timing each. It measures its own processor time too: where its
share of a core nears one and that of the server does not, the generator was the limit and the throughput says little (processor time per request
still does).
"""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools

from benchmarks.harness import quantile

Target = Path | tuple[str, int]
"""A Unix socket, or an address and port."""

WARM_SECONDS = 0.15
_DRAIN_SECONDS = 10.0


class LoadError(Exception):
    """An answer was not 200, or a connection broke: nothing that was measured counts."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a load did. `latencies` in seconds; `server_cpu` and `own_cpu` in seconds over `seconds`."""

    requests: int
    seconds: float
    latencies: list[float]
    server_cpu: float
    own_cpu: float

    def measures(self) -> dict[str, float]:
        """Return the usual metrics: requests/s, p50 and p99 in µs, the server's µs of processor time a request, and the shares of a core."""
        return {
            "rate": self.requests / self.seconds,
            "p50": quantile(self.latencies, 0.5) * 1e6,
            "p99": quantile(self.latencies, 0.99) * 1e6,
            "cpu": self.server_cpu / self.requests * 1e6,
            "busy": self.server_cpu / self.seconds,
            "generator": self.own_cpu / self.seconds,
        }


class _Connection(asyncio.Protocol):
    """One connection: the next request goes out in the callback that read the last byte of the answer."""

    def __init__(self, request: bytes, latencies: list[float], failed: Callable[[str], None]) -> None:
        self._request = request
        self._latencies = latencies
        self._failed = failed
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0
        self._last = b""
        self._stopping = False
        self.idle = asyncio.get_running_loop().create_future()
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's are none by inheritance
        self._send()

    def data_received(self, data: bytes) -> None:
        self._last = data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        if self._parser.get_status_code() != 200:
            self._fail(f"answered {self._parser.get_status_code()}: {self._last[-300:]!r}")
            return
        self._latencies.append(now - self._sent)
        if self._stopping:
            self._rest()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.idle.done():
            self._fail(f"connection closed: {exc}")

    def stop(self) -> None:
        """Send no more once the answer under way is there."""
        self._stopping = True

    def _send(self) -> None:
        assert self.transport is not None
        self._sent = time.perf_counter()
        self.transport.write(self._request)

    def _rest(self) -> None:
        if not self.idle.done():
            self.idle.set_result(None)

    def _fail(self, text: str) -> None:
        self._stopping = True
        self._rest()
        self._failed(text)


async def load(
    target: Target, request: bytes, *, connections: int, seconds: float, server_cpu: Callable[[], float]
) -> Load:
    """Send `request` over `connections` for `seconds`, after a short warming up. `server_cpu` reads the server's processor time.

    Raises:
        LoadError: an answer was not 200, or a connection broke.
    """
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    wrong: asyncio.Future[str] = loop.create_future()

    def failed(text: str) -> None:
        if not wrong.done():
            wrong.set_result(text)

    open_: list[_Connection] = []
    with _no_gc():
        try:
            for _ in range(connections):
                open_.append(await _connect(target, lambda: _Connection(request, latencies, failed)))  # noqa: PERF401 - closed below
            await _pass(wrong, WARM_SECONDS)
            latencies.clear()
            began, cpu, own = time.perf_counter(), server_cpu(), time.process_time()
            await _pass(wrong, seconds)
            took, cpu, own = time.perf_counter() - began, server_cpu() - cpu, time.process_time() - own
            found = latencies[:]
            for each in open_:
                each.stop()
            await asyncio.wait_for(asyncio.gather(*(each.idle for each in open_)), _DRAIN_SECONDS)
        except OSError as error:
            raise LoadError(str(error)) from error
        finally:
            for each in open_:
                if not each.idle.done():
                    each.idle.cancel()
                if each.transport is not None:
                    each.transport.abort()
    if not found:
        raise LoadError(f"not one answer in {seconds:g} s")
    return Load(len(found), took, found, cpu, own)


async def _connect(target: Target, factory: Callable[[], _Connection]) -> _Connection:
    loop = asyncio.get_running_loop()
    if isinstance(target, Path):
        _, made = await loop.create_unix_connection(factory, str(target))
    else:
        _, made = await loop.create_connection(factory, *target)
    return made


async def _pass(wrong: asyncio.Future[str], seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        raise LoadError(await asyncio.wait_for(asyncio.shield(wrong), seconds))


class _no_gc:  # noqa: N801 - used as a function is
    """A collection in the generator would be a latency of the server's."""

    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()


def request(method: str, path: str, *, host: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return a whole HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
