"""Claude Code: the object `claudeAiOauth` of `~/.claude/.credentials.json`, and who it is from `oauthAccount` of `~/.claude.json`.

When the program finds its login dead it blanks both tokens and sets `expiresAt` to 0. It renews under a proper-lockfile lock on its config folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers import fields
from broker.providers.base import Client, Document, FormatError, Identity
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
    read_grant,
    write_grant,
)

_SECTION = "claudeAiOauth"
_PROFILE = "profile"
_VARIABLES = (("CLAUDE_SECURESTORAGE_CONFIG_DIR", ""), ("CLAUDE_CONFIG_DIR", ""))
_NAMES = Names("accessToken", "refreshToken", "idToken", "expiresAt", scopes="scopes", notation=MILLISECONDS)


@dataclass(frozen=True, slots=True)
class ClaudeCode(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:
        """Return the one login."""
        section = fields.section(document, _SECTION)
        if section is None:
            raise FormatError(f"has no {_SECTION}: {self.title} is not logged in with a subscription")
        organization = fields.hint(document, "organizationUuid")
        account = _account(beside.get(_PROFILE), organization)
        facts = {
            "account_uuid": fields.hint(account, "accountUuid"),
            "organization_uuid": organization or fields.hint(account, "organizationUuid"),
            "organization_name": fields.hint(account, "organizationName"),
            "plan": fields.hint(section, "subscriptionType"),
            # What `claude setup-token` makes has no refresh token, not even a blank one, and serves inference only.
            "scope_kind": None if _NAMES.refresh in section else "setup-token",
        }
        own = fields.hint(section, "clientId")
        login = Login(
            read_grant(section, _NAMES),
            Identity(
                fields.hint(account, "emailAddress"),
                facts["account_uuid"],
                {name: value for name, value in facts.items() if value},
            ),
            client=Client(own) if own else None,
        )
        return (checked(login, self.title),)

    def write(self, document: Document, key: str, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - there is one login
        """Replace the grant; `mcpOAuth` and whatever else lies beside it is kept."""
        section = fields.section(document, _SECTION)
        if section is None:
            raise FormatError(f"has no {_SECTION}")
        return {**document, _SECTION: write_grant(section, _NAMES, tokens, now)}


def _account(profile: object, organization: str | None) -> Document:
    """Return `oauthAccount`; nothing where it is another organisation's, left from an earlier login."""
    account = profile.get("oauthAccount") if isinstance(profile, Mapping) else None
    if not isinstance(account, Mapping):
        return {}
    told = fields.hint(account, "organizationUuid")
    return {} if organization and told and told != organization else account


FORMAT = ClaudeCode(
    tool="claude-code",
    title="Claude Code",
    provider="claude",
    spots=(Spot("~/.claude", ".credentials.json", _VARIABLES),),
    beside={_PROFILE: (".claude.json", "../.claude.json")},
    # proper-lockfile's own default of 10 seconds: nothing else is known to be set.
    lock=LockRule(LockKind.FOLDER, "{folder}.lock", stale_seconds=10.0),
)
