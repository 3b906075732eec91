"""Codex: the object `tokens` of `~/.codex/auth.json`. When the access token ends stands in the token alone.

No lock is known that the program takes; it reads the file again before it renews.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers import fields, jwt
from broker.providers.base import Document, FormatError, Identity
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

_SECTION = "tokens"
_REFRESHED = ("last_refresh",)
_NAMES = Names()
_AUTH_CLAIM = "https://api.openai.com/auth"
_PROFILE_CLAIM = "https://api.openai.com/profile"


@dataclass(frozen=True, slots=True)
class Codex(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return the one login."""
        section = fields.section(document, _SECTION)
        if section is None:
            if fields.hint(document, "OPENAI_API_KEY"):
                return (Refused("holds an API key, not a ChatGPT login; add it with: ccs-broker add-key"),)
            return (Refused(f"has no {_SECTION}: {self.title} is not logged in", blank=True),)
        refreshed = fields.stamp(document, _REFRESHED)
        tokens = replace(read_grant(section, _NAMES), last_refresh=refreshed.seconds if refreshed else None)
        claims = jwt.claims(tokens.id_token)
        auth, profile = _object(claims, _AUTH_CLAIM), _object(claims, _PROFILE_CLAIM)
        facts = {
            "account_id": fields.hint(section, "account_id") or jwt.text_claim(auth, "chatgpt_account_id"),
            "plan": jwt.text_claim(auth, "chatgpt_plan_type"),
        }
        identity = Identity(
            jwt.text_claim(claims, "email") or jwt.text_claim(profile, "email"),
            jwt.text_claim(claims, "sub"),
            {name: value for name, value in facts.items() if value},
        )
        return (checked(Login(ended_without_end(tokens), identity), self.title),)

    def write(self, document: Document, key: str, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - there is one login
        """Replace the grant, and the time of the last renewal."""
        section = fields.section(document, _SECTION)
        if section is None:
            raise FormatError(f"has no {_SECTION}")
        made = {**document, _SECTION: write_grant(section, _NAMES, tokens, now)}
        fields.put_stamp(made, _REFRESHED, now.wall)
        return made


def _object(claims: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = claims.get(name)
    return found if isinstance(found, Mapping) else {}


FORMAT = Codex(
    tool="codex",
    title="Codex",
    provider="codex",
    spots=(Spot("~/.codex", "auth.json", (("CODEX_HOME", ""),)),),
)
