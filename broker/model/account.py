"""Accounts: how one is named, what is known of it, which state it is in.

Owns: `AccountId`, `Generation`, `Tokens`, `Record`, the union `State`, and freshness of a token. It must never know a vendor, a file or
a clock: callers pass `now` in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import NewType, final

import msgspec

from broker.model.errors import BrokerError, ErrorCode
from broker.model.quick import quickly_made
from broker.model.secret import Digest, Secret

__all__ = [
    "UNROUTED",
    "AccountId",
    "Active",
    "Ambiguous",
    "Backoff",
    "Freshness",
    "Generation",
    "NeedsLogin",
    "Paused",
    "Record",
    "Refreshing",
    "State",
    "StateName",
    "Tokens",
    "Unsaved",
    "by_name",
    "freshness",
    "state_name",
    "valid_provider_name",
]

Generation = NewType("Generation", int)
"""The version of an account: raised by every change of its tokens or settings, never lowered, survives restarts."""

_LABEL_MAX = 200  # e-mail addresses end at 254; labels also become parts of URLs and metric labels


@final
class AccountId(msgspec.Struct, frozen=True, order=True):
    """`provider/label`, for example `gemini/alice@example.com`. A struct, as it is the key to nearly everything: hashed and compared in C.

    A provider is lower-case letters, digits and `-`; a label is printable, has no slash or control character, and is
    at most 200 characters.
    """

    provider: str
    label: str

    def __post_init__(self) -> None:
        """Refuse names that could not be written in a URL or told apart on a terminal.

        Raises:
            BrokerError: `bad_request`, naming the part at fault.
        """
        if not valid_provider_name(self.provider):
            raise BrokerError(ErrorCode.BAD_REQUEST, f"not a provider name: {self.provider[:60]!r}")
        label = self.label
        if not label or len(label) > _LABEL_MAX or "/" in label or not label.isprintable() or label != label.strip():
            raise BrokerError(ErrorCode.BAD_REQUEST, f"not an account label: {label[:60]!r}")

    @classmethod
    def parse(cls, text: str) -> "AccountId":
        """Read `provider/label`.

        Raises:
            BrokerError: `bad_request` where there is no label or a part is not valid.
        """
        provider, slash, label = text.partition("/")
        if not slash:
            raise BrokerError(ErrorCode.BAD_REQUEST, f"an account is written provider/label, not {text[:60]!r}")
        return cls(provider, label)

    def __str__(self) -> str:
        return f"{self.provider}/{self.label}"


by_name = attrgetter("provider", "label")
"""A key that sorts accounts as comparing them does, in a third of the time."""


def valid_provider_name(name: str) -> bool:
    """Tell whether `name` can be a provider: lower-case ASCII letters, digits and inner `-`, 1 to 40 characters."""
    if name.isalpha() and name.isascii() and name.islower() and len(name) <= 40:  # nearly all
        return True
    inner = name.replace("-", "")
    return (
        0 < len(name) <= 40
        and name.isascii()
        and inner.isalnum()
        and inner == inner.lower()
        and not name.startswith("-")
        and not name.endswith("-")
    )


@quickly_made
@dataclass(frozen=True, slots=True)
class Tokens:
    """The grant as last issued (RFC 6749 section 5.1).

    `expires_at` is wall-clock seconds since the epoch; None where the token does not expire (API keys) or where the
    file does not say. `last_refresh` likewise, for display only. `facts` are non-secret words that came with the grant and belong beside
    it in the file (an API's address, a profile); two grants that differ in nothing else are equal.
    """

    access_token: Secret | None
    refresh_token: Secret | None = None
    id_token: Secret | None = None
    token_type: str = "Bearer"  # noqa: S105 - the word of RFC 6750, not a secret
    expires_at: float | None = None
    scopes: tuple[str, ...] = ()
    last_refresh: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)

    def same_grant(self, other: "Tokens") -> bool:
        """Tell whether these are the same tokens, whatever is said of their end. An ID token that only one of them has tells nothing."""
        if (self.access_token, self.refresh_token) != (other.access_token, other.refresh_token):
            return False
        return self.id_token is None or other.id_token is None or self.id_token == other.id_token

    def refresh_digest(self) -> Digest | None:
        """Return the fingerprint terminal states and journal records are bound to; None with no refresh token."""
        return self.refresh_token.digest() if self.refresh_token else None


@dataclass(frozen=True, slots=True)
class Routing:
    """What an account's file says of the requests it is meant for.

    `prefix` may stand before a model's name to mean accounts that have it. Accounts of the highest `priority` serve first; `weight`, at least 1, is an
    account's share among its equals. `excluded` are globs of model names it does not serve. `proxy_url` is by which way it is reached
    (`broker.model.network.read`), `proxy_fault` why that cannot be.
    """

    prefix: str = ""
    priority: int = 0
    weight: int = 1
    excluded: tuple[str, ...] = ()
    proxy_url: Secret | None = None
    proxy_fault: str = ""


UNROUTED = Routing()
"""What a file says that says nothing of it."""


@quickly_made
@dataclass(frozen=True, slots=True)
class Record:
    """One account as read from its file, in neutral words.

    `facts` are the non-secret fields the API side needs (`project_id`, `base_url`, `account_id` ...); they go out with
    leases. `email` and `subject` are identity, shown to the user but never logged. `disabled` is the file's own
    flag (CLIProxyAPI writes it): such an account is refreshed but never served. `routing` is whatever else the file says of its use.
    """

    account: AccountId
    tokens: Tokens
    email: str | None = None
    subject: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    disabled: bool = False
    routing: Routing = UNROUTED


class Freshness(StrEnum):
    """Three answers to "may I use this token": yes; yes, but renew it behind the caller's back; no, wait."""

    FRESH = "fresh"
    STALE = "stale"
    DEAD = "dead"


def freshness(expires_at: float | None, now_wall: float, *, min_validity: float, lead: float) -> Freshness:
    """Judge a token.

    `min_validity` and `lead` are seconds. A token is dead for a caller when less than `min_validity` is left, stale when
    less than `lead` is left. A token with no expiry is fresh.
    """
    if expires_at is None:
        return Freshness.FRESH
    left = expires_at - now_wall
    if left <= 0 or left < min_validity:
        return Freshness.DEAD
    return Freshness.STALE if left < lead else Freshness.FRESH


class Active(msgspec.Struct, frozen=True):
    """Nothing is wrong and nothing is under way."""


class Refreshing(msgspec.Struct, frozen=True):
    """A refresh is under way. `since` is boot-clock seconds."""

    since: float


class Backoff(msgspec.Struct, frozen=True):
    """The last refresh failed in a way that may pass. `until` is boot-clock seconds; `failures` counts in a row."""

    until: float
    reason: str
    failures: int
    code: ErrorCode = ErrorCode.REFRESH_FAILED


class Ambiguous(msgspec.Struct, frozen=True):
    """A refresh token was sent and no answer came: it may or may not be spent. `since` is wall-clock seconds.

    `digest` names the token that was sent; a different one in the file ends the state.
    """

    since: float
    digest: Digest


@dataclass(frozen=True, slots=True)
class NeedsLogin:
    """The provider says the grant is dead. Stored; ends when the refresh token's digest changes. `since` is wall-clock seconds."""

    reason: str
    since: float
    digest: Digest | None


class Paused(msgspec.Struct, frozen=True):
    """The user put the account aside: refreshed, never served."""


class Unsaved(msgspec.Struct, frozen=True):
    """Renewed, but storage refused the new grant: it lives in memory, is served, retried and shouted about.

    `since` is wall-clock seconds, `retry_at` boot-clock seconds.
    """

    since: float
    reason: str
    retry_at: float = 0.0


State = Active | Refreshing | Backoff | Ambiguous | NeedsLogin | Paused | Unsaved


class StateName(StrEnum):
    """The states as they are called on the socket, in metrics and on the terminal."""

    ACTIVE = "active"
    REFRESHING = "refreshing"
    BACKOFF = "backoff"
    AMBIGUOUS = "ambiguous"
    NEEDS_LOGIN = "needs_login"
    PAUSED = "paused"
    UNSAVED = "unsaved"


_NAMES: dict[type, StateName] = {
    Active: StateName.ACTIVE,
    Refreshing: StateName.REFRESHING,
    Backoff: StateName.BACKOFF,
    Ambiguous: StateName.AMBIGUOUS,
    NeedsLogin: StateName.NEEDS_LOGIN,
    Paused: StateName.PAUSED,
    Unsaved: StateName.UNSAVED,
}


def state_name(state: State) -> StateName:
    """Return what a state is called outside the program."""
    return _NAMES[type(state)]
