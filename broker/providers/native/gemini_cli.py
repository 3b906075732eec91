"""Gemini CLI: `~/.gemini/oauth_creds.json`, and who is logged in from `google_accounts.json` beside it.

Google's tokens do not rotate, and no lock is known that the program takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers import jwt
from broker.providers.base import Document, Identity
from broker.providers.native.base import (
    MILLISECONDS,
    Beside,
    Found,
    Login,
    Names,
    Native,
    Spot,
    checked,
    ended_without_end,
    read_grant,
    write_grant,
)

_NAMES = Names(expiry="expiry_date", notation=MILLISECONDS)
_ACCOUNTS = "accounts"


@dataclass(frozen=True, slots=True)
class GeminiCli(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:
        """Return the one login."""
        tokens = ended_without_end(read_grant(document, _NAMES))
        claims = jwt.claims(tokens.id_token)
        email = jwt.text_claim(claims, "email") or _active(beside.get(_ACCOUNTS))
        return (checked(Login(tokens, Identity(email, jwt.text_claim(claims, "sub"))), self.title),)

    def write(self, document: Document, key: str, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - there is one login
        """Replace the grant."""
        return write_grant(document, _NAMES, tokens, now)


def _active(accounts: object) -> str | None:
    active = accounts.get("active") if isinstance(accounts, Mapping) else None
    return active if isinstance(active, str) and active.strip() else None


FORMAT = GeminiCli(
    tool="gemini-cli",
    title="Gemini CLI",
    provider="gemini",
    spots=(Spot("~/.gemini", "oauth_creds.json", (("GEMINI_CLI_HOME", ".gemini"),)),),
    beside={_ACCOUNTS: ("google_accounts.json",)},
)
