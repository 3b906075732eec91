"""A provider of the user's own: `[providers.NAME] kind = "oauth2"`.

Owns: its auth file, a flat one in CLIProxyAPI's manner, and finding out who logged in from the ID token or the userinfo endpoint. Everything else is
as the standards have it.
"""

from dataclasses import dataclass

import msgspec

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import HttpRequest, PacedFlow, with_headers
from broker.oauth.sorting import sort_failure
from broker.providers import fields, jwt
from broker.providers.base import Identity, RefreshPolicy
from broker.providers.flat import FlatProvider
from broker.providers.setup import Settings, Setup

_FACTS = ("base_url", "project_id", "account_id")


@dataclass(frozen=True, slots=True)
class Generic(FlatProvider):
    """The provider; see the module."""

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """What an API side may need."""
        return _FACTS

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:
        """Take who logged in from the ID token, else from userinfo; with neither, the login has no name."""
        return (yield from with_headers(self._identify(tokens, now, project), self.headers))

    def _identify(self, tokens: Tokens, now: Now, project: str | None) -> PacedFlow[Identity]:
        facts = {"project_id": project} if project else {}
        claims = jwt.claims(tokens.id_token)
        email, subject = jwt.text_claim(claims, "email"), jwt.text_claim(claims, "sub")
        url = self.setup.endpoints.userinfo_url
        if email or not url or not tokens.access_token:
            return Identity(email, subject, facts)
        answer = yield HttpRequest("GET", url, headers={"Accept": "application/json"}, bearer=tokens.access_token)
        try:
            found = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, RecursionError):
            found = None
        if answer.status != 200 or not isinstance(found, dict):
            if subject:
                return Identity(None, subject, facts, ("The provider did not tell the e-mail address.",))
            raise FlowFailedError(sort_failure(answer, now))
        told = fields.hint(found, "sub") or fields.hint(found, "id")
        # OpenID Connect Core section 5.3.2: an answer about somebody else must not be used.
        if subject and told and told != subject:
            return Identity(None, subject, facts)
        return Identity(fields.hint(found, "email"), subject or told, facts)


def build(name: str, table: Settings) -> Generic:
    """Return the provider a config table describes."""
    blank = Setup(name=name, title=name, policy=RefreshPolicy(rotates=True))
    return Generic(blank.overridden(table))
