"""The proxy as a program.

Owns: `run_proxy`, which serves from this process or, with `proxy.workers` above one, from several that share the port, and what both are made of.
"""

import asyncio
import contextlib
import socket

from broker.config import Config
from broker.ipc.client import BrokerClient
from broker.paths import TOKEN_SOCKET, local_keys_file, runtime_dir, socket_path
from broker.proxy.buckets import Buckets
from broker.proxy.keyfile import KeyFile
from broker.proxy.leases import LeaseSource
from broker.proxy.listen import bind
from broker.proxy.server import Worker
from broker.proxy.workers import Ready, Supervisor
from broker.system import SystemChance, SystemClock


async def run_proxy(
    config: Config, *, ready: Ready | None = None, stop: asyncio.Event, source: LeaseSource | None = None
) -> None:
    """Serve until `stop`, then drain; `ready` is called with host and port once requests are served.

    Made for a uvloop loop (`new_loop`), on which it is about twice as fast; any loop will do. `source` stands in for the daemon's socket; it cannot be
    handed to other processes, so with it there is one worker.

    Raises:
        BrokerError: `bad_request` where it cannot listen; `internal` where workers do not start.
    """
    proxy = config.proxy
    if proxy.workers > 1 and source is None:
        await Supervisor(config).run(ready, stop)
        return
    with contextlib.closing(bind(proxy.host, proxy.port)) as listening:
        if source is not None:
            await serve(config, listening, source, ready, stop)
            return
        await serve_from_daemon(config, listening, ready, stop)


async def serve_from_daemon(
    config: Config,
    listening: socket.socket,
    ready: Ready | None,
    stop: asyncio.Event,
    number: int = 0,
    rates: Buckets | None = None,
) -> None:
    """Run one worker on a bound socket, with the daemon's leases."""
    async with BrokerClient(socket_path(TOKEN_SOCKET, runtime_dir())) as client:
        await serve(config, listening, client, ready, stop, number, rates)


async def serve(
    config: Config,
    listening: socket.socket,
    source: LeaseSource,
    ready: Ready | None,
    stop: asyncio.Event,
    number: int = 0,
    rates: Buckets | None = None,
) -> None:
    """Run one worker on a bound socket until `stop`; `rates` is what it shares with its siblings."""
    keys = KeyFile(local_keys_file())
    worker = Worker(config, source, SystemClock(), SystemChance(), number=number, keys=keys, rates=rates)
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
