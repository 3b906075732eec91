"""What accounts' own lists of models said, and for how long that holds.

Owns: the book of one worker: who is to be asked again, which models an account has, and which accounts lack one that another has. Pure; `discovery` asks.
Times are seconds on any one clock.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from broker.proxy.models import OWN, Model

KEPT_SECONDS: Final = 3600.0
"""How long a list holds; `?refresh=true` asks again sooner."""

FAILED_SECONDS: Final = 60.0
"""How long one that could not be had is left alone."""

FRESH_SECONDS: Final = 5.0
"""How long even `?refresh=true` is content with."""


class Found(msgspec.Struct, frozen=True):
    """One model of a list. `codex` is the JSON object that Codex reads, where the upstream speaks to Codex."""

    model: Model
    codex: bytes = b""


class Entry(msgspec.Struct, frozen=True):
    """What an account said: its models, None where it could not be asked; from when, and until when that holds.

    `declared` is what its file says of its models, where it does: nobody is asked then.
    """

    provider: str
    models: tuple[Found, ...] | None
    since: float
    until: float
    declared: str = ""


class Learnt:
    """The lists of all accounts."""

    def __init__(self) -> None:
        """Know nothing."""
        self.edition = 0
        """Another number whenever anything was learnt."""
        self._entries: dict[str, Entry] = {}
        self._having: dict[str, dict[str, frozenset[str]]] = {}

    def due(self, accounts: Mapping[str, str], now: float, *, anew: bool = False) -> tuple[str, ...]:
        """Return those of the accounts that are to be asked; with `anew` also those whose lists still hold.

        `accounts` are names with what each one's file says of its models.
        """
        return tuple(name for name, declared in accounts.items() if self._due(name, declared, now, anew=anew))

    def declare(self, account: str, provider: str, declared: str) -> None:
        """Note what an account's file says of its models: their names, with commas between."""
        each = dict.fromkeys(name for name in declared.split(",") if name)
        models = tuple(Found(Model(name, name, (), 0, 0, "unknown")) for name in each)
        self._entries[account] = Entry(provider, models, 0.0, math.inf, declared)
        self._index()

    def put(self, account: str, provider: str, models: tuple[Found, ...] | None, now: float) -> None:
        """Note what an account said; None where it could not be asked, and then its last list stands."""
        held = FAILED_SECONDS if models is None else KEPT_SECONDS
        if models is None and (last := self._entries.get(account)) is not None:
            models = last.models
        self._entries[account] = Entry(provider, models, now, now + held)
        self._index()

    def keep(self, accounts: Collection[str]) -> None:
        """Forget all other accounts."""
        gone = self._entries.keys() - set(accounts)
        if gone:
            for name in gone:
                del self._entries[name]
            self._index()

    def providers(self, model: str) -> tuple[str, ...]:
        """Return who has a model by their accounts' lists, vendors before keys of one's own."""
        return tuple(sorted(self._having.get(model, ()), key=lambda name: (name in OWN, name)))

    def lacking(self, model: str, providers: Iterable[str]) -> frozenset[str]:
        """Return the keys of one's own whose lists lack a model that is in the list of another key of that provider."""
        having = self._having.get(model)
        if having is None:
            return frozenset()
        return frozenset(
            name
            for name, entry in self._entries.items()
            if entry.provider in OWN
            and entry.provider in providers
            and entry.models is not None
            and entry.provider in having
            and name not in having[entry.provider]
        )

    def models(self) -> Mapping[str, tuple[Found, ...]]:
        """Return the lists by account."""
        return {name: entry.models for name, entry in self._entries.items() if entry.models is not None}

    def _due(self, account: str, declared: str, now: float, *, anew: bool) -> bool:
        entry = self._entries.get(account)
        if entry is None or now >= entry.until or entry.declared != declared:
            return True
        return anew and not declared and now - entry.since >= FRESH_SECONDS

    def _index(self) -> None:
        self.edition += 1
        having: dict[str, dict[str, set[str]]] = {}
        for name, entry in self._entries.items():
            for found in entry.models or ():
                having.setdefault(found.model.id, {}).setdefault(entry.provider, set()).add(name)
        self._having = {
            model: {provider: frozenset(names) for provider, names in by.items()} for model, by in having.items()
        }
