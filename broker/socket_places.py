"""Where the daemon's sockets are.

Owns: the rules for their folder, and the length limit of socket paths. `broker.paths` has the same as `Path`s, and all other places. It must never import
anything that Python has not loaded by itself: `ccs-broker token` is over in the time that pathlib takes.
"""

import os
import sys

TYPE_CHECKING = False  # typing is as heavy
if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "ccs-broker"
CONTROL_SOCKET = "broker.sock"
TOKEN_SOCKET = "token.sock"  # noqa: S105 - a file name

# sun_path is 108 bytes on Linux and 104 on macOS and the BSDs, its terminating zero included.
_SUN_PATH_MAX = 107 if sys.platform == "linux" else 103


def runtime_folder(env: "Mapping[str, str]" = os.environ) -> str:
    """Return the folder of the sockets.

    `CCS_BROKER_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/ccs-broker`; on systems without a runtime directory, `run` in the state directory, which
    is as private.
    """
    if chosen := env.get("CCS_BROKER_RUNTIME_DIR"):
        return chosen
    if given := env.get("XDG_RUNTIME_DIR"):
        return f"{given}/{APP}"
    return f"{xdg(env, 'XDG_STATE_HOME', '.local/state')}/{APP}/run"


def socket_file(name: str, folder: str) -> str:
    """Return the path of a socket in `folder`.

    Raises:
        BrokerError: `bad_request` where the platform could not bind it, with the limit and the length.
    """
    path = os.path.join(folder, name)  # noqa: PTH118 - pathlib is what must not be loaded
    length = len(os.fsencode(path))
    if length > _SUN_PATH_MAX:
        from broker.model.errors import BrokerError, ErrorCode  # noqa: PLC0415 - nor this, where all is well

        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            f"the socket path {path} has {length} bytes; this system allows {_SUN_PATH_MAX}",
            hint="Set CCS_BROKER_RUNTIME_DIR to a shorter folder.",
        )
    return path


def xdg(env: "Mapping[str, str]", name: str, fallback: str) -> str:
    """Return a base directory of the XDG specification. A relative value is invalid there, and ignored."""
    value = env.get(name, "")
    return value if value.startswith("/") else f"{home(env)}/{fallback}"


def home(env: "Mapping[str, str]") -> str:
    """Return the user's home directory."""
    if given := env.get("HOME"):
        return given
    from pathlib import Path  # noqa: PLC0415

    return str(Path.home())
