"""Grok: `~/.grok/auth.json`, an object with one login for each issuer and client. The access token is called `key`.

Refresh tokens are good once, and no lock is known that the program takes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers import fields
from broker.providers.base import Client, Document, FormatError, Identity
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

_NAMES = Names(access="key", expiry="expires_at", refreshed=("create_time",))
_SEPARATOR = "::"


@dataclass(frozen=True, slots=True)
class Grok(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return a login for each entry."""
        return tuple(_entries(document, self.title)) or (Refused("names no login", blank=True),)

    def write(self, document: Document, key: str, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace the grant of one entry."""
        entry = document.get(key)
        if not isinstance(entry, Mapping):
            raise FormatError("no longer has this login")
        return {**document, key: write_grant(entry, _NAMES, tokens, now)}


def _entries(document: Document, title: str) -> Iterator[Found]:
    for key, entry in document.items():
        if not isinstance(entry, Mapping):
            continue
        if fields.hint(entry, "auth_mode") not in (None, "oidc"):
            yield Refused("is no OAuth login", key)
            continue
        try:
            tokens = ended_without_end(read_grant(entry, _NAMES))
        except FormatError as error:
            yield Refused(str(error), key)
            continue
        own = fields.hint(entry, "oidc_client_id") or key.partition(_SEPARATOR)[2]
        identity = Identity(fields.hint(entry, "email"), fields.hint(entry, "user_id"))
        yield checked(Login(tokens, identity, key, Client(own) if own else None), title)


FORMAT = Grok(
    tool="xai",
    title="Grok",
    provider="xai",
    spots=(Spot("~/.grok", "auth.json", (("GROK_HOME", ""),)),),
)
