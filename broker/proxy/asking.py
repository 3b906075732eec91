"""What a model's name means at the endpoint it is asked at.

Owns: the narrowing of what a name means to one provider, where the path names one, and to the APIs that can be asked for it at all. Pure. What a name means
by itself `naming` reads.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Names
from broker.proxy.models import MAX_NAME, nobody
from broker.proxy.naming import Goal, Served, Wanted, meaning
from broker.proxy.upstreams.base import Kind, Offer, Offering
from broker.proxy.upstreams.table import UPSTREAMS

_SHOWN: Final = 60
_WORDS: Final = {
    Offer.TALK: "answer",
    Offer.EMBEDDINGS: "make embeddings",
    Offer.IMAGES: "make images",
    Offer.IMAGE_EDITS: "change images",
    Offer.COMPACT: "compact a conversation",
}
_NO_NAMES: Final = Names()
_MAX_KNOWN: Final = 1024  # names come from clients


class Place(msgspec.Struct, frozen=True):
    """Where a request came to: what it asks for, and the provider its path names, if any."""

    offer: Offer = Offer.TALK
    provider: str | None = None


def wanted_at(place: Place, name: str, names: Names, served: Served, turn: Callable[[str], int]) -> Wanted:
    """Read a name where it was asked for. `turn` counts the uses of a chain.

    Raises:
        BrokerError: as `naming.meaning`; `not_found` where those it means cannot be asked for this, `bad_request` where a name of the user's means
            something outside of the provider, the detail names what would do; and for what is no name.
    """
    if len(name) > MAX_NAME or not name.isprintable():
        # It goes into logs, answers, addresses and reports.
        raise BrokerError(ErrorCode.BAD_REQUEST, f"model: a name has at most {MAX_NAME} characters, all printable")
    provider = place.provider
    wanted = meaning(name, names, served, turn) if provider is None else _within(provider, name, names, served, turn)
    return wanted if place.offer is Offer.TALK else _able(place.offer, wanted, served)


class Meanings:
    """What names were found to mean, as long as nothing changes of what they are read by. Chains that begin with another model each time are read anew."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[tuple[str, Offer, str | None], Wanted] = {}

    def known(self, name: str, offer: Offer, provider: str | None) -> Wanted | None:
        """Return what a name was found to mean."""
        return self._known.get((name, offer, provider))

    def of(self, place: Place, name: str, names: Names, served: Served, turn: Callable[[str], int]) -> Wanted:
        """Return what `wanted_at` does, and raise as it does."""
        known = self.known(name, place.offer, place.provider)
        if known is not None:
            return known
        turned = False

        def noted(chain: str) -> int:
            nonlocal turned
            turned = True
            return turn(chain)

        wanted = wanted_at(place, name, names, served, noted)
        if not turned:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[name, place.offer, place.provider] = wanted
        return wanted


def offering(offer: Offer, served: Served) -> tuple[str, ...]:
    """Return the providers that can be asked for something."""
    return tuple(name for name, kind in served.kinds.items() if _offers(kind, offer))


def _able(offer: Offer, wanted: Wanted, served: Served) -> Wanted:
    able = offering(offer, served)
    goals = tuple(_left(wanted.goals, frozenset(able)))
    if goals:
        return msgspec.structs.replace(wanted, goals=goals)
    those = ", ".join(wanted.providers)
    text = (
        f"{wanted.name[:_SHOWN]!r} is served by {those}, which cannot {_WORDS[offer]} here; what can: {', '.join(able)}"
    )
    raise nobody(text)


def _left(goals: Iterable[Goal], able: frozenset[str]) -> Iterable[Goal]:
    for goal in goals:
        providers = tuple(each for each in goal.providers if each in able)
        if providers:
            yield msgspec.structs.replace(goal, providers=providers)


def _offers(kind: Kind, offer: Offer) -> bool:
    upstream = UPSTREAMS[kind]
    return offer is Offer.TALK or (isinstance(upstream, Offering) and offer in upstream.offers)


def _within(provider: str, name: str, names: Names, served: Served, turn: Callable[[str], int]) -> Wanted:
    plain = name.removeprefix("models/")
    members = tuple(names.expanded(plain, turn))
    if members == (plain,):
        return Wanted(plain, (_of_provider(plain, provider, served),))
    goals = dict.fromkeys(_inside(member, provider, plain, served) for member in members)
    return Wanted(plain, tuple(goals), own=True)


def _of_provider(name: str, provider: str, served: Served) -> Goal:
    """Read a client's own name: as the provider's, whatever it is called there, behind its name or an account's prefix or none."""
    before, slash, rest = name.partition("/")
    prefix = before if slash and rest and before in served.prefixes and before != provider else None
    told = rest if prefix is not None else name
    model = told.removeprefix(f"{provider}/") or told
    return Goal(model, (provider,), prefix, served.learnt.lacking(model, (provider,)))


def _inside(member: str, provider: str, name: str, served: Served) -> Goal:
    """Read what a name of the user's stands for, as everywhere else, but for this provider alone."""
    (goal,) = meaning(member, _NO_NAMES, served, lambda _: 0).goals
    if provider not in goal.providers:
        text = f"model: {name[:_SHOWN]!r} means {member[:_SHOWN]!r}, which {provider} does not serve"
        raise BrokerError(ErrorCode.BAD_REQUEST, text)
    return msgspec.structs.replace(goal, providers=(provider,))
