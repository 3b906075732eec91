"""The answer of a token endpoint that went well.

Owns: reading `Tokens` from RFC 6749 section 5.1 and from what servers make of it. What is not a usable answer goes to `broker.oauth.sorting`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import HttpResponse
from broker.oauth.sorting import STANDARD, Words, sort_failure

MAX_LIFETIME_SECONDS = 400 * 86_400.0
"""No token is trusted longer than this, whatever `expires_in` says: a typing error there must not keep us from ever looking again."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a provider's answers.

    `lifetime` is seconds, for an answer without `expires_in`; None where nothing is known of the provider. `words` are its error codes.
    `facts` names the fields of an answer that are no secret and belong to the grant (`broker.model.account.Tokens.facts`).
    """

    lifetime: float | None = None
    words: Words = STANDARD
    facts: tuple[str, ...] = ()


PLAIN = Reading()


def read_tokens(answer: HttpResponse, now: Now, reading: Reading = PLAIN, old: Tokens | None = None) -> Tokens:
    """Return the grant in an answer; what it leaves out is kept from `old` (RFC 6749 section 6).

    `expires_at` counts from `now`. A lifetime of zero or less means expired at once; text that is a number counts as one; anything else as missing.

    Raises:
        FlowFailedError: there is no usable access token; sorted by what to do next.
    """
    fields = _fields(answer)
    access = _text(fields, "access_token")
    if not 200 <= answer.status < 300 or access is None:
        raise FlowFailedError(sort_failure(answer, now, reading.words))
    refresh, id_token = _text(fields, "refresh_token"), _text(fields, "id_token")
    scope = _text(fields, "scope")
    lifetime = lifetime_seconds(fields.get("expires_in"))
    if lifetime is None:
        lifetime = reading.lifetime
    return Tokens(
        access_token=Secret(access),
        refresh_token=Secret(refresh) if refresh else old.refresh_token if old else None,
        id_token=Secret(id_token) if id_token else old.id_token if old else None,
        token_type=_token_type(fields),
        expires_at=None if lifetime is None else now.wall + lifetime,
        scopes=tuple(scope.split()) if scope else old.scopes if old else (),
        last_refresh=now.wall,
        facts={name: told for name in reading.facts if (told := _text(fields, name))},
    )


def lifetime_seconds(value: object) -> float | None:
    """Read `expires_in`: seconds from 0 to 400 days; None where it is missing or no number."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return None
    return float(min(max(value, 0), MAX_LIFETIME_SECONDS))


def _fields(answer: HttpResponse) -> Mapping[str, object]:
    return answer.document() or {}


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value and value.isprintable() and value == value.strip() else None


def _token_type(fields: Mapping[str, object]) -> str:
    kind = _text(fields, "token_type") or "Bearer"
    return "Bearer" if kind.lower() == "bearer" else kind  # RFC 6749 section 5.1: the name is case insensitive
