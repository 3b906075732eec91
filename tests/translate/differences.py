"""What one JSON value has that another has not, in words short enough for a table."""

import re
from collections.abc import Iterator, Mapping, Sequence

_SAID_OFTEN = ("text", "input_text", "output_text")
_HOLDERS = re.compile(r"(?:[Cc]onfig|Context|thinking|reasoning)$")


def difference(plain: object, other: object) -> str:
    """Return the places of `other` that `plain` lacks or has otherwise; "left out" where there are none."""
    found = list(dict.fromkeys(_found(plain, other, "")))
    return ", ".join(f"`{each}`" for each in found) or "left out"


def _found(plain: object, other: object, path: str) -> Iterator[str]:
    if isinstance(plain, Mapping) and isinstance(other, Mapping):
        for key in other:
            if key not in plain:
                yield from _new(other[key], _join(path, key))
            else:
                yield from _found(plain[key], other[key], _join(path, key))
        yield from (f"no {_join(path, key)}" for key in plain if key not in other)
    elif isinstance(other, Sequence) and not isinstance(other, str):
        yield from _listed(plain, other, path)
    elif plain != other:
        yield from _new(other, path)


def _listed(plain: object, other: Sequence[object], path: str) -> Iterator[str]:
    before = (
        [{"type": "text", "text": plain}]
        if isinstance(plain, str)
        else list(plain)
        if isinstance(plain, Sequence)
        else []
    )
    if len(before) == len(other):
        for one, two in zip(before, other, strict=True):
            yield from _found(one, two, path)
    else:
        new = [each for each in other if each not in before]
        if not new and len(other) < len(before):
            yield f"fewer {path}"
        # An element that only gained something is told by what it gained.
        for each in new:
            alike = next(
                (old for old in before if isinstance(old, Mapping) and _kin(old, each) and old not in other), None
            )
            if alike is None:
                yield from _element(each, path)
            else:
                before.remove(alike)
                yield from _found(alike, each, path)


def _kin(old: Mapping[str, object], new: object) -> bool:
    return isinstance(new, Mapping) and all(old.get(key) == new.get(key) for key in ("role", "type"))


def _element(new: object, path: str) -> Iterator[str]:
    if not isinstance(new, Mapping):
        yield from _new(new, path)
        return
    kind = new.get("type")
    if isinstance(kind, str) and kind != "message":
        if kind not in _SAID_OFTEN:
            yield f"{path}: {kind}"
        elif set(new) > {"type", "text"}:
            yield from (_join(path, key) for key in new if key not in ("type", "text"))
        else:
            yield f"{path}: text"
        return
    for key, value in new.items():
        if key == "role":
            yield f"{path}: {value}"
        else:
            yield from _found(None, value, _join(path, key))


def _new(value: object, path: str) -> Iterator[str]:
    if isinstance(value, Mapping) and _HOLDERS.search(path):
        yield from _found({}, value, path)
    elif isinstance(value, str) and value and len(value) <= 24 and value.replace("_", "").isalpha() and path:
        yield f"{path} = {value}"
    else:
        yield path


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
