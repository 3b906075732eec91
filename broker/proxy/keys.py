"""Local keys: what each opens, how often, until when, and the text of the file they stand in.

Owns: `LocalKey` as it is kept, `Holder`, whoever shows one, and `Ring`, in which a request's key is found. Pure; `keyfile` reads and writes, `buckets`
remembers how much of a rate is used. It must never hold a key itself.

Kept is the SHA-256 of a key and nothing else of it. A slow hash (argon2, bcrypt) makes up for what people choose as passwords; a key is 256 random bits,
which nobody finds by trying, and a slow hash would be paid at every request. A request's key is found by its digest in a dict and then compared in constant
time: what the time of the lookup could tell is about digests, and no key follows from a digest.
"""

import fnmatch
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final, final

import msgspec

from broker.proxy.naming import Goal, Wanted

PREFIX: Final = "ccsb-"
"""What every made key begins with, so that people and scanners for secrets know one when they see it."""

RANDOM_BYTES: Final = 32
MAX_KEYS: Final = 1024
"""How many there may be: each has a place in the memory that workers share."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_VERSION: Final = 1
_MINUTE_SECONDS: Final = 60.0
_ROUNDING_SECONDS: Final = 1e-6


class LocalKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One key as it is kept.

    `slot` is its place in the workers' memory, its own as long as it stands. `created` and `expires` are seconds since the epoch, `models` globs
    (none: every model), `rpm` requests a minute (None: as many as it likes).
    """

    name: str
    sha256: str
    slot: int
    created: int
    models: tuple[str, ...] = ()
    rpm: int | None = None
    expires: int | None = None


@final
class Holder:
    """Whoever shows a key, and what it opens."""

    __slots__ = ("_pattern", "key")

    def __init__(self, key: LocalKey) -> None:
        """Read the globs when they are first asked for: a file may have a thousand keys, and is read between two requests."""
        self.key = key
        self._pattern: re.Pattern[str] | None = None

    def expired(self, now: float) -> bool:
        """Tell whether its time is over; `now` is seconds since the epoch."""
        return self.key.expires is not None and now >= self.key.expires

    @property
    def limited(self) -> bool:
        """Whether it opens some models only."""
        return bool(self.key.models)

    def narrowed(self, asked: str, wanted: Wanted) -> Wanted | None:
        """Return what of `wanted` the key opens; None where that is nothing.

        A glob may match the name as asked, that of a model it means, or `provider/model`: then that provider's accounts serve it and no others.
        """
        if not self.key.models or self._matches(asked.removeprefix("models/")):
            return wanted
        goals = tuple(goal for each in wanted.goals if (goal := self._left_of(each)) is not None)
        return msgspec.structs.replace(wanted, goals=goals) if goals else None

    def _left_of(self, goal: Goal) -> Goal | None:
        if self._matches(goal.model):
            return goal
        providers = tuple(each for each in goal.providers if self._matches(f"{each}/{goal.model}"))
        return msgspec.structs.replace(goal, providers=providers) if providers else None

    def _matches(self, name: str) -> bool:
        if self._pattern is None:
            self._pattern = re.compile("|".join(fnmatch.translate(glob) for glob in self.key.models))
        return self._pattern.match(name) is not None


@final
class Ring:
    """All keys there are at a moment."""

    __slots__ = ("_holders",)

    def __init__(self, keys: Iterable[LocalKey] = ()) -> None:
        """Hang them up by their digests."""
        self._holders = {key.sha256: Holder(key) for key in keys}

    def find(self, digest: str) -> Holder | None:
        """Return whose key has this digest (64 hexadecimal digits); None where nobody's has."""
        found = self._holders.get(digest)
        return found if found is not None and hmac.compare_digest(found.key.sha256, digest) else None

    def __len__(self) -> int:
        return len(self._holders)


def digest_of(text: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def free_slot(keys: Sequence[LocalKey]) -> int | None:
    """Return a place in the workers' memory that is nobody's; None where all are taken."""
    taken = {key.slot for key in keys}
    return next((slot for slot in range(MAX_KEYS) if slot not in taken), None)


def spend(until: float, rpm: int, now: float) -> tuple[float, float]:
    """Take one request from a bucket that holds `rpm` and fills up within a minute.

    `until` is when it will be full, as the last call returned it (0 for a new one), `now` the same clock's reading, both in seconds. Returns the new
    `until`, and how long to wait: 0 where the request was taken. The bucket is kept as this one time (the generic cell rate algorithm, ITU-T I.371): it
    needs no refilling, and stays right when the rate is changed.
    """
    step = _MINUTE_SECONDS / rpm
    begun = min(max(until, now), now + _MINUTE_SECONDS)
    wait = begun + step - _MINUTE_SECONDS - now
    if wait > _ROUNDING_SECONDS:
        return until, wait
    return begun + step, 0.0


def decode(data: bytes) -> tuple[LocalKey, ...]:
    """Read the file's text.

    Raises:
        ValueError: what is wrong with it.
    """
    try:
        file = msgspec.json.decode(data, type=_File)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a file of local keys: {error}") from None
    if file.version != _VERSION:
        raise ValueError(f"of version {file.version}, which another version of ccs-broker writes")
    for key in file.keys:
        _check(key)
    for what in ("name", "sha256", "slot"):
        if len({getattr(key, what) for key in file.keys}) != len(file.keys):
            raise ValueError(f"two keys have the same {what}")
    return file.keys


def encode(keys: Sequence[LocalKey]) -> bytes:
    """Write the file's text."""
    return msgspec.json.format(msgspec.json.encode(_File(version=_VERSION, keys=tuple(keys))), indent=2) + b"\n"


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. A field unknown here could be a limit, so it is an error and not overlooked."""

    version: int
    keys: tuple[LocalKey, ...]


def _check(key: LocalKey) -> None:
    if not NAME.fullmatch(key.name):
        raise ValueError(f"{key.name[:80]!r} is no name of a key")
    if not _DIGEST.fullmatch(key.sha256):
        raise ValueError(f"{key.name}: sha256 is not 64 lower-case hexadecimal digits")
    if not 0 <= key.slot < MAX_KEYS:
        raise ValueError(f"{key.name}: slot is not from 0 to {MAX_KEYS - 1}")
    if key.rpm is not None and key.rpm < 1:
        raise ValueError(f"{key.name}: rpm must be greater than 0")
