"""Where files live, one function a place.

Owns: the rules of the XDG base directory specification and of systemd's STATE_DIRECTORY and RUNTIME_DIRECTORY as they apply
here; those of the sockets are `broker.socket_places`'. It must never create anything.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from broker import socket_places
from broker.socket_places import APP as APP  # noqa: PLC0414
from broker.socket_places import CONTROL_SOCKET as CONTROL_SOCKET  # noqa: PLC0414 - names of places too
from broker.socket_places import TOKEN_SOCKET as TOKEN_SOCKET  # noqa: PLC0414
from broker.socket_places import xdg

Env = Mapping[str, str]


def home(env: Env = os.environ) -> Path:
    """Return the user's home directory."""
    return Path(socket_places.home(env))


def config_file(env: Env = os.environ) -> Path:
    """Return the config file: `CCS_BROKER_CONFIG`, else `$XDG_CONFIG_HOME/ccs-broker/config.toml`."""
    if chosen := env.get("CCS_BROKER_CONFIG"):
        return Path(chosen)
    return Path(xdg(env, "XDG_CONFIG_HOME", ".config")) / APP / "config.toml"


def local_keys_file(env: Env = os.environ) -> Path:
    """Return the file of the proxy's local keys: beside the config file, as the proxy may be kept from the state directory (docs/services.md)."""
    return config_file(env).with_name("proxy-keys.json")


def state_dir(env: Env = os.environ) -> Path:
    """Return the state directory: systemd's `STATE_DIRECTORY` first, else `$XDG_STATE_HOME/ccs-broker`."""
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return Path(xdg(env, "XDG_STATE_HOME", ".local/state")) / APP


def proxy_state_dir(env: Env = os.environ) -> Path:
    """Return the proxy's own state directory: `STATE_DIRECTORY` first, else `$XDG_STATE_HOME/ccs-broker-proxy`.

    It stands beside the daemon's, not in it, as the proxy may be kept from that (docs/services.md).
    """
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return Path(xdg(env, "XDG_STATE_HOME", ".local/state")) / f"{APP}-proxy"


def runtime_dir(env: Env = os.environ) -> Path:
    """Return the folder of the sockets (`broker.socket_places.runtime_folder`)."""
    return Path(socket_places.runtime_folder(env))


def socket_path(name: str, folder: Path) -> Path:
    """Return the path of a socket in `folder`.

    Raises:
        BrokerError: `bad_request` where the platform could not bind it, with the limit and the length.
    """
    return Path(socket_places.socket_file(name, str(folder)))


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
