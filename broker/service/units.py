"""The texts of the systemd units and launchd plists, made from values.

Owns: what the units say. Pure: it reads no file and no environment, and never starts anything; `broker.service.install` does.
The folders systemd/ and launchd/ hold these texts for the default `Values`; a test keeps them equal.

Checked against systemd 252 and later. What a *user* manager of 252 cannot do without a user namespace (ProtectSystem, PrivateTmp ...) stands
in a drop-in of its own, so that the base unit starts everywhere, also where user namespaces are switched off.
"""

import plistlib
from dataclasses import dataclass
from typing import Final

SOCKET_UNITS: Final = ("ccs-broker.socket", "ccs-broker-token.socket")
DAEMON_UNIT: Final = "ccs-broker.service"
PROXY_UNIT: Final = "ccs-broker-proxy.service"
DAEMON_SANDBOX: Final = "ccs-broker.service.d/sandbox.conf"
PROXY_SANDBOX: Final = "ccs-broker-proxy.service.d/sandbox.conf"
DAEMON_LABEL: Final = "ccs-broker.daemon"
PROXY_LABEL: Final = "ccs-broker.proxy"

PLIST_KEYS: Final = frozenset(
    {
        "Label", "ProgramArguments", "RunAtLoad", "KeepAlive", "ThrottleInterval", "ExitTimeOut", "ProcessType", "Umask",
        "SoftResourceLimits", "HardResourceLimits", "StandardErrorPath", "EnvironmentVariables",
    }
)  # fmt: skip
"""The launchd.plist(5) keys in use: launchd ignores a misspelt one without a word."""

STOP_SECONDS: Final = 45
"""How long a stop may take: `refresh.stop_timeout_seconds` (20 by default) for a renewal under way, then the clients. A configured longer
one is asked for at stop time with EXTEND_TIMEOUT_USEC."""

# Seconds between a crash and the next start. A faulty config file is tried again too: not restarting would be worse, as a client waiting on
# the socket makes systemd start the service at once, again and again.
_RESTART_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Values:
    """What differs between machines.

    `executable` is the absolute path of `ccs-broker`; `runtime_dir` the folder of the sockets; `writable` the folders the daemon writes
    to (auth and state), `proxy_writable` those of the proxy, which lie outside them; `environment` the variables the services need to find
    the same files as the shell; `log_dir` where launchd sends stderr. Under systemd, `executable`, `runtime_dir` and the writable folders may
    hold specifiers (`%h`), so a literal `%` in them is written `%%`.
    """

    executable: str
    runtime_dir: str
    writable: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    log_dir: str | None = None
    proxy_writable: tuple[str, ...] = ()


SYSTEMD_DEFAULTS: Final = Values(
    "%h/.local/bin/ccs-broker",
    "%t/ccs-broker",
    ("%h/.ccs", "%h/.local/state/ccs-broker"),
    proxy_writable=("%h/.local/state/ccs-broker-proxy",),
)
LAUNCHD_DEFAULTS: Final = Values("/usr/local/bin/ccs-broker", "", ())


def systemd_units(values: Values) -> dict[str, str]:
    """Return every systemd file: its name below the unit folder, and its text."""
    return {
        "ccs-broker.socket": _socket_unit(values, "broker.sock", "control", "everything: logins, renewals, tokens"),
        "ccs-broker-token.socket": _socket_unit(values, "token.sock", "token", "accounts, tokens, reports, watch"),
        DAEMON_UNIT: _daemon_unit(values),
        DAEMON_SANDBOX: _drop_in(daemon_sandbox(values)),
        PROXY_UNIT: _proxy_unit(values),
        PROXY_SANDBOX: _drop_in(proxy_sandbox(values)),
    }


def daemon_sandbox(values: Values) -> tuple[str, ...]:
    """Return the daemon's settings that need a user namespace: it writes to its own folders and nowhere else."""
    return (*_SANDBOX, f"ReadWritePaths={_paths((*values.writable, values.runtime_dir))}")


def proxy_sandbox(values: Values) -> tuple[str, ...]:
    """Return the proxy's: it writes to its own state directory only, and cannot open what the daemon writes (the safe), not even to read."""
    own = (f"ReadWritePaths={_paths(values.proxy_writable)}",) if values.proxy_writable else ()
    return (*_SANDBOX, f"InaccessiblePaths={_paths(values.writable)}", *own)


