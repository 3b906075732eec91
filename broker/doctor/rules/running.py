"""The daemon, its sockets, the proxy, and the logins as the daemon sees them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from broker.config import Config
from broker.doctor.facts import (
    Daemon,
    Folder,
    Kind,
    OutboundProxy,
    Port,
    Proxy,
    ProxyState,
    Reach,
    Runtime,
    Services,
    Socket,
    SocketState,
)
from broker.doctor.finding import Finding, RemoveSocket, SetMode, Severity, aside, capital, mendable, quoted
from broker.ipc.schema import AccountView
from broker.model.account import StateName
from broker.model.commands import way_in
from broker.model.network import PROXY_HINT

_SHORT = "Set CCS_BROKER_RUNTIME_DIR to a shorter folder."
_NOTED_SKEW_SECONDS = 60.0  # a Date header has whole seconds and is read late
_ERROR_SKEW_SECONDS = 300.0  # signed requests and tokens are refused from here on, by Google among others
_HELPFUL = frozenset({"foreign-writes-kept", "change-notification"})  # without them it works, less well
_BY_CHOICE = frozenset({"sealed-files"})


# --- sockets ---


def runtime(seen: Runtime, services: Services) -> Iterator[Finding]:
    """Where the sockets would lie by the XDG rules."""
    if not seen.needed or seen.exists:
        return
    if seen.value is not None:
        what = f"XDG_RUNTIME_DIR is {seen.value}, which is no folder of yours: no socket can be made there"
        yield Finding("runtime-dir", Severity.ERROR, what, f"Run: export XDG_RUNTIME_DIR={seen.usual}", seen.value)
        return
    apart = bool(services.units) or seen.usual_exists
    what = "XDG_RUNTIME_DIR is not set: the sockets are looked for in the state directory"
    what += f", while services use {seen.usual}" if apart else ""
    mend = f"Run: export XDG_RUNTIME_DIR={seen.usual}" if seen.usual_exists else "Log in through PAM (ssh, not su)."
    yield Finding("runtime-dir", Severity.WARNING if apart else Severity.INFO, what, mend, str(seen.usual))


def socket_folder_mode(folder: Folder) -> Iterator[Finding]:
    """A folder of sockets others can look into."""
    if folder.kind is Kind.FOLDER and folder.mine and folder.mode & 0o077:
        what = f"The folder of the sockets is open to other users (mode {folder.mode:04o})"
        yield mendable("socket-dir-mode", Severity.ERROR, what, SetMode(folder.path, 0o700))


def socket_folder_owner(folder: Folder) -> Iterator[Finding]:
    """Another user's folder in the place of ours."""
    if folder.kind is Kind.FOLDER and not folder.mine:
        what = f"The folder of the sockets belongs to user {folder.owner}: the daemon refuses to use it"
        yield Finding(
            "socket-dir-owner", Severity.ERROR, what, "Set CCS_BROKER_RUNTIME_DIR to a folder of yours.", str(folder.path)
        )  # fmt: skip


def socket_path(fault: str | None, folder: Path) -> Iterator[Finding]:
    """A path no socket can have."""
    if fault is not None:
        yield Finding("socket-path", Severity.ERROR, capital(fault), _SHORT, str(folder))


def stale(sockets: Iterable[Socket]) -> Iterator[Finding]:
    """Sockets nobody listens on."""
    for each in sockets:
        if each.state is SocketState.STALE:
            what = "A socket file nobody listens on: a daemon ended without removing it"
            yield mendable("socket-stale", Severity.WARNING, what, RemoveSocket(each.path))


def blocked(sockets: Iterable[Socket]) -> Iterator[Finding]:
    """Something else in a socket's place."""
    for each in sockets:
        if each.state is SocketState.OTHER:
            mend = f"Run: {aside(each.path)}"
            yield Finding("socket-blocked", Severity.ERROR, "Something that is no socket is in its place", mend, str(each.path))  # fmt: skip
        elif each.state is SocketState.CLOSED:
            mend = "Set CCS_BROKER_RUNTIME_DIR to a folder of yours, or run as the user who owns the daemon."
            yield Finding("socket-blocked", Severity.ERROR, "The socket may not be connected to", mend, str(each.path))


# --- daemon ---


def down(daemon: Daemon, services: Services) -> Iterator[Finding]:
    """Nobody there."""
    if daemon.health is None and not daemon.silent:
        yield Finding("daemon-down", Severity.ERROR, f"No daemon runs: {daemon.reason}", f"Run: {_start(services)}")


def silent(daemon: Daemon, services: Services) -> Iterator[Finding]:
    """Somebody there who does not answer, or not as a daemon would."""
    if daemon.health is None and daemon.silent:
        mend = f"Run: {_restart(services, 'ccs-broker')}, and look at its log."
        yield Finding("daemon-silent", Severity.ERROR, f"A daemon listens and does not answer: {daemon.reason}", mend)


