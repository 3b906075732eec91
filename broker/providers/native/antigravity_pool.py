"""Antigravity accounts of two proxies: `opencode-antigravity-auth` (version 4 of its file) and `antigravity-claude-proxy`.

Both keep a list `accounts` of Google refresh tokens, which do not change when they are used: a copy does no harm, and the files are never written. An access
token that stands there (`apiKey`) is not taken: nothing tells when it ends.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.secret import Secret
from broker.providers import fields
from broker.providers.base import Document, FormatError, Identity
from broker.providers.native.base import Beside, Found, Login, Native, Refused, Spot

_SEPARATOR = "|"  # between the token and the projects, where one of the proxies packed them; Google's tokens have none


@dataclass(frozen=True, slots=True)
class AntigravityPool(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return a login for each account."""
        accounts = document.get("accounts")
        if not isinstance(accounts, list):
            raise FormatError("has no list of accounts")
        found = tuple(_entries(accounts))
        return found or (Refused("has no accounts: nobody is logged in", blank=True),)


def _entries(accounts: list[object]) -> Iterator[Found]:
    for number, entry in enumerate(accounts):
        if not isinstance(entry, Mapping):
            continue
        email = fields.hint(entry, "email")
        key = email or str(number)
        try:
            packed = fields.text(entry, "refreshToken")
        except FormatError as error:
            yield Refused(str(error), key)
            continue
        yield _login(entry, key, email, packed)


def _login(entry: Document, key: str, email: str | None, packed: str | None) -> Found:
    token, *projects = (packed or "").split(_SEPARATOR)
    if not token.strip():
        return Refused("has an account without a refresh token, which cannot be renewed", key, blank=True)
    if entry.get("isInvalid") is True:
        return Refused("has an account that its program found dead", key)
    told = (fields.hint(entry, "projectId"), fields.hint(entry, "managedProjectId"), *projects)
    project = next((each for each in told if each), None)
    tokens = Tokens(access_token=None, refresh_token=Secret(token.strip()))
    return Login(tokens, Identity(email, facts={"project_id": project} if project else {}), key)


FORMAT = AntigravityPool(
    tool="antigravity-proxy",
    title="Antigravity proxy",
    provider="antigravity",
    spots=(
        Spot("~/.config/opencode", "antigravity-accounts.json"),
        Spot("~/.config/antigravity-proxy", "accounts.json"),
    ),
    unlinked="Google's refresh tokens do not change, so that a copy does no harm",
)
