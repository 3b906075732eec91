"""What is known of another program's login file.

Owns: where such files lie and which lock their program takes, as data; what is found in one; reading and replacing a grant by the names its fields have
there. Pure. It must never blank a token, and never touch a field that is not part of the grant.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import msgspec

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers import fields, jwt, timestamps
from broker.providers.base import Client, Document, FormatError, Identity
from broker.providers.timestamps import RFC3339, Notation, Unix

Beside = Mapping[str, object]
"""Other files of the same program, by the names of `Native.beside`: parsed JSON, or text where it is none; for a glob, a mapping from file names."""


class LockKind(StrEnum):
    """How programs keep each other out while they renew a login."""

    FOLDER = "folder"  # made by mkdir, kept fresh by its mtime, removed at the end (the npm package proper-lockfile)
    FLOCK = "flock"  # flock(2) on a file that stays
    FILE = "file"  # created exclusively, removed at the end


class LockRule(msgspec.Struct, frozen=True):
    """The lock a program takes. `name` is a path in which `{folder}` is the login file's folder and `{file}` its path without the suffix.

    One whose mtime is older than `stale_seconds` belongs to nobody; 0 where the system itself frees it.
    """

    kind: LockKind
    name: str
    stale_seconds: float = 0.0


class Spot(msgspec.Struct, frozen=True):
    """Where a login file lies: `pattern` (a name, or a glob) in `folder`, which may begin with `~`.

    `variables` are environment variables that replace the folder, each with what follows below its value.
    """

    folder: str
    pattern: str
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Login:
    """A login found in a file. `key` tells it from others in the same file; `document` is set where the file is one of CLIProxyAPI's auth files already."""

    tokens: Tokens
    identity: Identity = field(default_factory=Identity)
    key: str = ""
    client: Client | None = None
    document: Document | None = field(default=None, repr=False)


class Refused(msgspec.Struct, frozen=True):
    """Why there is no login to take: a sentence that begins after "FILE ...". `blank` where its program was logged out."""

    reason: str
    key: str = ""
    blank: bool = False


Found = Login | Refused


@dataclass(frozen=True, slots=True)
class Seen:
    """A login file as it was read: its bytes, the bits of its mode, what was found in it, and what lies beside it."""

    data: bytes = field(repr=False)
    mode: int
    found: tuple[Found, ...]
    beside: Beside = field(default_factory=dict, repr=False)

    def login(self, key: str) -> Found:
        """Return the login `key`; where the file holds one login only, that one."""
        one = next((found for found in self.found if found.key == key), None)
        if one is None and len(self.found) == 1 and isinstance(self.found[0], Refused):
            return self.found[0]  # a word about the file as a whole
        return one or Refused("no longer has this login", key, blank=True)


