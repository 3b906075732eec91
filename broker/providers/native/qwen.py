"""Qwen Code: `~/.qwen/oauth_creds.json`. It renews under a lock file that it creates exclusively and takes for stale after ten seconds."""

from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers import fields, jwt
from broker.providers.base import Document, Identity
from broker.providers.native.base import (
    MILLISECONDS,
    Beside,
    Found,
    LockKind,
    LockRule,
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


@dataclass(frozen=True, slots=True)
class Qwen(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return the one login."""
        tokens = ended_without_end(read_grant(document, _NAMES))
        claims = jwt.claims(tokens.id_token)
        resource = fields.hint(document, "resource_url")
        identity = Identity(
            jwt.text_claim(claims, "email"),
            jwt.text_claim(claims, "sub"),
            {"resource_url": resource} if resource else {},
        )
        return (checked(Login(tokens, identity), self.title),)

    def write(self, document: Document, key: str, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - there is one login
        """Replace the grant."""
        return write_grant(document, _NAMES, tokens, now)


FORMAT = Qwen(
    tool="qwen",
    title="Qwen Code",
    provider="qwen",
    spots=(Spot("~/.qwen", "oauth_creds.json"),),
    lock=LockRule(LockKind.FILE, "{folder}/oauth_creds.lock", stale_seconds=10.0),
)
