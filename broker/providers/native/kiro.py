"""Kiro: `~/.aws/sso/cache/kiro-auth-token.json`, and its client registration in a file of the same folder.

The registration is the file named after `clientIdHash`, else the one whose `clientId` is the login's; one that only fits by region is never taken: its pair
would be refused. No lock is known that the program takes. The store of `kiro-cli` is `broker.providers.native.kiro_cli`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers import fields
from broker.providers.base import Client, Document, Identity
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

_NAMES = Names("accessToken", "refreshToken", "idToken", "expiresAt", lifetime="expiresIn")
_SIBLINGS = "siblings"
_METHODS = {"idc": "idc", "social": "social", "builderid": "builder-id"}


@dataclass(frozen=True, slots=True)
class Kiro(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:
        """Return the one login."""
        if "accessToken" not in document and "refreshToken" not in document:
            return (Refused("is no token of Kiro's"),)
        tokens = ended_without_end(read_grant(document, _NAMES))
        client = _registration(document, beside.get(_SIBLINGS))
        method = _method(document)
        found = checked(Login(tokens, Identity(facts=_facts(document, method)), client=client), self.title)
        if isinstance(found, Login) and method != "social" and client is None:
            return (Refused("has no client registration beside it, without which it cannot be renewed"),)
        return (found,)

    def write(self, document: Document, key: str, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - there is one login
        """Replace the grant."""
        return write_grant(document, _NAMES, tokens, now)


def _method(document: Document) -> str:
    told = (fields.hint(document, "authMethod") or "").lower()
    if (fields.hint(document, "provider") or "").lower() == "builderid":
        return "builder-id"
    return _METHODS.get(told, told or "idc")


def _facts(document: Document, method: str) -> dict[str, str]:
    told = {
        "provider": fields.hint(document, "provider") if method == "social" else None,
        "region": fields.hint(document, "region"),
        "profile_arn": fields.hint(document, "profileArn"),
        "start_url": fields.hint(document, "startUrl"),
        "client_id_hash": fields.hint(document, "clientIdHash"),
        "auth_method": method,
    }
    return {name: value for name, value in told.items() if value}


def _registration(document: Document, siblings: object) -> Client | None:
    files = siblings if isinstance(siblings, Mapping) else {}
    named = files.get(f"{fields.hint(document, 'clientIdHash')}.json")
    wanted = fields.hint(document, "clientId")
    for one in (named, *files.values()):
        if not isinstance(one, Mapping) or "clientSecret" not in one:
            continue  # the login itself lies there too, and names the client
        identifier = fields.hint(one, "clientId")
        if identifier and (one is named if wanted is None else identifier == wanted):
            ends = fields.stamp(one, ("expiresAt",))
            return Client(identifier, fields.secret(one, "clientSecret"), expires_at=ends.seconds if ends else None)
    return None


FORMAT = Kiro(
    tool="kiro",
    title="Kiro",
    provider="kiro",
    spots=(Spot("~/.aws/sso/cache", "kiro-auth-token.json"),),
    beside={_SIBLINGS: ("*.json",)},
)
