"""`up`: the daemon and the proxy as two child processes.

Owns: starting one after the other, telling when both serve, and ending both when one ends or a signal comes. Children learn of our own death by a pipe, so
that not even SIGKILL leaves one behind.
"""

import asyncio
import contextlib
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from broker.cli import children, hangup, output
from broker.cli.exits import Exit
from broker.config import Config
from broker.observe.tasks import spawn

# A Python start on a busy machine, and a first scan of a large auth directory.
_READY_SECONDS = 60.0
_KILL_AFTER_SECONDS = 15.0


@dataclass(slots=True)
class _Child:
    """One of the two processes. `ready` has its status line when it says so (sd_notify); `ended` has its code when it is gone."""

    name: str
    process: asyncio.subprocess.Process
    ready: asyncio.Future[str]
    ended: "asyncio.Task[int]"
    patience: float


def up(config: Config) -> int:
    """Run both until a signal or until one ends; return the exit code."""
    return asyncio.run(_up(config))


def exit_after(status: int) -> Exit:
    """Return how we end after a child that ended unasked with `status`: a code that says something is passed on."""
    return next((code for code in Exit if code == status and code is not Exit.OK), Exit.FAILURE)


async def _up(config: Config) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopping = spawn(stop.wait(), name="up: wait for a signal")
    running: list[_Child] = []

    def reload() -> None:
        for child in running:
            # Not before it has a handler: the signal would end it.
            if child.ready.done() and not child.ended.done():
                with contextlib.suppress(ProcessLookupError):
                    child.process.send_signal(signal.SIGHUP)

    loop.add_signal_handler(signal.SIGHUP, hangup.handler(reload, stop.set))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ccs-broker-up-")))
        pipe = stack.enter_context(children.lifeline())
        try:
            for name, command, patience in (
                ("daemon", "serve", config.refresh.stop_timeout_seconds + _KILL_AFTER_SECONDS),
                ("proxy", "proxy", _KILL_AFTER_SECONDS),
            ):
                running.append(await _start(name, command, patience, folder, stack, pipe))
                if (code := await _until_ready(running, stopping)) is not None:
                    return code
            output.notice(f"Ready: {running[-1].ready.result()}. Ctrl-C stops.")
            await asyncio.wait([stopping, *(child.ended for child in running)], return_when=asyncio.FIRST_COMPLETED)
            return _verdict(running, stopping)
        finally:
            stopping.cancel()
            for child in reversed(running):
                await _end(child)


async def _start(
    name: str, command: str, patience: float, folder: Path, stack: contextlib.ExitStack, pipe: int
) -> _Child:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[str] = loop.create_future()
    listener = stack.enter_context(children.ready_socket(folder / name))

    def heard() -> None:
        if (status := children.readiness(listener)) is not None and not ready.done():
            ready.set_result(status)

    loop.add_reader(listener, heard)
    stack.callback(loop.remove_reader, listener)
    process = await asyncio.create_subprocess_exec(
        *children.command(command, pipe),
        env=children.environment(folder / name),
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=(pipe,),
        # Ctrl-C reaches us alone, and we end the children in order.
        process_group=0,
    )
    return _Child(name, process, ready, spawn(process.wait(), name=f"up: wait for the {name}"), patience)


async def _until_ready(running: list[_Child], stopping: "asyncio.Task[bool]") -> int | None:
    """Wait for the last child to be ready; return an exit code where something else came first."""
    newest = running[-1]
    waiting: list[asyncio.Future[str] | asyncio.Task[bool] | asyncio.Task[int]] = [
        newest.ready,
        stopping,
        *(child.ended for child in running),
    ]
    done, _ = await asyncio.wait(waiting, timeout=_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if not done:
        output.notice(f"The {newest.name} was not ready within {_READY_SECONDS:.0f} s; stopping.")
        return int(Exit.TIMED_OUT)
    if stopping in done or any(child.ended.done() for child in running):
        return _verdict(running, stopping)
    return None


def _verdict(running: list[_Child], stopping: "asyncio.Task[bool]") -> int:
    """Say which child ended without being asked, and return the exit code."""
    code = Exit.OK
    for child in running:
        if child.ended.done() and not stopping.done():
            status = child.ended.result()
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with code {status}"
            output.notice(f"The {child.name} {how}; stopping.")
            code = exit_after(status)
    return int(code)


async def _end(child: _Child) -> None:
    if child.ended.done():
        return
    with contextlib.suppress(ProcessLookupError):
        child.process.terminate()
    try:
        await asyncio.wait_for(asyncio.shield(child.ended), child.patience)
    except TimeoutError:
        output.notice(f"The {child.name} does not end; killing it.")
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()
        await child.ended
