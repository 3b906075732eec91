"""A daemon for as long as one command takes.

Owns: starting `ccs-broker serve` on sockets of its own in a private folder, and ending it. It uses the same auth directory and state as any other, under the
same locks, so a login made here is a login like every other, and a daemon started meanwhile does no harm.
"""

import select
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import socket

from broker import paths
from broker.cli import children
from broker.cli.options import ask, control_socket, load_config
from broker.config import Config
from broker.ipc.schema import Health
from broker.model.clock import Clock
from broker.model.errors import BrokerError, ErrorCode
from broker.system import SystemClock

# A Python start on a busy machine, and a first scan of a large auth directory.
_READY_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_CLOSING_SECONDS = 15.0


def broker_socket(stack: ExitStack) -> Path:
    """Return the running daemon's control socket; where there is none, that of one started until `stack` ends.

    Raises:
        BrokerError: what the running daemon says, or that none started.
    """
    try:
        ask(Health, "GET", "/v1/health")
    except BrokerError as error:
        if error.code is not ErrorCode.DAEMON_UNREACHABLE:
            raise
    else:
        return control_socket()
    return stack.enter_context(daemon(load_config()))


@contextmanager
def daemon(config: Config) -> Generator[Path]:
    """Run a daemon while the block runs; yield its control socket.

    Raises:
        BrokerError: `daemon_unreachable`, with the last line of its log, where it does not start.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ccs-broker-")))
        pipe = stack.enter_context(children.lifeline())
        listener = stack.enter_context(children.ready_socket(folder / "notify"))
        log = stack.enter_context((folder / "log").open("w+b"))
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            children.command("serve", pipe),
            env=children.environment(folder / "notify", CCS_BROKER_RUNTIME_DIR=str(folder)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(pipe,),
            # Ctrl-C is for us: the login is cancelled first, the daemon ends after that.
            process_group=0,
        )
        stack.callback(_end, process, config.refresh.stop_timeout_seconds + _CLOSING_SECONDS)
        if not _ready(process, listener, SystemClock()):
            raise BrokerError(
                ErrorCode.DAEMON_UNREACHABLE,
                f"no daemon is running, and one did not start: {_last_line(folder / 'log')}",
            )
        yield folder / paths.CONTROL_SOCKET


def _ready(process: "subprocess.Popen[bytes]", listener: socket, clock: Clock) -> bool:
    deadline = clock.now().boot + _READY_SECONDS
    while process.poll() is None and clock.now().boot < deadline:
        if select.select([listener], [], [], _LOOK_SECONDS)[0] and children.readiness(listener) is not None:
            return True
    return False


def _end(process: "subprocess.Popen[bytes]", patience: float) -> None:
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    # A failure is told as a sentence and a hint below it, which is indented.
    return next(
        (line.removeprefix("ccs-broker: ") for line in reversed(said) if "ccs-broker: " in line),
        said[-1] if said else "it said nothing",
    )
