"""Bringing two versions of a document together.

Owns: the two merges the store needs, and the memory of writes that met. Pure.
"""

from collections.abc import Mapping

from broker.store.codec import same
from broker.store.table import Place

Document = Mapping[str, object]


class _Absent:
    """Stands for a field that is not there."""


_ABSENT = _Absent()


def deep_merge(old: Document, new: Document) -> dict[str, object]:
    """Return `old` with the fields of `new` put in, objects inside merged the same way."""
    made = dict(old)
    for key, value in new.items():
        before = made.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            made[key] = deep_merge(before, value)
        else:
            made[key] = value
    return made


def three_way(base: Document, theirs: Document, now: Document) -> dict[str, object]:
    """Return `now` with what `theirs` changed since `base`, where `now` still is as `base` was; elsewhere `now` counts."""
    made = dict(now)
    for key in {**base, **theirs}:
        before, wanted, present = base.get(key, _ABSENT), theirs.get(key, _ABSENT), now.get(key, _ABSENT)
        if same(before, wanted):
            continue
        if same(before, present):
            if isinstance(wanted, _Absent):
                del made[key]
            else:
                made[key] = wanted
        elif isinstance(before, Mapping) and isinstance(wanted, Mapping) and isinstance(present, Mapping):
            made[key] = three_way(before, wanted, present)
    return made


class Contested:
    """What others wrote in the very moment we did.

    Our content was then in place for some microseconds and taken back. A program that read it in between, and writes what it made of
    it a little later, does not know what it wrote over: that is remembered here for as long as such a write may take.
    """

    def __init__(self, seconds: float) -> None:
        """Remember for `seconds`."""
        self._seconds = seconds
        self._seen: dict[Place, list[tuple[float, Document, Document]]] = {}

    def note(self, place: Place, base: Document, theirs: Document, boot: float) -> None:
        """Remember that `theirs` was written, from `base`, at `boot` (boot-clock seconds)."""
        self._seen.setdefault(place, []).append((boot, base, theirs))

    def merged(self, place: Place, document: Document, boot: float) -> Document:
        """Return `document` with what is remembered put in."""
        recent = [one for one in self._seen.pop(place, ()) if boot - one[0] < self._seconds]
        if recent:
            self._seen[place] = recent
        for _, base, theirs in recent:
            document = three_way(base, theirs, document)
        return document
