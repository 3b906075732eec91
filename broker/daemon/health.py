"""How the daemon is.

Owns: the health message, and the probes behind `protections`. It must never claim a protection it did not try.
"""

import os
import socket
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from broker import __version__
from broker.daemon.accounts import Accounts
from broker.ipc.schema import Health, ProviderView
from broker.ipc.unix import peer_uid


class HealthCheck(msgspec.Struct, frozen=True):
    """Tells the daemon's health. `started` is boot-clock seconds; `sockets` returns the paths that are served."""

    accounts: Accounts
    started: float
    store_mode: str
    directories: tuple[str, ...]
    sockets: Callable[[], Sequence[Path]]

    def now(self) -> Health:
        """Return the message; probes anew each time."""
        accounts = self.accounts
        store = accounts.store.health()
        problems = tuple(dict.fromkeys((*store.problems, *accounts.engine.problems())))
        return Health(
            status="degraded" if problems else "ok",
            version=__version__,
            pid=os.getpid(),
            uptime=round(accounts.clock.now().boot - self.started, 3),
            accounts=_by_state(accounts.states()),
            providers=tuple(
                ProviderView(name=each.name, title=each.title, flows=tuple(flow.value for flow in each.flows))
                for each in sorted(accounts.registry, key=lambda each: each.name)
            ),
            problems=problems,
            protections={**store.protections, **socket_protections(self.sockets())},
            store_mode=self.store_mode,
            directories=self.directories,
            clock_skew={name: round(seconds) for name, seconds in accounts.engine.skews().items()},
        )


def socket_protections(paths: Sequence[Path]) -> Mapping[str, bool]:
    """Try what keeps other users off the sockets: modes of folder and files, and that the kernel tells us who calls."""
    found = {"peer-uid": _knows_peers()}
    if paths:
        found["private-sockets"] = all(_mode(path) == 0o600 for path in paths)
        found["private-socket-folder"] = all(_mode(path.parent) == 0o700 for path in paths)
    return found


def _by_state(states: Mapping[tuple[str, str], int]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for (_, state), number in states.items():
        totals[state] += number
    return dict(sorted(totals.items()))


def _mode(path: Path) -> int | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return stat.S_IMODE(found.st_mode) if found.st_uid == os.geteuid() else None


def _knows_peers() -> bool:
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours, theirs:
            return peer_uid(ours) == os.geteuid()
    except OSError:  # no descriptor left, say: health must answer just then
        return False
