"""One worker process: `python -m broker.proxy.worker`, started by `workers.Supervisor` and by nobody else.

Owns: reading the order, saying that it serves, and ending when told by a signal or by the end of its input.
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
from broker.proxy.workers import READY, Order, read_order

_MAX_ORDER_BYTES: Final = 4 << 20


def main() -> None:
    """Run until told to stop."""
    order = read_order(sys.stdin.buffer.readline(_MAX_ORDER_BYTES))
    configure(order.config.logging.level, order.config.logging.format)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_run(order))


async def _run(order: Order) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    parent = spawn(_wait_for_end_of_input(stop), name="worker-parent")
    listening = bind(order.config.proxy.host, order.port, shared=True)
    with contextlib.closing(listening):
        await serve_from_daemon(order.config, listening, _say_ready, stop, order.number, Buckets(order.rates))
    parent.cancel()


async def _wait_for_end_of_input(stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    await reader.read()
    stop.set()


def _say_ready(host: str, port: int) -> None:
    del host, port
    os.write(sys.stdout.fileno(), READY)


if __name__ == "__main__":
    main()
