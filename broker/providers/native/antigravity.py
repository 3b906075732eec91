"""Antigravity: the files in which its command line `agy` keeps a login where there is no keyring.

The keyring, which has priority, and the IDE's database (an access token only) are not read. `auth_method: gcp` belongs to another client registration
and is refused. Google's tokens do not rotate; no lock is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers import jwt
from broker.providers.base import Document, Identity
from broker.providers.native.base import (
    Beside,
    Found,
    Login,
    Names,
    Native,
    Refused,
    Spot,
    checked,
    ended_without_end,
    read_grant,
    write_grant,
)

_NAMES = Names(expiry="expiry")
_SECTION = "token"


@dataclass(frozen=True, slots=True)
class Antigravity(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return the one login."""
        if document.get("auth_method") == "gcp":
            return (Refused("belongs to a Google Cloud login, for which another client registration is needed"),)
        tokens = ended_without_end(read_grant(_section(document), _NAMES))
        claims = jwt.claims(tokens.id_token or read_grant(document, _NAMES).id_token)
        identity = Identity(jwt.text_claim(claims, "email"), jwt.text_claim(claims, "sub"))
        return (checked(Login(tokens, identity), self.title),)

    def write(self, document: Document, key: str, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - there is one login
        """Replace the grant in the object `token`, or at the top level where there is none."""
        if _section(document) is document:
            return write_grant(document, _NAMES, tokens, now)
        return {**document, _SECTION: write_grant(_section(document), _NAMES, tokens, now)}


def _section(document: Document) -> Document:
    nested = document.get(_SECTION)
    return nested if isinstance(nested, Mapping) else document


FORMAT = Antigravity(
    tool="antigravity",
    title="Antigravity",
    provider="antigravity",
    spots=(
        Spot(
            "~/.gemini/antigravity-cli", "antigravity-oauth-token",
        ),
        Spot("~/.config/antigravity-cli", "antigravity-oauth-token", (("XDG_CONFIG_HOME", "antigravity-cli"),)),
        Spot("~/.gemini", "jetski-standalone-oauth-token"),
        Spot("~/.gemini/antigravity-acp", "acp_token.json"),
    ),
)  # fmt: skip
