"""What stands somewhere inside a JSON text, changed in place.

Owns: the walk along a path of names, and what stands in its way. Every byte that is not on the path stays as it is. It must never know a dialect.

A path is a sequence of names. In an object a name is a member's; in a list it is an index, counted from 0. A list is never made longer: an index that is not
there is nowhere. Objects on the way that are missing or null are made; anything else that stands in the way (a text, a number, a list that is to have
a member) ends the walk, and nothing is changed: who reads the body next will say what it is.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from broker.translate.passage import is_list, is_object, value_of, with_member

Path = Sequence[str]
"""Names, outermost first; never none."""

_NULL: Final = b"null"


def found(body: bytes, path: Path) -> bytes | None:
    """Return the JSON at a path; None where there is none.

    Raises:
        BrokerError: `bad_request` where the body is no valid JSON.
    """
    here: bytes | None = body
    for name in path:
        if here is None or not _holds(here):
            return None
        here = value_of(here, name)
    return here


def put(body: bytes, path: Path, told: bytes) -> bytes:
    """Return a body that says this at a path; raises as `found`."""
    return _changed(body, path, lambda _: told, made=told)


def put_default(body: bytes, path: Path, told: bytes) -> bytes:
    """Return a body that says this at a path, unless it says something there already, be it null; raises as `found`."""
    return _changed(body, path, lambda there: there, made=told)


def removed(body: bytes, path: Path) -> bytes:
    """Return a body that says nothing at a path; an element of a list goes, and those after it move up. Raises as `found`."""
    return _changed(body, path, lambda _: None, made=None)


def _changed(body: bytes, path: Path, change: Callable[[bytes], bytes | None], made: bytes | None) -> bytes:
    """Change what is there, or make what is not, where something is to be made."""
    name, rest = path[0], path[1:]

    def inner(there: bytes | None) -> bytes | None:
        if there is None or (rest and there.strip() == _NULL):
            return there if made is None else _nested(rest, made)
        if not rest:
            return change(there)
        return _changed(there, rest, change, made) if _holds(there) else there

    return with_member(body, name, inner)


def _nested(path: Path, told: bytes) -> bytes:
    for name in reversed(path):
        told = b"{" + msgspec.json.encode(name) + b":" + told + b"}"
    return told


def _holds(text: bytes) -> bool:
    return is_object(text) or is_list(text)
