"""One worker process: `python -m broker.proxy.worker`, started by `workers.Supervisor` and by nobody else.

Owns: reading the orders, saying that it serves, and ending when told by a signal or by the end of its input.
"""

import asyncio
import contextlib
import os
import signal
import sys
from typing import Final

from broker.observe.logs import configure
from broker.observe.tasks import spawn
from broker.proxy.assembly import new_loop, serve_from_daemon
from broker.proxy.buckets import Buckets
from broker.proxy.listen import bind
from broker.proxy.server import Worker
from broker.proxy.workers import READY, Order, read_order

_MAX_ORDER_BYTES: Final = 4 << 20


def main() -> None:
    """Run until told to stop."""
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as pipe:
        order = read_order(pipe.readline(_MAX_ORDER_BYTES))
    configure(order.config.logging.level, order.config.logging.format)
    # It is for the parent, which tells us by the pipe; it comes here too where a whole group is signalled.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_run(order))


async def _run(order: Order) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    told = _Told()
    if order.edition is not None:
        told.take(order)
    parent = spawn(_read_orders(told, stop), name="worker-parent")
    listening = bind(order.config.proxy.host, order.port, shared=True)
    with contextlib.closing(listening):
        await serve_from_daemon(
            order.config, listening, _say_ready, stop, order.number, Buckets(order.rates), told.made
        )
    parent.cancel()


class _Told:
    """Gives orders that come later to the worker."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._order: Order | None = None

    def made(self, worker: Worker) -> None:
        """Be told of the worker."""
        self._worker = worker
        if self._order is not None:
            self.take(self._order)

    def take(self, order: Order) -> None:
        """Be told of other settings."""
        self._order = order
        configure(order.config.logging.level, order.config.logging.format)
        if self._worker is not None:
            self._worker.apply(order.config, order.edition)


async def _read_orders(told: _Told, stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader(limit=_MAX_ORDER_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    try:
        while line := await reader.readline():
            told.take(read_order(line))
    finally:
        stop.set()


def _say_ready(host: str, port: int) -> None:
    del host, port
    os.write(sys.stdout.fileno(), READY)


if __name__ == "__main__":
    main()
