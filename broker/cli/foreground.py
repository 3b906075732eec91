"""Running the daemon or the proxy in this process, until a signal.

Owns: what a long-running process needs around its work: the umask, logging, uvloop, signals, readiness for the service manager, and the parent that may
vanish. The work is `broker.daemon.assembly`, `broker.proxy.assembly` and `broker.sandbox.serve`.
"""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import uvloop

from broker.cli import hangup
from broker.cli.exits import Exit
from broker.cli.wording import url
from broker.config import Config, Loaded
from broker.model.errors import BrokerError, ErrorCode, SettingError
from broker.observe import logs
from broker.observe.tasks import spawn
from broker.service.notify import Notifier
from broker.settings.changes import Program
from broker.settings.refusal import located
from broker.settings.running import Running
from broker.system import SystemClock

if TYPE_CHECKING:
    from broker.sandbox.serve import ServeOptions

Tell = Callable[[str], None]
Work = Callable[[asyncio.Event, Tell], Awaitable[None]]
"""Runs until the event is set; calls `Tell` once, when clients are served, with a line for the service manager."""

# Beyond what a renewal under way is given: clients are hung up on, files closed.
_CLOSING_SECONDS = 10.0


def daemon(loaded: Loaded, until_eof: int | None) -> int:
    """Run the daemon; return the exit code."""
    # What is made while starting is there to stay: to look for garbage in it again and again is a third of a start with many accounts.
    gc.disable()
    try:
        return _daemon(loaded, until_eof)
    finally:
        gc.enable()


def _daemon(loaded: Loaded, until_eof: int | None) -> int:
    from broker.daemon.assembly import run_daemon

    config = loaded.config
    running = Running(loaded, Program.DAEMON, _again, SystemClock())

    def ready(tell: Tell) -> None:
        gc.freeze()
        gc.enable()
        tell("lending tokens on the Unix sockets")

    return _run(
        running,
        lambda stop, tell: run_daemon(config, stop=stop, ready=lambda: ready(tell), running=running),
        stop_seconds=config.refresh.stop_timeout_seconds + _CLOSING_SECONDS,
        until_eof=until_eof,
    )


def proxy(loaded: Loaded, until_eof: int | None) -> int:
    """Run the proxy; return the exit code."""
    from broker.proxy.assembly import run_proxy

    config = loaded.config
    running = Running(loaded, Program.PROXY, _again, SystemClock())
    return _run(
        running,
        lambda stop, tell: run_proxy(
            config, stop=stop, ready=lambda host, port: tell(f"serving {url(host, port)}"), running=running
        ),
        stop_seconds=_CLOSING_SECONDS,
        until_eof=until_eof,
    )


def sandbox(options: "ServeOptions") -> int:
    """Run the sandbox; its ready line goes to stdout.

    Raises:
        BrokerError: `bad_request` for settings it cannot use, `storage_unwritable` for a file that cannot be written.
    """
    from broker.cli import output
    from broker.sandbox.serve import serve

    try:
        asyncio.run(serve(options, output.line))
    except OSError as error:
        raise BrokerError(ErrorCode.STORAGE_UNWRITABLE, f"{error.filename}: {error.strerror}") from error
    return int(Exit.OK)


def _again() -> Loaded:
    from broker.cli.reading import read_config

    return read_config()


def _run(running: Running, work: Work, *, stop_seconds: float, until_eof: int | None) -> int:
    # Before any thread: the umask belongs to the whole process.
    os.umask(0o077)
    _log_as(running.config)
    running.on_change(lambda config: lambda: _log_as(config))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_stopped(running, work, stop_seconds, until_eof))
    except SettingError as error:
        raise located(error, str(running.loaded.file), running.loaded.lines) from None
    return int(Exit.OK)


def _log_as(config: Config) -> None:
    logs.configure(config.logging.level, config.logging.format)


async def _until_stopped(running: Running, work: Work, stop_seconds: float, until_eof: int | None) -> None:
    notifier = Notifier.from_environ()
    stop = asyncio.Event()
    main = asyncio.current_task()
    assert main is not None

    def end() -> None:
        if stop.is_set():
            main.cancel()  # asked twice: whoever asks does not want to wait
            return
        notifier.stopping("finishing what is under way", within_seconds=stop_seconds)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    served = Notifier(None)  # nobody is told of reloads before clients are served: the end of one says READY

    def tell(status: str) -> None:
        nonlocal served
        notifier.ready(status)
        served = notifier

    loop.add_signal_handler(signal.SIGHUP, hangup.handler(lambda: _reload(running, served), end))
    following = spawn(running.follow(), name="settings-follow")
    if until_eof is not None:
        loop.add_reader(until_eof, _parent_gone, loop, until_eof, end)
    try:
        await work(stop, tell)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
        if until_eof is not None:
            loop.remove_reader(until_eof)


def _reload(running: Running, notifier: Notifier) -> None:
    notifier.reloading()
    with contextlib.suppress(BrokerError):  # told in the log; the settings that run stay
        running.reload()
    notifier.ready("settings reloaded" if running.problem is None else f"settings not reloaded: {running.problem}")


def _parent_gone(loop: asyncio.AbstractEventLoop, pipe: int, end: Callable[[], None]) -> None:
    # Nobody writes into this pipe: being readable means that its other end is closed.
    loop.remove_reader(pipe)
    end()