@dataclass(frozen=True, slots=True)
class Native(ABC):
    """One program's format. `provider` is whose logins it holds; empty where the file itself says so.

    `database` names the tables of a SQLite file and the keys that are wanted of each, for programs that keep a login in one: rows of `key` and `value`. What
    is read of them is the document then. Empty for files of JSON.

    `beside` names other files that are read too, each by a path relative to the login file's folder, the first that exists. `unlinked` says in a sentence why
    such a login can only be copied; None where it can be linked.
    """

    tool: str
    title: str
    provider: str
    spots: tuple[Spot, ...] = ()
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lock: LockRule | None = None
    unlinked: str | None = None
    database: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, document: Document, beside: Beside) -> tuple[Found, ...]:
        """Return every login in a file, and every one that cannot be used with the reason. Never raises."""
        try:
            return self.find(document, beside)
        except FormatError as error:
            return (Refused(str(error)),)

    @abstractmethod
    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:
        """Return what `read` does; may raise FormatError for the file as a whole."""

    def write(self, document: Document, key: str, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - for those that are written
        """Return `document` with the grant of the login `key` replaced.

        Raises:
            FormatError: the file no longer has that login, or is of a kind that is never written.
        """
        raise FormatError("is never written")


class Names(msgspec.Struct, frozen=True):
    """What the parts of a grant are called in a file, and how a time is written where the one that stands there cannot be read (0, null)."""

    access: str = "access_token"
    refresh: str = "refresh_token"
    id_token: str = "id_token"  # noqa: S105 - the name of a field
    expiry: str = "expiry_date"
    refreshed: tuple[str, ...] = ()
    scopes: str = "scope"
    lifetime: str = "expires_in"
    notation: Notation = RFC3339


MILLISECONDS = Unix(milliseconds=True)
"""As JavaScript programs write the time."""


def read_grant(section: Document, names: Names) -> Tokens:
    """Read a grant by its names. Where no field tells the end, an access token that is a JWT does (`exp`, RFC 7519 section 4.1.4).

    Raises:
        FormatError: a token is there and is not text.
    """
    access = _secret(section, names.access)
    expiry = fields.stamp(section, (names.expiry,))
    refreshed = fields.stamp(section, names.refreshed)
    return Tokens(
        access_token=access,
        refresh_token=_secret(section, names.refresh),
        id_token=_secret(section, names.id_token),
        token_type=fields.hint(section, "token_type") or "Bearer",
        expires_at=expiry.seconds if expiry else end_of_jwt(access),
        scopes=fields.words(section, names.scopes),
        last_refresh=refreshed.seconds if refreshed else None,
    )


def write_grant(section: Document, names: Names, tokens: Tokens, now: Now) -> dict[str, object]:
    """Return `section` with its grant replaced; fields it does not have are not added, but for the refresh token."""
    made = dict(section)
    _put(made, names.access, tokens.access_token, add=True)
    _put(made, names.refresh, tokens.refresh_token, add=True)
    _put(made, names.id_token, tokens.id_token, add=False)
    _put_end(made, names, tokens.expires_at)
    fields.put_stamp(made, names.refreshed, now.wall)
    if isinstance(made.get(names.lifetime), int | float) and tokens.expires_at is not None:
        left = max(0.0, tokens.expires_at - now.wall)
        made[names.lifetime] = left if isinstance(made[names.lifetime], float) else int(left)
    return made


def checked(login: Login, title: str) -> Found:
    """Return `login`, or why it is none: a program that was logged out leaves empty tokens behind."""
    tokens = login.tokens
    if not tokens.access_token and not tokens.refresh_token:
        return Refused(f"has empty tokens: {title} was logged out there", login.key, blank=True)
    return login


def end_of_jwt(token: Secret | None) -> float | None:
    """Return when a JWT ends, in wall-clock seconds; None where it is none or does not say."""
    ends = jwt.claims(token).get("exp")
    return float(ends) if isinstance(ends, int | float) and not isinstance(ends, bool) and ends > 0 else None


def ended_without_end(tokens: Tokens) -> Tokens:
    """Return a grant that can be renewed and does not tell its end as one that has ended: to renew it once costs one request."""
    if tokens.expires_at is None and tokens.refresh_token and tokens.access_token:
        return replace(tokens, expires_at=0.0)
    return tokens


def _put_end(made: dict[str, object], names: Names, ends: float | None) -> None:
    if names.expiry not in made:
        return
    known = timestamps.read(made[names.expiry])
    made[names.expiry] = None if ends is None else timestamps.write(ends, known.notation if known else names.notation)


def _secret(section: Document, name: str) -> Secret | None:
    value = section.get(name)
    if value is not None and not isinstance(value, str):
        raise FormatError(f"{name} is not text")
    return Secret(value.strip()) if value and value.strip() else None


def _put(made: dict[str, object], name: str, value: Secret | None, *, add: bool) -> None:
    if name in made:
        # By this one name: `fields` would also set other spellings, which are not this program's.
        held: dict[str, object] = {}
        fields.put_secret(held, name, value, add=True)
        made.update(held)
    elif add:
        fields.put_secret(made, name, value, add=True)
