"""A grant inside one JSON object of an auth file: the top level, or the object `token`.

Owns: which fields a grant has there and in which order readers look, and replacing a grant in place: keys, order, spelling and
notation stay as the file has them.
"""

from dataclasses import replace
from functools import lru_cache

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers import fields
from broker.providers.base import Document

# CLIProxyAPI's order; `expiry_date` is gemini-cli's own and CCS's.
EXPIRY_KEYS = ("expired", "expire", "expires_at", "expiresAt", "expiry", "expires", "expiry_date")
REFRESHED_KEYS = ("last_refresh", "lastRefresh", "last_refreshed_at", "lastRefreshedAt", "last-refresh")
_LIFETIME_KEYS = ("expires_in", "expiresIn", "expires-in")
_NAMES = ("access_token", "refresh_token", "id_token", "token_type", "scopes", "scope")
_KEYS = frozenset((*EXPIRY_KEYS, *REFRESHED_KEYS, *(key for name in _NAMES for key in fields.spellings(name))))
_NOTHING = Tokens(None)

_Layout = tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]
"""Which of `_NAMES`, of `EXPIRY_KEYS` and of `REFRESHED_KEYS` an object has."""


def read_grant(document: Document) -> Tokens:
    """Read the grant in an object; every part may be missing.

    Raises:
        FormatError: a token is there and is not text.
    """
    if _KEYS.isdisjoint(document):
        return _NOTHING
    has, ends, refreshed = _layout(tuple(document))
    return Tokens(
        fields.secret(document, "access_token") if "access_token" in has else None,
        fields.secret(document, "refresh_token") if "refresh_token" in has else None,
        fields.secret(document, "id_token") if "id_token" in has else None,
        (fields.hint(document, "token_type") if "token_type" in has else None) or "Bearer",
        fields.seconds(document, ends) if ends else None,
        (fields.words(document, "scopes") if "scopes" in has else ())
        or (fields.words(document, "scope") if "scope" in has else ()),
        fields.seconds(document, refreshed) if refreshed else None,
    )


def merge(canonical: Tokens, mirror: Tokens) -> Tokens:
    """Return the grant of a file that has two copies: `canonical` counts, `mirror` fills what it lacks.

    Access token, its type and its expiry belong together and come from one side.
    """
    if canonical is _NOTHING:
        return mirror
    if mirror is _NOTHING and canonical.access_token:
        return canonical
    side = canonical if canonical.access_token else mirror
    return Tokens(
        access_token=side.access_token,
        refresh_token=canonical.refresh_token or mirror.refresh_token,
        id_token=canonical.id_token or mirror.id_token,
        token_type=side.token_type,
        expires_at=_first(side.expires_at, canonical.expires_at, mirror.expires_at),
        scopes=canonical.scopes or mirror.scopes,
        last_refresh=_first(canonical.last_refresh, mirror.last_refresh),
    )


def with_known_end(tokens: Tokens) -> Tokens:
    """Return a grant whose access token ends at a known time: one that can be renewed and does not say when it ends counts as ended.

    To take it for good forever would serve dead tokens; to renew it once costs one request and teaches the time.
    """
    if tokens.expires_at is not None or not tokens.access_token or not tokens.refresh_token:
        return tokens
    return replace(tokens, expires_at=0.0)


def replace_grant(
    document: Document, tokens: Tokens, now: Now, *, canonical: bool, expiry_key: str = "expired"
) -> dict[str, object]:
    """Return `document` with the grant replaced. A `canonical` object gets the tokens it lacks; a mirror only what it already has."""
    made = dict(document)
    fields.put_secret(made, "access_token", tokens.access_token, add=canonical)
    fields.put_secret(made, "refresh_token", tokens.refresh_token, add=canonical)
    fields.put_secret(made, "id_token", tokens.id_token, add=False)
    fields.put_stamp(made, EXPIRY_KEYS, tokens.expires_at, add=expiry_key if canonical else None)
    fields.put_stamp(made, REFRESHED_KEYS, now.wall)
    for key in _LIFETIME_KEYS:
        if key in made and tokens.expires_at is not None:
            left = max(0, int(tokens.expires_at - now.wall))
            made[key] = str(left) if isinstance(made[key], str) else left
    _put_scopes(made, tokens)
    return made


@lru_cache(64)
def _layout(keys: tuple[str, ...]) -> _Layout:
    # The files of one program have the same keys, and to ask for what is not there is half of the work.
    has = frozenset(name for name in _NAMES if not set(fields.spellings(name)).isdisjoint(keys))
    return has, tuple(key for key in EXPIRY_KEYS if key in keys), tuple(key for key in REFRESHED_KEYS if key in keys)


def _put_scopes(made: dict[str, object], tokens: Tokens) -> None:
    for name in ("scopes", "scope"):
        if tokens.scopes and name in made and set(fields.words(made, name)) != set(tokens.scopes):
            made[name] = list(tokens.scopes) if isinstance(made[name], list) else " ".join(tokens.scopes)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
