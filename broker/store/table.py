"""Which file is which account.

Owns: the rules for files that claim the same account (the newest grant wins), for different logins with the same label
(`label:project`), and the fingerprint whose change raises a generation. Pure.
It must never read a file or assign a generation.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

import msgspec

from broker.model.account import AccountId, NeedsLogin, Record, by_name
from broker.model.errors import BrokerError
from broker.model.quick import quickly_made
from broker.providers.base import Client
from broker.providers.identity import same_login as same_login  # noqa: PLC0414 - the rule by which files become accounts
from broker.store.link import Link

_LABEL_ROOM = 160  # of the 200 characters of a label, when something is appended
# Facts that make a name of their own for one of several logins with the same label.
_TELLING_FACTS = ("project_id", "account_id", "base_url")


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a file lies: the number of its auth directory, its name, and whether in `auth-paused`."""

    directory: int
    name: str
    paused: bool = False

    @property
    def flipped(self) -> "Place":
        """The place a pause or resume would move it to."""
        return Place(self.directory, self.name, not self.paused)

    @property
    def slot(self) -> tuple[int, str]:
        """What stays the same when the file is paused: what locks, journal and names are bound to."""
        return (self.directory, self.name)


@quickly_made
@dataclass(frozen=True, slots=True)
class Source:
    """One readable file. `content` is the SHA-256 of its bytes; `record.account` has the label the provider gave it.

    `sealed` is the generation inside its envelope, None for a plain file.
    """

    place: Place
    content: str
    record: Record
    client: Client | None = None
    sealed: int | None = None
    link: Link | None = None


class Arrangement(msgspec.Struct, frozen=True):
    """The outcome: which file stands for which account, and which files lost to a newer grant (`shadowed`: loser to winner)."""

    owners: Mapping[AccountId, Source] = msgspec.field(default_factory=dict)
    shadowed: Mapping[Place, Place] = msgspec.field(default_factory=dict)

    def account_at(self, place: Place) -> AccountId | None:
        """Return the account a file stands for, or lost."""
        winner = self.shadowed.get(place, place)
        return next((account for account, source in self.owners.items() if source.place == winner), None)


def arrange(
    sources: Iterable[Source], names: Mapping[tuple[int, str], AccountId], current: Collection[Place]
) -> Arrangement:
    """Sort files into accounts.

    `names` are the accounts files stood for before, by slot: a file keeps its name while its label fits. `current` are the places
    that won last time: they win ties.
    """
    first: dict[AccountId, Source] = {}
    groups: dict[AccountId, list[Source]] = {}  # of accounts that several files claim
    for source in sources:
        other = first.setdefault(source.record.account, source)
        if other is not source:
            groups.setdefault(source.record.account, [other]).append(source)
    owners: dict[AccountId, Source] = {}
    shadowed: dict[Place, Place] = {}
    for plain in sorted(first, key=by_name):
        group = groups.get(plain)
        if group is None:  # nearly all
            source = first[plain]
            known = names.get(source.place.slot)
            owners[plain if known == plain and plain not in owners else _name(plain, (source,), names, owners)] = source
            continue
        group.sort(key=lambda source: (source.place.slot not in names, source.place))
        for cluster in _clusters(group):
            winner = max(cluster, key=lambda source: _rank(source, current))
            owners[_name(plain, cluster, names, owners)] = winner
            shadowed |= {loser.place: winner.place for loser in cluster if loser is not winner}
    return Arrangement(owners, shadowed)


def fingerprint(record: Record, client: Client | None, *, paused: bool, terminal: NeedsLogin | None) -> str:
    """Return a digest of everything a client of the account can notice, secrets only as digests.

    Raises ValueError where a text holds what UTF-8 cannot (a lone surrogate).
    """
    tokens = record.tokens
    access, refresh, identity = tokens.access_token, tokens.refresh_token, tokens.id_token
    secret = client.secret if client else None
    facts, way_out = record.facts, record.routing.proxy_url
    parts: list[object] = [
        access.digest().text if access else None,
        refresh.digest().text if refresh else None,
        identity.digest().text if identity else None,
        secret.digest().text if secret else None,
        tokens.token_type,
        tokens.expires_at,
        tokens.scopes,
        record.email,
        record.subject,
        sorted(facts.items()),
        record.disabled,
        paused,
        client.id if client else None,
    ]
    if way_out is not None:
        parts.append(way_out.digest().text)
    parts.append((terminal.reason, terminal.digest.text if terminal.digest else None) if terminal else None)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def checked(record: Record) -> Record:
    """Return `record`.

    Raises ValueError where a text of it could not be sent or shown: JSON can spell lone surrogates, UTF-8 cannot.
    """
    tokens, facts = record.tokens, record.facts
    "".join(
        (record.email or "", record.subject or "", tokens.token_type, *tokens.scopes, *facts, *facts.values())
    ).encode()
    for secret in (tokens.access_token, tokens.refresh_token, tokens.id_token):
        if secret:
            secret.digest()
    return record


def _clusters(group: Sequence[Source]) -> list[list[Source]]:
    clusters: list[list[Source]] = []
    for source in group:
        home = next((one for one in clusters if all(same_login(source.record, other.record) for other in one)), None)
        if home is None:
            clusters.append([source])
        else:
            home.append(source)
    return clusters


def _rank(source: Source, current: Collection[Place]) -> tuple[float, float, bool, bool]:
    tokens = source.record.tokens
    return (tokens.expires_at or 0.0, tokens.last_refresh or 0.0, source.place in current, not source.place.paused)


def _name(
    plain: AccountId,
    cluster: Sequence[Source],
    names: Mapping[tuple[int, str], AccountId],
    taken: Collection[AccountId],
) -> AccountId:
    for source in cluster:
        known = names.get(source.place.slot)
        if known is not None and known not in taken and _fits(known, plain):
            return known
    if plain not in taken:
        return plain
    return _suffixed(plain, cluster[0], taken)


def _fits(known: AccountId, plain: AccountId) -> bool:
    # An e-mail address may come back in another case; the account keeps the name it has.
    if known == plain:
        return True
    label, wanted = known.label.casefold(), plain.label.casefold()
    prefix = plain.label[:_LABEL_ROOM].casefold() + ":"
    return known.provider == plain.provider and (label == wanted or label.startswith(prefix))


def _suffixed(plain: AccountId, source: Source, taken: Collection[AccountId]) -> AccountId:
    record = source.record
    label = plain.label[:_LABEL_ROOM]
    stem = source.place.name.rpartition(".")[0]
    digest = hashlib.sha256(repr(source.place.slot).encode()).hexdigest()[:8]
    known = (*(record.facts.get(fact) for fact in _TELLING_FACTS), record.subject, stem, digest)
    told = chain(filter(None, known), (f"{digest}-{number}" for number in count(2)))
    made = (_account_id(plain.provider, f"{label}:{text.replace('/', '_')}") for text in told)
    return next(account for account in made if account is not None and account not in taken)


def _account_id(provider: str, label: str) -> AccountId | None:
    try:
        return AccountId(provider, label)
    except BrokerError:
        return None
