"""Where files live, one function a place.

Owns: the rules of the XDG base directory specification and of systemd's STATE_DIRECTORY and RUNTIME_DIRECTORY as they apply
here, and the length limit of socket paths. It must never create anything.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from broker.model.errors import BrokerError, ErrorCode

APP = "ccs-broker"
CONTROL_SOCKET = "broker.sock"
TOKEN_SOCKET = "token.sock"  # noqa: S105 - a file name

# sun_path is 108 bytes on Linux and 104 on macOS and the BSDs, its terminating zero included.
_SUN_PATH_MAX = 107 if sys.platform == "linux" else 103

Env = Mapping[str, str]


def home(env: Env = os.environ) -> Path:
    """Return the user's home directory."""
    return Path(env["HOME"]) if env.get("HOME") else Path.home()


def config_file(env: Env = os.environ) -> Path:
    """Return the config file: `CCS_BROKER_CONFIG`, else `$XDG_CONFIG_HOME/ccs-broker/config.toml`."""
    if chosen := env.get("CCS_BROKER_CONFIG"):
        return Path(chosen)
    return _xdg(env, "XDG_CONFIG_HOME", ".config") / APP / "config.toml"


def local_keys_file(env: Env = os.environ) -> Path:
    """Return the file of the proxy's local keys: beside the config file, as the proxy may be kept from the state directory (docs/services.md)."""
    return config_file(env).with_name("proxy-keys.json")


def state_dir(env: Env = os.environ) -> Path:
    """Return the state directory: systemd's `STATE_DIRECTORY` first, else `$XDG_STATE_HOME/ccs-broker`."""
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return _xdg(env, "XDG_STATE_HOME", ".local/state") / APP


def proxy_state_dir(env: Env = os.environ) -> Path:
    """Return the proxy's own state directory: `STATE_DIRECTORY` first, else `$XDG_STATE_HOME/ccs-broker-proxy`.

    It stands beside the daemon's, not in it, as the proxy may be kept from that (docs/services.md).
    """
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return _xdg(env, "XDG_STATE_HOME", ".local/state") / f"{APP}-proxy"


def runtime_dir(env: Env = os.environ) -> Path:
    """Return the folder of the sockets.

    `CCS_BROKER_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/ccs-broker`; on systems without a runtime directory, `run` in the state directory, which
    is as private.
    """
    if chosen := env.get("CCS_BROKER_RUNTIME_DIR"):
        return Path(chosen)
    if given := env.get("XDG_RUNTIME_DIR"):
        return Path(given) / APP
    return _xdg(env, "XDG_STATE_HOME", ".local/state") / APP / "run"


def socket_path(name: str, folder: Path) -> Path:
    """Return the path of a socket in `folder`.

    Raises:
        BrokerError: `bad_request` where the platform could not bind it, with the limit and the length.
    """
    path = folder / name
    length = len(os.fsencode(path))
    if length > _SUN_PATH_MAX:
        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            f"the socket path {path} has {length} bytes; this system allows {_SUN_PATH_MAX}",
            hint="Set CCS_BROKER_RUNTIME_DIR to a shorter folder.",
        )
    return path


def default_auth_dir(env: Env = os.environ) -> Path:
    """Return the auth directory CCS and CLIProxyAPI share: `$CCS_DIR`, `$CCS_HOME/.ccs` or `~/.ccs`, then `cliproxy/auth`."""
    if chosen := env.get("CCS_DIR"):
        base = Path(chosen)
    elif ccs_home := env.get("CCS_HOME"):
        base = Path(ccs_home) / ".ccs"
    else:
        base = home(env) / ".ccs"
    return base / "cliproxy" / "auth"


def expand(text: str, env: Env = os.environ) -> Path:
    """Turn a path from the config into an absolute one; a leading `~` is the home directory."""
    if text == "~" or text.startswith("~/"):
        return home(env) / text[2:]
    return Path(text).absolute()


def _xdg(env: Env, name: str, fallback: str) -> Path:
    # The specification: a relative value is invalid and must be ignored.
    value = env.get(name, "")
    return Path(value) if value.startswith("/") else home(env) / fallback
