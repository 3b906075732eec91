"""The proxy as a program.

Owns: `run_proxy`, which serves from this process or, with `proxy.workers` above one, from several that share the port, and what both are made of.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from broker.config import Config
from broker.ipc.client import BrokerClient
from broker.paths import TOKEN_SOCKET, local_keys_file, proxy_state_dir, runtime_dir, socket_path
from broker.proxy import heap
from broker.proxy.buckets import Buckets
from broker.proxy.keyfile import KeyFile
from broker.proxy.leases import LeaseSource
from broker.proxy.listen import bind
from broker.proxy.server import Worker
from broker.proxy.usage_store import FILE_NAME
from broker.proxy.workers import Ready, Supervisor
from broker.settings.running import Running
from broker.system import SystemChance, SystemClock

Made = Callable[[Worker], None]


def _nobody(_worker: Worker) -> None:
    """Take no notice."""


async def run_proxy(
    config: Config,
    *,
    ready: Ready | None = None,
    stop: asyncio.Event,
    source: LeaseSource | None = None,
    running: Running | None = None,
) -> None:
    """Serve until `stop`, then drain; `ready` is called with host and port once requests are served.

    Made for a uvloop loop (`new_loop`), on which it is about twice as fast; any loop will do. `source` stands in for the daemon's socket; it cannot be
    handed to other processes, so with it there is one worker. `running` tells of changed settings.

    Raises:
        BrokerError: `bad_request` where it cannot listen; `internal` where workers do not start.
    """
    proxy = config.proxy
    if proxy.workers > 1 and source is None:
        supervisor = Supervisor(config)
        if running is not None:
            running.on_change(lambda new: lambda: supervisor.apply(new, running.edition))
        await supervisor.run(ready, stop)
        return

    def follow(worker: Worker) -> None:
        if running is not None:
            running.on_change(lambda new: lambda: worker.apply(new, running.edition))

    with contextlib.closing(bind(proxy.host, proxy.port)) as listening:
        if source is not None:
            await serve(config, listening, source, ready, stop, made=follow)
            return
        await serve_from_daemon(config, listening, ready, stop, made=follow)


async def serve_from_daemon(
    config: Config,
    listening: socket.socket,
    ready: Ready | None,
    stop: asyncio.Event,
    number: int = 0,
    rates: Buckets | None = None,
    made: Made = _nobody,
) -> None:
    """Run one worker on a bound socket, with the daemon's leases."""
    async with BrokerClient(socket_path(TOKEN_SOCKET, runtime_dir())) as client:
        await serve(config, listening, client, ready, stop, number, rates, made)


async def serve(
    config: Config,
    listening: socket.socket,
    source: LeaseSource,
    ready: Ready | None,
    stop: asyncio.Event,
    number: int = 0,
    rates: Buckets | None = None,
    made: Made = _nobody,
) -> None:
    """Run one worker on a bound socket until `stop`; `rates` is what it shares with its siblings. `made` is told of it, to give it other settings."""
    heap.settle()
    keys = KeyFile(local_keys_file())
    usage = proxy_state_dir() / FILE_NAME
    worker = Worker(config, source, SystemClock(), SystemChance(), number=number, keys=keys, rates=rates, usage=usage)
    made(worker)
    try:
        host, port = await worker.start(listening)
        if ready is not None:
            ready(host, port)
        await stop.wait()
    finally:
        await worker.stop()


def new_loop() -> asyncio.AbstractEventLoop:
    """Make the fastest event loop there is here: the `loop_factory` for `asyncio.Runner`."""
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