def daemon_version(daemon: Daemon, ours: str, services: Services) -> Iterator[Finding]:
    """Another version than this program."""
    if daemon.health is not None and daemon.health.version != ours:
        what = f"The daemon is version {daemon.health.version}, this program {ours}"
        mend = f"Run: {_restart(services, 'ccs-broker')}"
        yield Finding("daemon-version", Severity.WARNING, what, mend, f"process {daemon.health.pid}")


def daemon_config(daemon: Daemon, config: Config, services: Services) -> Iterator[Finding]:
    """A daemon that was started with other settings."""
    health = daemon.health
    if health is None:
        return
    wanted = tuple(str(each) for each in config.auth_directories())
    differs = []
    if health.directories and health.directories != wanted:
        differs.append(f"serves {', '.join(health.directories)}, and the config says {', '.join(wanted)}")
    if health.store_mode != config.store.mode:
        differs.append(f"writes {health.store_mode} files, and the config says {config.store.mode}")
    for each in differs:
        mend = f"Run: {_restart(services, 'ccs-broker')}; or give this shell the daemon's CCS_DIR, CCS_HOME and CCS_BROKER_CONFIG."
        yield Finding("daemon-config", Severity.WARNING, f"The daemon {each}", mend, f"process {health.pid}")


def elsewhere(daemon: Daemon, held: Iterable[tuple[Path, str]]) -> Iterator[Finding]:
    """Auth directories a daemon holds that is not the one we reach. `held` is by whom, in its own words."""
    for path, by in held:
        if daemon.health is None or f"pid {daemon.health.pid}," not in f"{by},":
            what = f"Another daemon ({by}) holds {path}, and does not answer on the sockets this shell looks for"
            mend = "Use its XDG_RUNTIME_DIR or CCS_BROKER_RUNTIME_DIR here too, or stop it."
            yield Finding("daemon-elsewhere", Severity.WARNING, what, mend, str(path))


def problems(daemon: Daemon) -> Iterator[Finding]:
    """What the daemon says of itself."""
    for each in daemon.health.problems if daemon.health else ():
        yield Finding("daemon-problem", Severity.WARNING, f"The daemon tells: {each}", "Run: ccs-broker status")


def unprotected(daemon: Daemon) -> Iterator[Finding]:
    """Protections that do not work here."""
    for name, works in sorted((daemon.health.protections if daemon.health else {}).items()):
        if works or name in _BY_CHOICE:
            continue
        severity = Severity.INFO if name in _HELPFUL else Severity.ERROR
        mend = "docs/files.md says what is lost without it; a local ext4, xfs or btrfs has it."
        if name not in _HELPFUL:
            mend = "Restart the daemon, which closes its folders and sockets: ccs-broker status"
        yield Finding("daemon-unprotected", severity, f"The daemon tried {name}, and it does not work here", mend)


def skew(daemon: Daemon, reached: Iterable[Reach]) -> Iterator[Finding]:
    """Clocks that differ, as the daemon learned, or as they are now."""
    learned = daemon.health.clock_skew if daemon.health else {}
    now = {each.provider: each.ahead for each in reached if each.ahead is not None}
    for provider, seconds in sorted({**learned, **now}.items()):
        if abs(seconds) < _NOTED_SKEW_SECONDS:
            continue
        way = "behind" if seconds > 0 else "ahead of"
        severity = Severity.ERROR if abs(seconds) >= _ERROR_SKEW_SECONDS else Severity.WARNING
        yield Finding(
            "clock-skew", severity, f"This machine's clock is {abs(seconds):.0f} s {way} the one of {provider}",
            "Run: sudo timedatectl set-ntp true", provider,
        )  # fmt: skip


# --- proxy ---


def port_taken(proxy: Proxy, refresher: str | None) -> Iterator[Finding]:
    """Another program on our port. `refresher` is its name where it is one that renews logins."""
    if proxy.state is ProxyState.OTHER:
        by = f" (this is {refresher})" if refresher else ""
        what = f"Another program has the proxy's port: {proxy.holder or 'the system does not tell which'}{by}"
        stop = f"Run: kill {proxy.pid}; or set" if proxy.pid else "Stop it, or set"
        yield Finding("port-taken", Severity.ERROR, what, f"{stop} another proxy.port.", proxy.address)


def proxy_down(proxy: Proxy, services: Services) -> Iterator[Finding]:
    """No proxy."""
    if proxy.state is ProxyState.NOBODY:
        unit = any("proxy" in unit.name for unit in services.units)
        start = _manager(services, "start", "ccs-broker-proxy") if unit else "ccs-broker up (or: ccs-broker proxy)"
        yield Finding("proxy-down", Severity.WARNING, "No proxy runs", f"Run: {start}", proxy.address)


def proxy_silent(proxy: Proxy) -> Iterator[Finding]:
    """A proxy that hangs."""
    if proxy.state is ProxyState.SILENT:
        what = f"{proxy.holder or 'A program'} listens on the proxy's port and does not answer"
        mend = f"Run: kill {proxy.pid}" if proxy.pid else "Stop the program that listens there."
        yield Finding("proxy-silent", Severity.ERROR, what, f"{mend}, then: ccs-broker up", proxy.address)


