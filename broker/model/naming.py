"""The user's own names of models: aliases, and chains of models.

Owns: what an alias stands for, in which order the members of a chain are tried, and what of it cannot be. Pure. Whether there is such a model, and who serves
it, the proxy knows.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from broker.model.errors import BrokerError, ErrorCode

_MAX_STEPS: Final = 64
_WISH: Final = re.compile(
    r"(.+?)\s*(\(\s*(?:none|auto|minimal|low|medium|high|xhigh|max|-[0-9]{1,8}|[0-9]{1,9})\s*\))",
    re.IGNORECASE | re.DOTALL,
)
_SHOWN: Final = 60


class Strategy(StrEnum):
    """How to choose among equal accounts: in turn, in turn by weight, always the same while it can, or the less busy of two drawn at random."""

    ROUND_ROBIN = "round-robin"
    WEIGHTED = "weighted"
    FILL_FIRST = "fill-first"
    TWO_CHOICES = "two-choices"


class Order(StrEnum):
    """In which order the members of a combo are tried: as they stand, or beginning with another one each time."""

    PRIORITY = "priority"
    ROUND_ROBIN = "round-robin"


class Combo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chain of models; a member may be any name that is understood, other combos included."""

    models: tuple[str, ...]
    strategy: Order = Order.PRIORITY


class NameFaultError(ValueError):
    """A name that cannot be. `key` is the way to its setting, `text` what is wrong."""

    def __init__(self, key: tuple[str, ...], text: str) -> None:
        """Say what is wrong with the setting at `key`."""
        super().__init__(f"{'.'.join(key)}: {text}")
        self.key = key
        self.text = text


class Names:
    """The user's own names."""

    def __init__(self, aliases: Mapping[str, str] | None = None, combos: Mapping[str, Combo] | None = None) -> None:
        """Take names to what they mean.

        Raises:
            NameFaultError: they cannot be.
        """
        self._aliases = {name: target for name, target in (aliases or {}).items() if "*" not in name}
        self._patterns = {name: target for name, target in (aliases or {}).items() if "*" in name}
        self._combos = dict(combos or {})
        self._check()

    @property
    def listed(self) -> tuple[str, ...]:
        """The names that can be listed: aliases without `*`, and combos."""
        return tuple(sorted({*self._aliases, *self._combos}))

    def expanded(self, name: str, turn: Callable[[str], int]) -> Iterator[str]:
        """Yield the names of models that a name stands for, in the order to try them; the name itself where it stands for nothing else.

        A suffix on a name of the user's, `chain(high)`, comes before those within it. `turn` counts the uses of a chain. Raises:
            BrokerError: `bad_request` where the name fits several aliases equally well.
        """
        name, wish = self._resolved(name)
        combo = self._combos.get(name)
        if combo is None:
            yield name + wish
            return
        members = combo.models
        if combo.strategy is Order.ROUND_ROBIN:
            at = turn(name) % len(members)
            members = members[at:] + members[:at]
        for member in members:
            for each in self.expanded(member, turn):
                yield split_wish(each)[0] + wish if wish else each

    def _resolved(self, name: str) -> tuple[str, str]:
        """Return what a name stands for, which may be a combo's, and the suffix that counts."""
        plain, wish = (name, "") if name in self._aliases or name in self._combos else split_wish(name)
        target = self._unaliased(plain)
        if target in self._combos:
            return target, wish
        target, own = split_wish(target)
        return target, wish or own

    def _unaliased(self, name: str) -> str:
        exact = self._aliases.get(name)
        if exact is not None:
            return exact
        best = fittest(name, self._patterns, "aliases")
        return name if best is None else _filled(self._patterns[best], matched(best, name) or ())

    # --- checks, once ---

    def _check(self) -> None:
        for name, target in (*self._aliases.items(), *self._patterns.items()):
            if not name or not target:
                raise NameFaultError(("routing", "aliases", name), "neither side may be empty")
            if target.count("*") > name.count("*"):
                raise NameFaultError(("routing", "aliases", name), f"{target!r} has more * than the name it stands for")
            if target in self._aliases or split_wish(target)[0] in self._aliases:
                raise NameFaultError(
                    ("routing", "aliases", name), f"{target!r} is an alias itself; name what that stands for"
                )
        for name, combo in self._combos.items():
            if not combo.models:
                raise NameFaultError(("combos", name), "models is empty")
            if name in self._aliases:
                raise NameFaultError(("combos", name), "routing.aliases has that name too")
            self._walk(name, ())

    def _walk(self, name: str, above: tuple[str, ...]) -> int:
        """Follow a combo down; return how many models it comes to. Raises NameFaultError for one that holds itself, or too much."""
        if name in above:
            raise NameFaultError(("combos", above[0]), f"a combo cannot hold itself ({' > '.join((*above, name))})")
        if name not in self._combos:
            return 1
        steps = 0
        for member in self._combos[name].models:
            try:
                steps += self._walk(self._resolved(member)[0], (*above, name))
            except BrokerError as error:
                raise NameFaultError(("combos", name), error.detail) from None
        if steps > _MAX_STEPS:
            raise NameFaultError(("combos", name), f"comes to more than {_MAX_STEPS} models")
        return steps


def split_wish(name: str) -> tuple[str, str]:
    """Take `model(high)` apart, the brackets with the second; that is empty where there is no suffix. What it says `translate.effort` knows."""
    found = _WISH.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def matched(pattern: str, name: str) -> tuple[str, ...] | None:
    """Return what each `*` of a pattern stands for in a name, the first as long as can be short; None where it does not fit."""
    first, *rest = pattern.split("*")
    if not name.startswith(first):
        return None
    if not rest:
        return () if name == first else None
    stars: list[str] = []
    at = len(first)
    for literal in rest[:-1]:
        found = name.find(literal, at)
        if found < 0:
            return None
        stars.append(name[at:found])
        at = found + len(literal)
    end = len(name) - len(rest[-1])
    if end < at or not name.endswith(rest[-1]):
        return None
    return (*stars, name[at:end])


def fittest(name: str, patterns: Iterable[str], called: str) -> str | None:
    """Return the pattern with the most letters of those that a name fits; None where it fits none.

    `called` says what they are. Raises:
        BrokerError: `bad_request` where several have as many; the detail names them.
    """
    found = [pattern for pattern in patterns if matched(pattern, name) is not None]
    most = max(map(literal, found), default=0)
    best = [pattern for pattern in found if literal(pattern) == most]
    if len(best) > 1:
        both = " and ".join(sorted(best))
        raise ambiguous(f"{name[:_SHOWN]!r} fits the {called} {both} equally well; make one of them more specific")
    return best[0] if best else None


def literal(pattern: str) -> int:
    """Return how many letters a pattern has."""
    return len(pattern) - pattern.count("*")


def ambiguous(text: str) -> BrokerError:
    """Return the error for a name that means two things."""
    return BrokerError(ErrorCode.BAD_REQUEST, f"model: {text}", hint="")


def _filled(target: str, stars: Sequence[str]) -> str:
    first, *rest = target.split("*")
    # Of more stars than are asked for the last count: what stands before is mostly a provider, as in `*/gemini-*`.
    kept = stars[len(stars) - len(rest) :]
    return first + "".join(star + literal for star, literal in zip(kept, rest, strict=True))