def launchd_plists(values: Values) -> dict[str, bytes]:
    """Return both launchd files: the name, and the XML."""
    return {
        f"{DAEMON_LABEL}.plist": _plist(values, DAEMON_LABEL, "serve"),
        f"{PROXY_LABEL}.plist": _plist(values, PROXY_LABEL, "proxy"),
    }


def escape_percent(text: str) -> str:
    """Return a path for `Values` in which systemd will see every `%` as a plain one."""
    return text.replace("%", "%%")


def fit_to_execute(path: str) -> bool:
    """Tell whether systemd accepts `path` as a command's name: quoting does not help there (checked on 252)."""
    return path.startswith("/") and path.isprintable() and not set(path) & set("\"'\\")


def quote(text: str) -> str:
    """Write one word of a systemd command line or list (systemd.syntax(7), "Quoting").

    `%` is left alone: the caller decides whether it begins a specifier.
    """
    if text and not set(text) & set(" \t\n\"'\\;"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _socket_unit(values: Values, name: str, descriptor: str, what: str) -> str:
    # One .socket unit carries one FileDescriptorName, hence one unit a socket.
    return f"""\
[Unit]
Description=ccs-broker {descriptor} socket ({what})

[Socket]
ListenStream={values.runtime_dir}/{name}
FileDescriptorName={descriptor}
Service={DAEMON_UNIT}
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""


def _daemon_unit(values: Values) -> str:
    return f"""\
[Unit]
Description=ccs-broker daemon (owns and renews OAuth logins)
Requires={" ".join(SOCKET_UNITS)}
After={" ".join(SOCKET_UNITS)}
# When a service reaches its start limit, its sockets fail with it; clients are better off waiting.
StartLimitIntervalSec=0

[Service]
{_process(values, "serve")}Sockets={" ".join(SOCKET_UNITS)}

{_HARDENING}
[Install]
WantedBy=default.target
Also={" ".join(SOCKET_UNITS)}
"""


def _proxy_unit(values: Values) -> str:
    return f"""\
[Unit]
Description=ccs-broker proxy (forwards API requests with borrowed tokens)
Wants={" ".join(SOCKET_UNITS)}
After={" ".join(SOCKET_UNITS)}
StartLimitIntervalSec=0

[Service]
{_process(values, "proxy")}
{_HARDENING}
[Install]
WantedBy=default.target
"""


def _process(values: Values, command: str) -> str:
    environment = "".join(
        f"Environment={quote(f'{name}={escape_percent(value)}')}\n" for name, value in values.environment
    )
    return f"""\
Type=notify
NotifyAccess=main
ExecStart={quote(values.executable)} {command}
ExecReload=/bin/kill -HUP $MAINPID
{environment}Restart=on-failure
RestartSec={_RESTART_SECONDS}
TimeoutStartSec=60
TimeoutStopSec={STOP_SECONDS}
KillMode=mixed
"""


_HARDENING = """\
UMask=0077
# Tokens must not end up in a core dump.
LimitCORE=0
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""


def _drop_in(settings: tuple[str, ...]) -> str:
    listed = "\n".join(settings)
    return f"""\
# These need a user namespace, which some systems forbid: without them the service still starts, with this file it may not.
# `ccs-broker service install` puts it in place only after trying.
[Service]
{listed}
"""


_SANDBOX = (
    "PrivateUsers=yes",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
)


def _paths(folders: tuple[str, ...]) -> str:
    # "-": a folder that does not exist yet must not keep the service from starting.
    return " ".join(quote(f"-{folder}") for folder in folders)


def _plist(values: Values, label: str, command: str) -> bytes:
    job: dict[str, object] = {
        "Label": label,
        "ProgramArguments": [values.executable, command],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": _RESTART_SECONDS,
        "ExitTimeOut": STOP_SECONDS,
        "ProcessType": "Interactive" if command == "proxy" else "Background",
        # launchd takes the umask as a decimal number: 63 is 0o077.
        "Umask": 0o077,
        "SoftResourceLimits": {"Core": 0},
        "HardResourceLimits": {"Core": 0},
    }
    if values.log_dir is not None:
        job["StandardErrorPath"] = f"{values.log_dir}/{label}.log"
    if values.environment:
        job["EnvironmentVariables"] = dict(values.environment)
    return plistlib.dumps(job, sort_keys=False)
