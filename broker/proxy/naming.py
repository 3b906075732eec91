"""What a model's name means here: which models of which providers to try.

Owns: the reading of a name against what is served. Pure. The user's own names are `broker.model.naming`'s; what provider serves a plain name `models` knows.

A name is read in this order: an alias, exact before patterns; a chain; `PROVIDER/MODEL`; `PREFIX/MODEL` with an account's prefix; a plain name.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from broker.model.errors import BrokerError
from broker.model.naming import Names, ambiguous
from broker.proxy import models
from broker.proxy.catalog import Catalog
from broker.proxy.learnt import Learnt
from broker.proxy.upstreams.base import Kind
from broker.translate.effort import split_suffix
from broker.translate.ir import Reasoning

_SHOWN: Final = 60


class Goal(msgspec.Struct, frozen=True):
    """One model to try: what its upstream calls it, the providers to look for accounts of, in order, and the prefix these must have, if any.

    `without` are accounts of theirs that are known to lack it, `wish` is how hard it shall think by a suffix of the user's own name.
    """

    model: str
    providers: tuple[str, ...]
    prefix: str | None = None
    without: frozenset[str] = frozenset()
    wish: Reasoning | None = None


class Wanted(msgspec.Struct, frozen=True):
    """What a name means: the name as it was asked for, and what to try, in order; never nothing. `own` marks a name of the user's making."""

    name: str
    goals: tuple[Goal, ...]
    own: bool = False

    @property
    def providers(self) -> tuple[str, ...]:
        """All providers that may serve it, each once."""
        if len(self.goals) == 1:
            return self.goals[0].providers
        return tuple(dict.fromkeys(name for goal in self.goals for name in goal.providers))


class Served(msgspec.Struct, frozen=True):
    """What is there to serve: the kind of upstream of each provider, and the prefixes of accounts.

    `present` are the providers there are accounts of, `catalog` is what the config says of models, `learnt` what accounts' own lists said.
    """

    kinds: Mapping[str, Kind]
    prefixes: Collection[str] = ()
    present: Collection[str] = ()
    catalog: Catalog = Catalog()
    learnt: Learnt = Learnt()


def meaning(name: str, names: Names, served: Served, turn: Callable[[str], int]) -> Wanted:
    """Read a name. `turn` counts the uses of a chain.

    A member of a chain that nothing serves is passed over, as long as another is served. Raises:
        BrokerError: `not_found` where nothing serves it, `bad_request` where it means two things; the detail names what would do.
    """
    plain = name.removeprefix("models/")
    goals: dict[Goal, None] = {}
    trouble: BrokerError | None = None
    members = tuple(names.expanded(plain, turn))
    for member in members:
        try:
            model, wish = split_suffix(member)
            goals[msgspec.structs.replace(_goal(model, served), wish=wish)] = None
        except BrokerError as error:
            trouble = trouble or error
    if not goals:
        assert trouble is not None  # a name stands for one model at least
        try:
            raise trouble
        finally:
            trouble = None  # it knows this frame and its callers': a body would stay until a collection
    return Wanted(plain, tuple(goals), members != (plain,))


def _goal(name: str, served: Served) -> Goal:
    prefix, slash, rest = name.partition("/")
    if not slash:
        return _of(name, _serving(name, served), served)
    by_provider, by_prefix = prefix in served.kinds, prefix in served.prefixes
    if not rest or not (by_provider or by_prefix):
        whole = served.catalog.providers(name) or served.learnt.providers(name)  # some have a slash in their own names
        if whole:
            return _of(name, whole, served)
        if by_provider or by_prefix:
            raise models.nobody(f"{name[:_SHOWN]!r} names no model")
        known = ", ".join(sorted({*served.kinds, *served.prefixes}))
        raise models.nobody(f"no provider {prefix[:_SHOWN]!r} is served here; there are: {known}")
    if by_provider and by_prefix:
        both = f"the provider {prefix} and the accounts with the prefix {prefix}"
        raise ambiguous(f"{name[:_SHOWN]!r} may mean {both}; give these another prefix")
    if by_provider:
        return _of(rest, (prefix,), served)
    provider, slash, model = rest.partition("/")
    if slash and model and provider in served.kinds:
        return _of(model, (provider,), served, prefix)
    return _of(rest, _serving(rest, served), served, prefix)


def _serving(name: str, served: Served) -> tuple[str, ...]:
    """Return who serves a plain name: by the config; else by the table; where there is no account of these, by what accounts said they have.

    Where only the beginning of the name told who would, vendors that said they have it come after those.
    """
    told = served.catalog.providers(name)
    if told:
        return told
    try:
        known = models.providers_of(name, served.kinds)
    except BrokerError:
        learnt = served.learnt.providers(name)
        if not learnt:
            raise
        return learnt
    if not any(provider in served.present for provider in known):
        return served.learnt.providers(name) or known
    if models.in_table(name):
        return known
    more = (each for each in served.learnt.providers(name) if each not in models.OWN)
    return tuple(dict.fromkeys((*known, *more)))


def _of(model: str, providers: tuple[str, ...], served: Served, prefix: str | None = None) -> Goal:
    return Goal(model, providers, prefix, served.learnt.lacking(model, providers))
