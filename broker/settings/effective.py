"""Every setting as it is in force, and where that comes from.

Owns: the list that `config show` prints and the control socket answers. Pure. Secrets are shown as hidden, wherever they stand.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from broker.config import Config, Loaded
from broker.model.secret import Secret
from broker.observe.redact import secret_name
from broker.settings.changes import Key, held, leaves
from broker.settings.checks import dotted

HIDDEN: Final = "(hidden)"


class Origin(StrEnum):
    """Where a value comes from."""

    FILE = "file"
    ENVIRONMENT = "environment"
    BUILT_IN = "built in"
    DEFAULT = "default"


class Elsewhere(msgspec.Struct, frozen=True):
    """What takes the place of a setting that the file leaves out: `variable` of the environment says it, or without one a provider's own facts."""

    value: object
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting. `line` is its line in the file, `variable` that of the environment; `pending` is what the file says where that needs a restart."""

    key: str
    value: object
    default: object
    origin: Origin
    line: int | None = None
    variable: str | None = None
    restart: str | None = None
    pending: object = None


class Edition(msgspec.Struct, frozen=True):
    """Which settings a program works by: a fingerprint of them, since when (seconds since the epoch), and what waits for a restart."""

    generation: str
    loaded: float
    pending: tuple[str, ...] = ()


def effective(config: Config, loaded: Loaded, elsewhere: Mapping[Key, Elsewhere]) -> Iterator[Effective]:
    """Yield every setting in the order of the tables: `config` is in force, `loaded` what the file says, `elsewhere` what stands in for unset ones."""
    wanted = {key: value for key, value, _ in leaves(loaded.config)}
    seen = set()
    for key, value, default in leaves(config):
        seen.add(key)
        yield _one(key, value, default, wanted.get(key, value), loaded, elsewhere)
    for key, told in elsewhere.items():
        if key not in seen:
            yield Effective(dotted(key), shown(told.value), None, _origin(told), variable=told.variable)


def shown(value: object) -> object:
    """Return a value as it may be shown: JSON's types, secrets hidden."""
    match value:
        case Secret():
            return HIDDEN
        case msgspec.Struct():
            named = {name: getattr(value, name) for name in value.__struct_fields__}
            return {name: shown(each) for name, each in named.items() if each is not None}
        case Mapping():
            # The user's own names, of headers and parameters: no type of ours says what is in them.
            return {str(name): HIDDEN if _promises(str(name)) else shown(each) for name, each in value.items()}
        case tuple() | list() | frozenset():
            return [shown(each) for each in value]
        case StrEnum():
            return value.value
        case _:
            return value


def digest_of(config: Config) -> str:
    """Return a fingerprint of a config: 12 hex digits. Secrets are left out, as it is shown to anybody."""
    text = json.dumps([[key, shown(value)] for key, value, _ in leaves(config)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _one(
    key: Key, value: object, default: object, wanted: object, loaded: Loaded, elsewhere: Mapping[Key, Elsewhere]
) -> Effective:
    why = held(key)
    restart = None if why is None else why.why
    plain = None if default is msgspec.NODEFAULT else shown(default)
    pending = shown(wanted) if wanted != value else None
    line = loaded.lines.get(key)
    if line is not None:
        return Effective(dotted(key), shown(value), plain, Origin.FILE, line, restart=restart, pending=pending)
    if (told := elsewhere.get(key)) is not None and value in (None, ()):
        return Effective(dotted(key), shown(told.value), plain, _origin(told), None, told.variable, restart, pending)
    return Effective(dotted(key), shown(value), plain, Origin.DEFAULT, restart=restart, pending=pending)


def _promises(name: str) -> bool:
    return secret_name(name.replace("-", "_"))


def _origin(told: Elsewhere) -> Origin:
    return Origin.BUILT_IN if told.variable is None else Origin.ENVIRONMENT
