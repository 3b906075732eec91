"""From the tables of a TOML document to the config's own, with every fault in them.

Owns: walking both side by side, so that each wrong type, unknown key and missing setting is told with the way to it; a plain conversion stops at the first.
Pure. Which tables there are is `broker.config`'s business, what their values must be `broker.settings.checks`'.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Final, TypeVar, cast, get_args, get_origin

import msgspec

from broker.settings.checks import Fault

S = TypeVar("S", bound=msgspec.Struct)
Hook = Callable[[type, object], object]
Key = tuple[str, ...]

_PLACE: Final = re.compile(r" - at `\$(.*?)`$")
_INDEX: Final = re.compile(r"\[(\d+)\]")


def read(tree: Mapping[str, object], kind: type[S], hook: Hook) -> tuple[S | None, tuple[Fault, ...]]:
    """Return the tables as `kind`, or None and what is wrong with them. `hook` makes the values msgspec has no type for."""
    walk = _Walk(hook)
    made = walk.table(tree, kind, ())
    return (cast("S", made) if not walk.faults else None), tuple(walk.faults)


class _Walk:
    def __init__(self, hook: Hook) -> None:
        self.faults: list[Fault] = []
        self._hook = hook

    def table(self, raw: object, kind: type[msgspec.Struct], path: Key) -> msgspec.Struct | None:
        if not isinstance(raw, Mapping):
            self.faults.append(Fault(path, "must be a table"))
            return None
        before = len(self.faults)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        self.faults += [Fault((*path, key), _unknown(key, fields)) for key in raw if key not in fields]
        self.faults += [
            Fault((*path, name), "is missing") for name, field in fields.items() if field.required and name not in raw
        ]
        made = {
            field.name: self._walk_value(raw[name], field.type, (*path, name))
            for name, field in fields.items()
            if name in raw
        }
        return kind(**made) if len(self.faults) == before else None

    def _walk_value(self, raw: object, kind: object, path: Key) -> object:
        arguments = get_args(kind)
        if is_table(kind):
            return self.table(raw, cast("type[msgspec.Struct]", kind), path)
        if get_origin(kind) is dict and is_table(arguments[1]):
            if not isinstance(raw, Mapping):
                self.faults.append(Fault(path, "must be a table"))
                return None
            return {name: self.table(each, arguments[1], (*path, name)) for name, each in raw.items()}
        if get_origin(kind) is tuple and is_table(arguments[0]) and isinstance(raw, list):
            return tuple(self.table(each, arguments[0], (*path, str(number))) for number, each in enumerate(raw))
        return self._plain(raw, kind, path)

    def _plain(self, raw: object, kind: object, path: Key) -> object:
        try:
            return msgspec.convert(raw, cast("type[object]", kind), dec_hook=self._hook)
        except msgspec.ValidationError as error:
            said = str(error)
            place = _PLACE.search(said)
            if place is not None:
                said = said[: place.start()]
                path = (*path, *_INDEX.findall(place[1]))
            words = sorted(_words(kind)) if said.startswith("Invalid enum value") else ()
            known = f"; there are: {', '.join(words)}" if words else ""
            self.faults.append(Fault(path, said[:1].lower() + said[1:] + known))
            return None


def is_table(kind: object) -> bool:
    """Tell whether a type is a table of settings."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _unknown(key: str, fields: "dict[str, msgspec.structs.FieldInfo]") -> str:
    near = difflib.get_close_matches(key, fields, n=1)
    if near:
        return f"there is no such setting; did you mean {near[0]}?"
    elsewhere = [name for name, field in fields.items() if key in _names(field.type)]
    if elsewhere:
        return f"there is no such setting here; [{elsewhere[0]}] has one"
    return f"there is no such setting; there are: {', '.join(fields)}"


def _names(kind: object) -> Iterator[str]:
    if is_table(kind):
        yield from (field.encode_name for field in msgspec.structs.fields(cast("type[msgspec.Struct]", kind)))


def _words(kind: object) -> Iterator[str]:
    """Yield the words that a value may be, of all types in a union."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        yield from kind
    for inside in get_args(kind):
        if isinstance(inside, str):
            yield inside
        else:
            yield from _words(inside)
