"""The messages about the config.

Owns: their shapes. Pure. What the settings are `broker.config` says; here they are names and JSON values, so that a client needs no table of them.
"""

from typing import Any

import msgspec

Json = Any
"""Any value that JSON can hold; `object` is none that msgspec can read."""


class ConfigSetting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in force. `origin`: `file` (then with its `line`), `environment` (with its `variable`), `built in` (a provider's own facts) or `default`.

    `restart` says why a change of it needs a restart; `pending` is what the file says where one is due.
    """

    key: str
    value: Json = None
    default: Json = None
    origin: str
    line: int | None = None
    variable: str | None = None
    restart: str | None = None
    pending: Json = None


class ConfigView(msgspec.Struct, frozen=True, kw_only=True):
    """The config in force: read from `file` at `loaded` (seconds since the epoch). `problem` says why the file as it is now was refused, if it was."""

    file: str
    exists: bool
    generation: str
    loaded: float
    problem: str | None = None
    settings: tuple[ConfigSetting, ...] = ()


class ReloadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload came to: the settings that changed; `pending` ones, of the daemon and of the proxy, do so at the next start."""

    generation: str
    changed: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
