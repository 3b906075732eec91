"""Looking at the daemon's sockets, the proxy's port and the ports of logins.

Owns: connecting and asking for health, with short limits. A callback port is tried by binding it for a moment, and only where nobody logs in.
"""

import contextlib
import errno
import fcntl
import http.client
import json
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from broker import paths
from broker.config import ProxyConfig
from broker.doctor.facts import Daemon, Port, Proxy, ProxyState, Runtime, Socket, SocketState
from broker.ipc.schema import AccountList, Health
from broker.ipc.sync_typed import call
from broker.login.ports import bind_loopback, holder_of
from broker.model.errors import BrokerError, ErrorCode
from broker.providers.base import LoginFlow, Provider
from broker.store.folders import Folders
from broker.store.lock import holder

ANSWER_SECONDS = 5.0
_CONNECT_SECONDS = 2.0
_BODY_BYTES = 1 << 16
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what such a proxy is reached by
_FREE = frozenset({errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.EHOSTUNREACH, errno.ENETUNREACH})


def socket_at(path: Path) -> Socket:
    """Look at a socket's path, and connect."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return Socket(path, SocketState.MISSING)
    if not stat.S_ISSOCK(mode):
        return Socket(path, SocketState.OTHER)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return Socket(path, SocketState.STALE)
        except PermissionError:
            return Socket(path, SocketState.CLOSED)
        except OSError:
            return Socket(path, SocketState.LIVE)  # a full backlog: whether it answers is another question
    return Socket(path, SocketState.LIVE)


def daemon(path: Path, seconds: float = ANSWER_SECONDS) -> Daemon:
    """Ask the daemon how it and its accounts are. Never raises."""
    try:
        health = call(path, Health, "GET", "/v1/health", timeout=seconds)
        accounts = call(path, AccountList, "GET", "/v1/accounts", timeout=seconds).accounts
    except BrokerError as error:
        return Daemon(None, (), error.detail, silent=error.code is not ErrorCode.DAEMON_UNREACHABLE)
    return Daemon(health, accounts)


def runtime(value: str | None, *, needed: bool, usual: Path) -> Runtime:
    """Look at `XDG_RUNTIME_DIR`, which has `value`; `usual` is where systemd makes it."""
    return Runtime(needed, value, value is not None and _mine(Path(value)), usual, _mine(usual))


def held(directories: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Find auth directories a daemon holds, and by whom in its own words."""
    for active in directories:
        path = Folders(active).daemon_lock
        if _is_locked(path):
            yield active, holder(path) or "unknown"


def proxy(config: ProxyConfig, seconds: float = ANSWER_SECONDS) -> Proxy | None:
    """Ask who is at the proxy's address; None where the port is any."""
    if not config.port:
        return None
    host = _ANY.get(config.host, config.host)
    address = f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}"
    state, version, connected = _ask(host, config.port, seconds)
    if state in (ProxyState.OURS, ProxyState.NOBODY):
        return Proxy(address, state, version=version, connected=connected)
    name, pid = _holder_at(config.port)
    return Proxy(address, state, name, pid)


def _holder_at(port: int) -> tuple[str, int | None]:
    """Name the process that listens on a port; empty where the system does not tell."""
    found = holder_of(port)
    return (str(found), found.pid) if found is not None else ("", None)


def callback_ports(providers: Sequence[Provider], daemon_pid: int | None) -> Iterator[Port]:
    """Try the fixed ports of logins. One the daemon has belongs to a login under way."""
    wanted: dict[int, list[str]] = {}
    for provider in providers:
        if LoginFlow.CODE in provider.flows and provider.redirect.port:
            wanted.setdefault(provider.redirect.port, []).append(provider.name)
    for port, names in sorted(wanted.items()):
        try:
            _, sockets = bind_loopback(port)
        except OSError as error:
            name, pid = _holder_at(port) if error.errno == errno.EADDRINUSE else ("", None)
            taken = name or ("another user's program" if error.errno == errno.EADDRINUSE else "")
            if pid is None or pid != daemon_pid:
                yield Port(port, tuple(names), taken, error.strerror or "")
            continue
        for each in sockets:
            each.close()


def socket_paths(folder: Path) -> tuple[tuple[Path, ...], str | None]:
    """Return the paths of the sockets, or why there can be none."""
    try:
        return tuple(paths.socket_path(name, folder) for name in (paths.CONTROL_SOCKET, paths.TOKEN_SOCKET)), None
    except BrokerError as error:
        return (), error.detail


def _ask(host: str, port: int, seconds: float) -> tuple[ProxyState, str, bool]:
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", "/health", headers={"Host": f"localhost:{port}"})
        body = json.loads(connection.getresponse().read(_BODY_BYTES))
    except TimeoutError:
        return ProxyState.SILENT, "", False
    except OSError as error:
        return (ProxyState.NOBODY if error.errno in _FREE else ProxyState.OTHER), "", False
    except (http.client.HTTPException, ValueError, RecursionError):
        return ProxyState.OTHER, "", False
    finally:
        connection.close()
    if not (isinstance(body, dict) and isinstance(body.get("daemon"), dict) and "leases" in body):
        return ProxyState.OTHER, "", False
    version = body.get("version")
    known = version if isinstance(version, str) and version.isprintable() and len(version) <= 40 else ""
    return ProxyState.OURS, known, body["daemon"].get("connected") is True


def _is_locked(path: Path) -> bool:
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            # Shared, and for no longer than this: a daemon starting in this very moment asks again by itself.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


def _mine(folder: Path) -> bool:
    try:
        info = folder.stat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid()
