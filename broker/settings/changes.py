"""What a new config changes, and what of it takes effect at once.

Owns: the one table of settings that need a restart, each with its reason; whatever is not in it is live, and tests/settings/test_changes.py holds every
setting of the config to be in one of the two lists. Pure.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, get_args

import msgspec

from broker.config import Config
from broker.settings.checks import dotted
from broker.settings.shape import is_table

Key = tuple[str, ...]


class Program(StrEnum):
    """Who acts on a setting."""

    DAEMON = "daemon"
    PROXY = "proxy"


class Held(msgspec.Struct, frozen=True):
    """A setting that is looked at once, at the start of a program."""

    program: Program
    why: str


RESTART: Final[Mapping[str, Held]] = {
    "store.directories": Held(Program.DAEMON, "the folders are read, watched and locked from the start on"),
    "store.mode": Held(Program.DAEMON, "what the files are written with is decided once"),
    "store.key_source": Held(Program.DAEMON, "the key is fetched once"),
    "refresh.stop_timeout_seconds": Held(Program.DAEMON, "`up` and service managers are told it at the start"),
    "proxy.host": Held(Program.PROXY, "the listening socket stays open"),
    "proxy.port": Held(Program.PROXY, "the listening socket stays open"),
    "proxy.workers": Held(Program.PROXY, "the processes share the listening socket from the start on"),
}
"""By dotted name. A name stands for all that lies below it."""


def leaves(config: Config) -> Iterator[tuple[Key, object, object]]:
    """Yield the way to each setting, its value and its default (`msgspec.NODEFAULT` where it has none), in the order of the tables."""
    yield from _leaves(config, ())


def held(key: Key) -> Held | None:
    """Return why a setting needs a restart; None where it is live."""
    return next((RESTART[name] for name in _above(key) if name in RESTART), None)


def changed(old: Config, new: Config) -> tuple[Key, ...]:
    """Return the settings that differ, in the order of the tables; those that came or went are among them."""
    before, after = ({key: value for key, value, _ in leaves(each)} for each in (old, new))
    defaults = {key: default for each in (old, new) for key, _, default in leaves(each)}
    return tuple(key for key, default in defaults.items() if before.get(key, default) != after.get(key, default))


def settled(running: Config, wanted: Config) -> tuple[Config, tuple[Key, ...]]:
    """Return `wanted` as far as it takes effect at once, and the settings for which `running` goes on until a restart."""
    pending = tuple(key for key in changed(running, wanted) if held(key) is not None)
    for section in {key[0] for key in pending}:
        kept = {key[1]: getattr(getattr(running, section), key[1]) for key in pending if key[0] == section}
        table = msgspec.structs.replace(getattr(wanted, section), **kept)
        wanted = msgspec.structs.replace(wanted, **{section: table})
    return wanted, pending


def named(keys: tuple[Key, ...]) -> str:
    """Write settings for a log: their names, with commas."""
    return ", ".join(dotted(key) for key in keys)


def _leaves(table: msgspec.Struct, path: Key) -> Iterator[tuple[Key, object, object]]:
    for field in msgspec.structs.fields(table):
        here, value, arguments = (*path, field.name), getattr(table, field.name), get_args(field.type)
        if isinstance(value, msgspec.Struct):
            yield from _leaves(value, here)
        elif isinstance(value, Mapping) and is_table(arguments[1]):
            for name, inner in value.items():
                yield from _leaves(inner, (*here, name))
        else:
            yield here, value, _default(field)


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _above(key: Key) -> Iterator[str]:
    for length in range(len(key), 0, -1):
        yield ".".join(key[:length])
