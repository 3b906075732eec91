"""Starts daemons that die at a chosen point of a rotation.

Everything that makes them die is here and nothing of it in the program: the methods a rotation goes through are wrapped from outside, then the
program's own `main` runs. One process imports the program once and forks a child for each daemon, which saves half a second a kill. Lines of JSON come on
stdin (`Order`), the pid of the child goes to stdout. A child writes each point it passes to its trace, and kills itself with SIGKILL
at the one it was told, provided that the file `armed` exists at that moment. While the file `fault` exists, system calls that write fail with the error
it names (`REFUSED`).
"""

import dataclasses
import errno
import functools
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp.client_proto
import uvloop  # noqa: F401 - loaded before the fork

import broker.cli.app
import broker.cli.foreground
import broker.cli.running  # noqa: F401 - loaded before the fork
from broker import __main__ as program
from broker.daemon import assembly, exchange, outbound  # noqa: F401 - loaded before the fork
from broker.store.files import Disk, Os
from broker.store.held import Locks
from broker.store.journal import Journal, OpenRecord
from broker.store.native import NativeWriter
from broker.store.store import FileStore

POINTS = (
    "lock:before", "lock:after", "reread:after",
    "probe:write1", "probe:fsync1", "probe:replace1", "probe:after",
    "intent:write1", "intent:fsync1", "intent:replace1", "intent:fsync2",
    "post:before", "post:connecting", "mark:fsync1", "mark:after", "post:connected", "answer:arrived",
    "answer:written", "answer:synced",
    "file:write1", "file:fsync1", "file:exchange1", "file:fsync2", "file:after",
    "put:after", "clear:unlink1", "clear:fsync1", "clear:after",
)  # fmt: skip

LINKED_POINTS = ("native:write1", "native:fsync1", "native:exchange1", "native:fsync2", "native:after")
"""Between "put:after" and "clear:unlink1", for a login that is shared with another program."""

REFUSED = {
    "EACCES": ("open", "replace", "exchange"),
    "EDQUOT": ("open", "write", "allocate"),
    "EIO": ("write", "fsync"),
}
"""What fails how: a folder that may not be written to, a quota that is used up, a disk that breaks."""

Connected = Callable[[], Awaitable[None]] | None
Heard = Callable[[outbound.HttpResponse], None] | None

HEARD = "answer:heard"
"""In the trace, not a point: bytes of the answer have reached this process."""


