"""Several workers on one port.

Owns: starting worker processes, starting again those that die, and stopping them all. Each follows the daemon by itself, and cool-downs reach the others
through it. A worker gets its settings over a pipe: keys stand neither in arguments nor in the environment. When this process goes, the closed pipe tells
its workers. What they have used of local keys' rates lies in memory this process keeps: one that is started again finds it as it was.
"""

import asyncio
import contextlib
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Generator
from typing import Final

import msgspec

from broker.config import Config
from broker.ipc.schema import decode, encode
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.tasks import spawn
from broker.proxy.buckets import shared_memory
from broker.proxy.listen import bind
from broker.proxy.server import DRAIN_SECONDS
from broker.settings.effective import Edition

_log = logging.getLogger(__name__)

READY: Final = b"ready\n"
_START_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 10.0  # a worker that lived this long did not die of its settings
_FIRST_PAUSE_SECONDS: Final = 0.2
_MAX_PAUSE_SECONDS: Final = 10.0

Ready = Callable[[str, int], None]
"""Called with host and port."""


class Order(msgspec.Struct, frozen=True):
    """What a worker process is told on its standard input, as one line of JSON: at its start, and again when settings change.

    `rates` is an open descriptor (see `buckets.shared_memory`); `edition` says which settings these are, where they are not those of the start.
    """

    config: Config
    port: int
    number: int
    rates: int | None = None
    edition: Edition | None = None


def write_order(order: Order) -> bytes:
    """Write the line; configured keys become text in it."""
    return encode(order) + b"\n"


def read_order(line: bytes) -> Order:
    """Read the line."""
    return decode(line, Order)


class Supervisor:
    """Runs `proxy.workers` processes of `broker.proxy.worker`."""

    def __init__(self, config: Config) -> None:
        """Start none yet."""
        self._config = config
        self._edition: Edition | None = None
        self._running: dict[int, Process] = {}
        self._port = 0
        self._rates: int | None = None

    def apply(self, config: Config, edition: Edition) -> None:
        """Tell all workers of other settings, and start new ones with them; what needs a restart stays as it is in `config`."""
        self._config, self._edition = config, edition
        for number, process in self._running.items():
            if process.stdin is not None and not process.stdin.is_closing():
                process.stdin.write(self._order(number))

    def _order(self, number: int) -> bytes:
        return write_order(Order(self._config, self._port, number, self._rates, self._edition))

    async def run(self, ready: Ready | None, stop: asyncio.Event) -> None:
        """Serve until `stop`.

        Raises:
            BrokerError: `bad_request` where the port cannot be had, `internal` where a worker does not start.
        """
        proxy = self._config.proxy
        # Two steps: the first finds out whether the port is free of strangers, the second keeps it for the workers, listening on nothing.
        port = proxy.port
        if port:
            bind(proxy.host, port).close()
        with contextlib.closing(bind(proxy.host, port, shared=True)) as kept, _shared_rates() as self._rates:
            host, self._port = kept.getsockname()[:2]
            try:
                started = [await self._start(number) for number in range(proxy.workers)]
                tending = [
                    spawn(self._tend(process, number), name="proxy-worker") for number, process in enumerate(started)
                ]
                if ready is not None:
                    ready(str(host), int(self._port))
                await stop.wait()
                for task in tending:
                    task.cancel()
                await asyncio.gather(*tending, return_exceptions=True)
            finally:
                await self._stop()

    async def _start(self, number: int) -> Process:
        command = (sys.executable, "-m", "broker.proxy.worker")
        shared = () if self._rates is None else (self._rates,)
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, pass_fds=shared)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(self._order(number))
        self._running[number] = process
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if line != READY:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise BrokerError(ErrorCode.INTERNAL, "a worker of the proxy did not start; its log says why")
        return process

    async def _tend(self, process: Process, number: int) -> None:
        pause = _FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            status = await process.wait()
            self._running.pop(number, None)
            _log.error("a worker died and is started again", extra={"worker": number, "status": status})
            pause = (
                _FIRST_PAUSE_SECONDS if loop.time() - begun > _STEADY_SECONDS else min(pause * 2, _MAX_PAUSE_SECONDS)
            )
            while True:
                await asyncio.sleep(pause)
                with contextlib.suppress(BrokerError):
                    process = await self._start(number)
                    break
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)

    async def _stop(self) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        waiting = [process.wait() for process in self._running.values()]
        try:
            async with asyncio.timeout(DRAIN_SECONDS + 5):
                await asyncio.gather(*waiting)
        except TimeoutError:
            for process in self._running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        self._running.clear()


@contextlib.contextmanager
def _shared_rates() -> Generator[int]:
    fd = shared_memory()
    try:
        yield fd
    finally:
        os.close(fd)
