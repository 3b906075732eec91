"""The table of accounts in memory: the truth while the program runs.

Owns: entries, generations, the refresh-token digest of each generation, and telling listeners. Used on the event loop only.
It must never do I/O: files reach it as `Reading`s, and what must survive goes to a `remember` function.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from msgspec.structs import replace as renewed

from broker.model.account import AccountId, Generation, NeedsLogin, Record, Tokens, by_name
from broker.model.clock import Clock
from broker.model.secret import Digest
from broker.store import packed
from broker.store.base import Change, Entry, Gone, Updated
from broker.store.codec import Fault, FaultKind
from broker.store.reading import Reading
from broker.store.state import Remembered, Row
from broker.store.table import Arrangement, Place, Source, arrange, fingerprint, same_login

_DIGESTS_KEPT = 64  # generations an answer still under way may have started from
_GRANTS_KEPT = 256  # old grants another program may still have in memory and write back
_GRANT_BYTES, _GENERATION_BYTES, _DIGEST_BYTES = 16, 8, 16  # of what is packed
Remember = Callable[[Iterable[Row]], None]


class Shelf:
    """All accounts."""

    def __init__(self, directories: tuple[str, ...], clock: Clock, remember: Remember) -> None:
        """Begin empty. `directories` are the auth directories by number, as written into `Row.directory`."""
        self._directories = directories
        self._clock = clock
        self._remember = remember
        self._readings: dict[Place, Reading] = {}
        self._stamps: dict[Place, int] = {}
        self._entries: dict[AccountId, Entry] = {}
        self._view: Mapping[AccountId, Entry] = MappingProxyType({})
        self._arrangement = Arrangement()
        self._claims: Counter[AccountId] | None = None  # how many files claim an account, once somebody asks
        self._rows: dict[AccountId, Row] = {}
        self._names: dict[tuple[int, str], AccountId] = {}
        self._digests: dict[AccountId, bytes] = {}  # packed: see `_digests_of`
        self._replaced: dict[AccountId, bytes] = {}  # packed: grants
        self._listeners: list[Callable[[Change], None]] = []

    # --- looking ---

    @property
    def entries(self) -> Mapping[AccountId, Entry]:
        """All accounts, sorted; a new mapping after each change."""
        return self._view

    @property
    def places(self) -> Collection[Place]:
        """Where readable files lie."""
        return self._readings.keys()

    def reading(self, place: Place) -> Reading | None:
        """Return the last good state of a file."""
        return self._readings.get(place)

    def place_of(self, account: AccountId) -> Place | None:
        """Return where an account's file lies."""
        source = self._arrangement.owners.get(account)
        return source.place if source else None

    def places_of(self, account: AccountId) -> tuple[Place, ...]:
        """Return that place and those of older copies of the same login."""
        winner = self.place_of(account)
        shadowed = (loser for loser, by in self._arrangement.shadowed.items() if by == winner)
        return (winner, *shadowed) if winner else ()

    def account_at(self, place: Place) -> AccountId | None:
        """Return the account a file stands for, or lost to a newer one."""
        return self._arrangement.account_at(place)

    def account_like(self, record: Record) -> AccountId | None:
        """Return the account that is the same login as `record`."""
        same = [account for account, source in self._arrangement.owners.items() if same_login(source.record, record)]
        return next((account for account in same if account == record.account), same[0] if same else None)

    def stamp(self, place: Place) -> int:
        """Return a number that rises each time a file's state is set: a reading begun before is out of date."""
        return self._stamps.get(place, 0)

    def digest_of(self, account: AccountId, generation: Generation) -> tuple[bool, Digest | None]:
        """Tell whether the refresh token of a generation is known, and its digest."""
        known = self._digests_of(account)
        at = packed.find(known, _number(generation), _GENERATION_BYTES + _DIGEST_BYTES)
        if at < 0:
            return False, None
        digest = known[at + _GENERATION_BYTES : at + _GENERATION_BYTES + _DIGEST_BYTES]
        return True, Digest(digest.hex()) if any(digest) else None

    def next_generation(self, account: AccountId) -> Generation:
        """Return the generation the next change gives."""
        row = self._rows.get(account)
        # Above any count of changes, so that generations rise even if the state database was lost.
        return Generation(row.generation + 1 if row else max(1, int(self._clock.now().wall)))

    def rolled_back(self, reading: Reading) -> Fault | None:
        """Tell whether a sealed file is older than one that was seen before."""
        sealed = reading.source.sealed
        if sealed is None:
            return None
        account = self._names.get(reading.source.place.slot)
        row = self._rows.get(account) if account else None
        if row is None or sealed >= row.sealed:
            return None
        return Fault(FaultKind.ROLLED_BACK, f"is an older version (generation {sealed}, {row.sealed} was seen before)")

    def outdated(self, reading: Reading) -> bool:
        """Tell whether a file holds a grant that we replaced: a program that had it in memory wrote it back."""
        account = self._names.get(reading.source.place.slot)
        if account is None or account not in self._replaced:
            return False
        return packed.find(self._replaced[account], _grant(reading.source.record.tokens), _GRANT_BYTES) >= 0

    def shadows(self) -> tuple[str, ...]:
        """Return a sentence for each file that lost to a newer copy."""
        return tuple(
            f"{loser.name} holds an older grant of the same login than {winner.name}, which is used"
            for loser, winner in sorted(self._arrangement.shadowed.items())
        )

    def default_of(self, provider: str, chosen: AccountId | None) -> AccountId | None:
        """Return `chosen` if it exists, else the first account of a provider that can be served, else the first."""
        if chosen in self._entries:
            return chosen
        first: AccountId | None = None
        for account, entry in self._entries.items():
            if account.provider == provider:
                if not (entry.paused or entry.record.disabled or entry.terminal):
                    return account
                first = first or account
        return first

    # --- changing ---

    def restore(self, remembered: Remembered) -> None:
        """Take over what an earlier process remembered. Before anything else."""
        numbers = {text.encode(errors="backslashreplace").decode(): n for n, text in enumerate(self._directories)}
        self._rows = dict(remembered.rows)
        for row in remembered.rows.values():
            if (number := numbers.get(row.directory)) is not None:
                self._names[number, row.file] = row.account

    def accept(
        self, readings: Iterable[Reading] = (), *, gone: Iterable[Place] = (), raised: AccountId | None = None
    ) -> None:
        """Set the state of files and drop others, in one step; tell listeners. `raised` gets a new generation in any case."""
        gone, readings, stamps = tuple(gone), tuple(readings), self._stamps
        alone = self._alone(readings[0]) if len(readings) == 1 and not gone else None
        for place in gone:
            stamps[place] = stamps.get(place, 0) + 1
            self._readings.pop(place, None)
        for reading in readings:
            place = reading.source.place
            stamps[place] = stamps.get(place, 0) + 1
            self._readings[place] = reading
        if alone is None:
            self._rearrange(raised)
        else:
            self._renew(alone, readings[0].source, raise_=raised == alone)

    def note_replaced(self, account: AccountId, old: Tokens, new: Tokens) -> None:
        """Remember that we put `new` in the place of `old`, which is then never believed again."""
        before, after = _grant(old), _grant(new)
        replaced = self._replaced.get(account, b"")
        if before != after and packed.find(replaced, before, _GRANT_BYTES) < 0:
            replaced = packed.added(replaced, before, _GRANTS_KEPT)
        self._replaced[account] = packed.without(replaced, after, _GRANT_BYTES)

    def rename(self, old: AccountId, new: AccountId) -> None:
        """Have everything that is remembered of an account under another name. Its file is to be accepted right after, and raised."""
        self._digests[new], self._digests[old] = self._digests_of(old), b""
        row, former = self._rows[old], self._rows.get(new)
        generation = max(row.generation, former.generation if former else row.generation)
        # The old name stays known, so that whoever has it next begins above its generations; no file means it any more.
        self._rows[old] = renewed(row, file="", digest=None, terminal=None)
        self._rows[new] = renewed(row, account=new, generation=generation)
        self._remember((self._rows[old],))
        for slot in [slot for slot, account in self._names.items() if account == old]:
            self._names[slot] = new
        self._replaced[new] = self._replaced.pop(old, b"")

    def judge(self, account: AccountId, verdict: NeedsLogin | None) -> None:
        """Set or lift the verdict of an account."""
        self._rows[account] = renewed(self._rows[account], terminal=verdict)
        self._rearrange(account)

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` after each change, on a later turn of the event loop; return the way to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def rows(self) -> Iterable[Row]:
        """Return all that is remembered."""
        return self._rows.values()

    # --- inside ---

    def _alone(self, reading: Reading) -> AccountId | None:
        """Return the account of a file that goes on standing for it, as it did and nobody else claims it; None where files have to be arranged anew."""
        place, claimed = reading.source.place, reading.source.record.account
        known, account = self._readings.get(place), self._names.get(place.slot)
        if known is None or account is None or known.source.record.account != claimed:
            return None
        if self._claims is None:
            self._claims = Counter(each.source.record.account for each in self._readings.values())
        if self._claims[claimed] != 1:
            return None
        owner = self._arrangement.owners.get(account)
        return account if owner is not None and owner.place == place else None

    def _renew(self, account: AccountId, source: Source, *, raise_: bool) -> None:
        """Take over what changed in the one file of an account: all others stay as they are, however many there are."""
        before, changed = self._entries, list[Row]()
        self._arrangement = renewed(self._arrangement, owners={**self._arrangement.owners, account: source})
        entry = self._entry(account, source, raise_=raise_, changed=changed)
        self._entries = {**before, account: entry}
        self._view = MappingProxyType(self._entries)
        if changed:
            self._remember(changed)
        self._tell_all([Updated(entry)] if before[account] != entry else [])

    def _rearrange(self, raised: AccountId | None) -> None:
        current = {source.place for source in self._arrangement.owners.values()}
        sources = [reading.source for reading in self._readings.values()]
        self._claims = None
        before = self._entries
        old_owners = self._arrangement.owners
        self._arrangement = arrange(sources, self._names, current)
        changed: list[Row] = []
        entries: dict[AccountId, Entry] = {}
        owners = self._arrangement.owners
        for account in sorted(owners, key=by_name):
            source = owners[account]
            self._names[source.place.slot] = account
            entry = before.get(account)
            if entry is None or raised == account or old_owners.get(account) is not source:
                entry = self._entry(account, source, raise_=raised == account, changed=changed)
            entries[account] = entry
        self._entries = entries
        self._view = MappingProxyType(entries)
        if changed:
            self._remember(changed)
        self._publish(before)

    def _entry(self, account: AccountId, source: Source, *, raise_: bool, changed: list[Row]) -> Entry:
        record = source.record
        if record.account != account:
            record = replace(record, account=account)
        old = self._rows.get(account)
        terminal = old.terminal if old and old.terminal else None
        if terminal is not None and terminal.digest != record.tokens.refresh_digest():
            terminal = None
        place = source.place
        print_ = fingerprint(record, source.client, paused=place.paused, terminal=terminal)
        generation = None if old is None or raise_ else self._unchanged(old, source, print_, terminal)
        if generation is None:
            row = self._new_row(account, source, print_, terminal, raise_=raise_)
            generation = row.generation
            if row != old:
                self._note_digest(account, row)
                self._rows[account] = row
                changed.append(row)
        return Entry(record, generation, place.name, source.client, place.paused, terminal, source.link)

    def _unchanged(self, row: Row, source: Source, print_: str, terminal: NeedsLogin | None) -> Generation | None:
        """Return the generation of a row that says what a new one would (whose digest is in its fingerprint); None where it does not."""
        place, sealed = source.place, source.sealed or 0
        if row.fingerprint != print_ or row.terminal is not terminal or sealed > row.sealed or sealed > row.generation:
            return None
        same = row.file == place.name and row.directory == self._directories[place.directory]
        return row.generation if same else None

    def _new_row(
        self, account: AccountId, source: Source, print_: str, terminal: NeedsLogin | None, *, raise_: bool
    ) -> Row:
        old, place, digest = self._rows.get(account), source.place, source.record.tokens.refresh_digest()
        generation = old.generation if old else self.next_generation(account)
        if old and (raise_ or old.fingerprint != print_):
            generation = self.next_generation(account)
        generation = max(generation, Generation(source.sealed or 0))
        sealed = max(source.sealed or 0, old.sealed if old else 0)
        return Row(
            account, self._directories[place.directory], place.name, generation, print_, digest, terminal, sealed
        )

    def _digests_of(self, account: AccountId) -> bytes:
        """Return the generations of an account and their refresh tokens' digests (or zeros), packed.

        Nearly all accounts have had none but their row's, which is not kept twice.
        """
        known = self._digests.get(account)
        if known is not None:
            return known
        row = self._rows.get(account)
        return _noted(row.generation, row.digest) if row is not None else b""

    def _note_digest(self, account: AccountId, row: Row) -> None:
        """Have a row's digest remembered. Before it takes the place of the row there is."""
        if account not in self._digests and account not in self._rows:
            return
        record, known = _noted(row.generation, row.digest), self._digests_of(account)
        if not known.endswith(record):
            known = packed.without(known, _number(row.generation), len(record))
            self._digests[account] = packed.added(known, record, _DIGESTS_KEPT)

    def _publish(self, before: Mapping[AccountId, Entry]) -> None:
        if not self._listeners:
            return
        changes: list[Change] = [Gone(account) for account in before if account not in self._entries]
        changes += [
            Updated(entry)
            for account, entry in self._entries.items()
            if (old := before.get(account)) is not entry and old != entry
        ]
        self._tell_all(changes)

    def _tell_all(self, changes: Sequence[Change]) -> None:
        if not changes or not self._listeners:
            return
        loop = asyncio.get_running_loop()
        for listener in tuple(self._listeners):
            for change in changes:
                loop.call_soon(self._tell, listener, change)

    def _tell(self, listener: Callable[[Change], None], change: Change) -> None:
        if listener in self._listeners:
            listener(change)


def _number(generation: Generation) -> bytes:
    return generation.to_bytes(_GENERATION_BYTES, signed=True)  # as the state database has it


def _noted(generation: Generation, digest: Digest | None) -> bytes:
    return _number(generation) + (bytes.fromhex(digest.text) if digest is not None else bytes(_DIGEST_BYTES))


def _grant(tokens: Tokens) -> bytes:
    parts = (tokens.access_token.digest() if tokens.access_token else None, tokens.refresh_digest())
    return hashlib.sha256(repr([each.text if each else None for each in parts]).encode()).digest()[:16]