class Trap:
    """What the child passes, and where it dies."""

    def __init__(self, point: str | None, armed: Path, fault: Path, trace: int) -> None:
        self.point = point
        self.armed = str(armed)
        self.fault = str(fault)
        self.trace = trace
        self.heard = 0  # when the last bytes of an answer reached this process
        self.spending = False
        self.place = threading.local()

    def reached(self, name: str) -> None:
        os.write(self.trace, f"{name}\n".encode())
        if name == self.point and os.path.exists(self.armed):  # noqa: PTH110 - the cheapest there is
            os.kill(os.getpid(), signal.SIGKILL)

    def call(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        """A system call that counts within the operation it belongs to."""

        def counted(*arguments: object) -> object:
            result = call(*arguments)
            counts = getattr(self.place, "counts", None)
            if counts is not None:
                counts[name] += 1
                self.reached(f"{self.place.name}:{name}{counts[name]}")
            return result

        return counted

    def refusing(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        """A system call that fails while it is told to; opening to read does not."""

        def refused(*arguments: object) -> object:
            writes = name != "open" or int(str(arguments[1])) & os.O_CREAT
            if writes and os.path.exists(self.fault):  # noqa: PTH110
                word = Path(self.fault).read_text()
                if name in REFUSED[word]:
                    number = getattr(errno, word)
                    raise OSError(number, os.strerror(number))
            return call(*arguments)

        return refused

    def within(self, owner: type, method: str, name: str) -> None:
        """Count the system calls of a blocking method under `name`."""
        original = getattr(owner, method)

        @functools.wraps(original)
        def wrapped(*arguments: object) -> object:
            if getattr(self.place, "counts", None) is not None:
                return original(*arguments)
            self.place.name, self.place.counts = name, Counter()
            try:
                result = original(*arguments)
            finally:
                self.place.counts = None
            self.reached(f"{name}:after")
            return result

        setattr(owner, method, wrapped)

    def around(self, owner: type, method: str, before: str | None, after: str | None) -> None:
        """Mark the beginning and the end of a coroutine method."""
        original = getattr(owner, method)

        @functools.wraps(original)
        async def wrapped(*arguments: object, **named: object) -> object:
            if before is not None:
                self.reached(before)
            result = await original(*arguments, **named)
            if after is not None:
                self.reached(after)
            return result

        setattr(owner, method, wrapped)

    def set(self) -> None:
        """Wrap everything."""
        make = Disk.__init__

        def init(disk: Disk, nonce: Callable[[], str], calls: Os | None = None) -> None:
            real = calls or Os()
            names = {name for refused in REFUSED.values() for name in refused}
            real = dataclasses.replace(real, **{n: self.refusing(n, getattr(real, n)) for n in names})
            names = {"write", "fsync", "replace", "exchange", "unlink"}
            make(disk, nonce, dataclasses.replace(real, **{n: self.call(n, getattr(real, n)) for n in names}))

        Disk.__init__ = init  # type: ignore[method-assign]
        self.within(Disk, "probe", "probe")
        self.within(Disk, "open_journal", "intent")
        self.within(OpenRecord, "mark_presented", "mark")
        self.within(Disk, "swap_in", "file")
        self.within(Journal, "clear", "clear")
        self.around(Locks, "take", "lock:before", "lock:after")
        self.around(FileStore, "reread", None, "reread:after")
        self.around(FileStore, "put", None, "put:after")
        self._watch_the_other_file()
        self._watch_the_network()
        self._watch_the_answer()

    def _watch_the_other_file(self) -> None:
        make = NativeWriter.__init__

        def init(writer: NativeWriter, disk: Disk, calls: Os | None = None) -> None:
            real = calls or Os()
            make(writer, disk, dataclasses.replace(real, exchange=self.call("exchange", real.exchange)))

        NativeWriter.__init__ = init  # type: ignore[method-assign]
        self.within(NativeWriter, "replace", "native")

    def _watch_the_network(self) -> None:
        send = outbound.Outbound._send
        heard = aiohttp.client_proto.ResponseHandler.data_received

        async def sending(
            transport: outbound.Outbound, request: outbound.HttpRequest, connected: Connected, told: Heard, *way: Any
        ) -> outbound.HttpResponse:
            if not request.spends:
                return await send(transport, request, connected, told, *way)

            async def connecting() -> None:
                self.reached("post:connecting")
                if connected is not None:
                    await connected()
                self.reached("post:connected")

            def telling(answer: outbound.HttpResponse) -> None:
                self.spending = False
                self.reached("answer:arrived")
                if told is not None:
                    told(answer)

            self.reached("post:before")
            self.spending = True
            return await send(transport, request, connecting, telling, *way)

        def hearing(handler: object, data: bytes) -> None:
            if self.spending:
                self.reached(HEARD)
            if data:  # without, reading goes on: nothing arrived
                self.heard = time.monotonic_ns()
            heard(handler, data)  # type: ignore[arg-type]

        outbound.Outbound._send = sending  # type: ignore[method-assign]
        aiohttp.client_proto.ResponseHandler.data_received = hearing  # type: ignore[method-assign, assignment]

    def _watch_the_answer(self) -> None:
        write, sync = OpenRecord.write_answer, OpenRecord.sync

        def writing(record: OpenRecord, answer: outbound.HttpResponse) -> None:
            write(record, answer)
            took = time.monotonic_ns() - self.heard
            self.reached("answer:written")
            self.reached(f"window {took}")

        def syncing(record: OpenRecord) -> None:
            sync(record)
            self.reached("answer:synced")

        OpenRecord.write_answer = writing  # type: ignore[method-assign]
        OpenRecord.sync = syncing  # type: ignore[method-assign]


def child(order: dict[str, object]) -> None:
    """Become a daemon."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    environ = order["env"]
    assert isinstance(environ, dict)
    os.environ.clear()
    os.environ.update(environ)
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    trace = os.open(str(order["trace"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    point = order["point"]
    Trap(str(point) if point else None, Path(str(order["armed"])), Path(str(order["fault"])), trace).set()
    os.chdir(str(order["cwd"]))
    sys.argv = ["ccs-broker", "serve"]
    program.main()


def main() -> None:
    """Fork a child for each line until stdin ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while line := os.read(0, 1 << 16):
        pid = os.fork()
        if pid == 0:
            try:
                child(json.loads(line))
            finally:
                os._exit(70)
        os.write(1, f"{pid}\n".encode())


if __name__ == "__main__":
    main()