def proxy_version(proxy: Proxy, ours: str, services: Services) -> Iterator[Finding]:
    """Another version than this program."""
    if proxy.state is ProxyState.OURS and proxy.version != ours:
        what = f"The proxy is version {proxy.version or 'unknown'}, this program {ours}"
        mend = f"Run: {_restart(services, 'ccs-broker-proxy')}"
        yield Finding("proxy-version", Severity.WARNING, what, mend, proxy.address)


def detached(proxy: Proxy, daemon: Daemon) -> Iterator[Finding]:
    """A proxy that does not find the daemon that runs."""
    if proxy.state is ProxyState.OURS and not proxy.connected and daemon.health is not None:
        mend = "Restart it with the daemon's XDG_RUNTIME_DIR or CCS_BROKER_RUNTIME_DIR."
        yield Finding("proxy-detached", Severity.ERROR, "The proxy does not reach the daemon", mend, proxy.address)


# --- logins ---


def none_yet(daemon: Daemon, files: int) -> Iterator[Finding]:
    """Nobody logged in."""
    if not daemon.accounts and not files:
        yield Finding("no-accounts", Severity.INFO, "There is no login yet", "Run: ccs-broker login PROVIDER")


def needed(accounts: Iterable[AccountView]) -> Iterator[Finding]:
    """Dead logins."""
    for view in accounts:
        if view.state == StateName.NEEDS_LOGIN:
            what = f"{view.account} needs a login{_because(view)}"
            yield Finding("login-needed", Severity.ERROR, what, f"Run: {way_in(view.provider)}", view.account)


def unsaved(accounts: Iterable[AccountView]) -> Iterator[Finding]:
    """Logins in memory only."""
    for view in accounts:
        if view.state == StateName.UNSAVED:
            what = f"{view.account} was renewed, and storage refuses it{_because(view)}"
            mend = "Make the auth directory writable; do not stop the daemon before it has saved the login."
            yield Finding("login-unsaved", Severity.ERROR, what, mend, view.account)


def troubled(accounts: Iterable[AccountView]) -> Iterator[Finding]:
    """Logins whose renewal failed."""
    for view in accounts:
        if view.state in (StateName.BACKOFF, StateName.AMBIGUOUS):
            what = "could not be renewed" if view.state == StateName.BACKOFF else "was renewed, and the answer was lost"
            mend = view.hint or f"It is tried again; to try now, run: ccs-broker refresh {quoted(view.account)}"
            yield Finding("login-troubled", Severity.WARNING, f"{view.account} {what}{_because(view)}", mend, view.account)  # fmt: skip


def unreachable(reached: Iterable[Reach]) -> Iterator[Finding]:
    """Providers that do not answer."""
    for each in reached:
        if each.fault is not None:
            what = f"{each.provider} cannot be reached at {each.host}: {each.fault}"
            mend = f"By which way it is reached, and whether that works: ccs-broker network test {each.provider}"
            yield Finding("provider-unreachable", Severity.ERROR, what, mend, each.host)


def outbound(proxies: Iterable[OutboundProxy]) -> Iterator[Finding]:
    """Outbound proxies through which nothing gets out."""
    for each in proxies:
        what = f"An outbound proxy is of no use, and nothing goes past it: its setting {each.fault}"
        yield Finding(
            "outbound-proxy", Severity.ERROR, what, f"Start it, or correct the setting. {PROXY_HINT}", each.where
        )


def callback_ports(ports: Iterable[Port]) -> Iterator[Finding]:
    """Ports a login needs and cannot have."""
    for each in ports:
        who = ", ".join(each.providers)
        by = f"is taken by {each.holder}" if each.holder else f"cannot be had: {each.why}"
        mend = f"Stop that program while you log in, or run: ccs-broker login {each.providers[0]} --no-browser"
        yield Finding("callback-port", Severity.WARNING, f"Port {each.port}, to which logins of {who} come back, {by}", mend, f"port {each.port}")  # fmt: skip


def _because(view: AccountView) -> str:
    return f": {view.reason.rstrip('.')}" if view.reason else ""


def _start(services: Services) -> str:
    installed = any("proxy" not in unit.name for unit in services.units)
    return _manager(services, "start", "ccs-broker") if installed else "ccs-broker up (or: ccs-broker service install)"


def _restart(services: Services, unit: str) -> str:
    installed = any(each.name.startswith(unit) for each in services.units)
    return _manager(services, "restart", unit) if installed else "ccs-broker up, after stopping the one that runs"


def _manager(services: Services, verb: str, unit: str) -> str:
    if services.manager == "systemd":
        return f"systemctl --user {verb} {unit}"
    label = "ccs-broker.proxy" if "proxy" in unit else "ccs-broker.daemon"
    return f"launchctl kickstart -k gui/$(id -u)/{label}"
