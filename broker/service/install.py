"""The door of `ccs-broker service`: which manager this machine has, and the values its files are made from.

Owns: reading the environment once and turning it into `Values`. The managers (`systemd`, `launchd`) do the rest.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from broker import paths
from broker.model.errors import BrokerError, ErrorCode
from broker.service.launchd import Launchd
from broker.service.steps import Step, UnitState
from broker.service.systemd import Systemd
from broker.service.units import Values, escape_percent, fit_to_execute

# What decides where files are found, and PATH: providers look for an installed gemini-cli on it, and managers start us with a bare one.
# Secrets (client_secret_env) are deliberately not carried into a file.
_CARRIED_PATHS = (
    "CCS_BROKER_CONFIG",
    "CCS_BROKER_RUNTIME_DIR",
    "CCS_DIR",
    "CCS_HOME",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
)


class Manager(Protocol):
    """A service manager: systemd or launchd."""

    name: str

    def install(self, *, start: bool) -> tuple[Step, ...]:
        """Put the files in place, and with `start` run the services."""
        ...

    def uninstall(self) -> tuple[Step, ...]:
        """Stop the services and take the files away."""
        ...

    def status(self) -> tuple[UnitState, ...]:
        """Tell how each service stands."""
        ...


def manager(
    auth_directories: Sequence[Path], environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Manager:
    """Return this machine's manager.

    Raises:
        BrokerError: `misconfigured` where the `ccs-broker` program cannot be found, `bad_request` where the sockets' path is too long.
    """
    program = executable(environ)
    carried = _environment(environ)
    if platform == "darwin":
        library = paths.home(environ) / "Library"
        values = Values(program, "", (), carried, str(library / "Logs" / paths.APP))
        return Launchd(values, library / "LaunchAgents", environ, os.getuid())
    if not fit_to_execute(program):
        raise BrokerError(
            ErrorCode.MISCONFIGURED,
            f"systemd does not start programs with quotes or backslashes in their path: {program}",
            hint="Install ccs-broker in another folder.",
        )
    own = (escape_percent(str(paths.proxy_state_dir(_plain(environ)))),)
    writable = _writable(auth_directories, environ)
    values = Values(escape_percent(program), _runtime(environ), writable, carried, proxy_writable=own)
    return Systemd(
        values, paths.config_file({**environ, "CCS_BROKER_CONFIG": ""}).parents[1] / "systemd" / "user", environ
    )


def prepare(
    auth_directories: Sequence[Path], environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> None:
    """Make the folders the services need to exist before they start: the stricter sandbox cannot make them, and launchd makes no log folder.

    Raises:
        BrokerError: `storage_unwritable`, naming the folder.
    """
    folders = [*auth_directories, paths.state_dir(_plain(environ)), paths.proxy_state_dir(_plain(environ))]
    if platform == "darwin":
        folders.append(paths.home(environ) / "Library" / "Logs" / paths.APP)
    for folder in folders:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BrokerError(ErrorCode.STORAGE_UNWRITABLE, f"{folder}: {error.strerror}") from error


def executable(environ: Mapping[str, str] = os.environ, argv0: str | None = None, python: str | None = None) -> str:
    """Return the absolute path of `ccs-broker`: the one now running, else the one beside this Python, else the one on PATH.

    Raises:
        BrokerError: `misconfigured` where there is none.
    """
    called = Path(sys.argv[0] if argv0 is None else argv0)
    beside = Path(sys.executable if python is None else python).parent / paths.APP
    candidates = [called.absolute()] if called.name == paths.APP and called.parent != Path() else []
    found = shutil.which(paths.APP, path=environ.get("PATH"))
    candidates += [beside, *([Path(found).absolute()] if found else [])]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return str(candidate)
    raise BrokerError(
        ErrorCode.MISCONFIGURED,
        "the ccs-broker program is not on PATH nor beside this Python",
        hint="Install it: pipx install ccs-broker",
    )


def _environment(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    carried = [(name, os.path.abspath(environ[name])) for name in _CARRIED_PATHS if environ.get(name)]  # noqa: PTH100 - keeps ".." out
    if path := environ.get("PATH"):
        carried.append(("PATH", path))
    return tuple(carried)


def _runtime(environ: Mapping[str, str]) -> str:
    for name in (paths.CONTROL_SOCKET, paths.TOKEN_SOCKET):
        paths.socket_path(name, paths.runtime_dir(environ))
    if chosen := environ.get("CCS_BROKER_RUNTIME_DIR"):
        return escape_percent(os.path.abspath(chosen))  # noqa: PTH100
    return f"%t/{paths.APP}"


def _writable(auth_directories: Sequence[Path], environ: Mapping[str, str]) -> tuple[str, ...]:
    # The parent, not the directory: `auth-paused` stands beside it, and a rename between two mounts would fail.
    folders = [*(folder.parent for folder in auth_directories), paths.state_dir(_plain(environ))]
    return tuple(escape_percent(str(folder)) for folder in dict.fromkeys(folders))


def _plain(environ: Mapping[str, str]) -> dict[str, str]:
    # STATE_DIRECTORY belongs to the service this command may itself run under, not to the one to be installed.
    return {name: value for name, value in environ.items() if name != "STATE_DIRECTORY"}
