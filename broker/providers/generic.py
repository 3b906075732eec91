"""A provider of the user's own: `[providers.NAME] kind = "oauth2"`.

Owns: its auth file, a flat one in CLIProxyAPI's manner, and finding out who logged in from the ID token or the userinfo endpoint. Everything else is
as the standards have it.

A file with `"grant_type": "client_credentials"` is a grant of the program's own, which has no refresh token: what renews it is the client registration of
the config. That registration's name stands in `Tokens.refresh_token`, as any vendor's long-lived secret does there, so that journal, verdicts and
renewals need no second way; it is never written into the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth import client_credentials
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import Flow, HttpRequest, PacedFlow, with_headers
from broker.oauth.sorting import sort_failure
from broker.providers import fields, jwt
from broker.providers.base import Client, Document, Identity, LoginFlow, RefreshPolicy
from broker.providers.flat import FlatProvider
from broker.providers.setup import Settings, Setup
from broker.providers.standard import flows_of_people

_GRANT = "grant_type"
_OWN_GRANT = "client_credentials"
_FACTS = ("base_url", "project_id", "account_id", _GRANT)


@dataclass(frozen=True, slots=True)
class Generic(FlatProvider):
    """The provider; see the module. `confidential`: the config names a client secret."""

    confidential: bool = False

    @property
    def flows(self) -> tuple[LoginFlow, ...]:
        """The ways to log in: those of people, then the program's own where there is a client secret; that alone where nobody could approve anywhere."""
        known = self.setup.endpoints
        people = known.authorize_url or known.device_url or self.setup.issuer or not self.confidential
        return (
            *(flows_of_people(self.setup) if people else ()),
            *((LoginFlow.CLIENT_CREDENTIALS,) if self.confidential else ()),
        )

    @property
    def policy(self) -> RefreshPolicy:
        """When and how to refresh: grants of the program's own may be asked for as often as need be."""
        policy = self.setup.policy
        if self.flows != (LoginFlow.CLIENT_CREDENTIALS,):
            return policy
        return replace(policy, rotates=False, forgives_repeat=True)

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """What an API side may need."""
        return _FACTS

    def with_client(self, client_id: str, *, secret: bool) -> "Generic":
        """Return the same provider with this client id; a secret from outside the config makes it a confidential client too."""
        made = FlatProvider.with_client(self, client_id, secret=secret)
        return replace(made, confidential=self.confidential or secret)

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError."""
        if not _own(document):
            return FlatProvider.read(self, document, file_name)
        # A refresh token somebody put there is not what renews this grant.
        bare = {key: value for key, value in document.items() if key not in fields.spellings("refresh_token")}
        bare["refresh_token"] = _name(fields.hint(document, "sub") or self.client_id)
        return FlatProvider.read(self, bare, file_name)

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace the grant; raises nothing."""
        if _own(document):
            tokens = replace(tokens, refresh_token=None)
        return FlatProvider.write(self, document, tokens, now)

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:
        """Return a new file's document, its tokens still empty."""
        made = FlatProvider.blank(self, record, client, now)
        return {key: value for key, value in made.items() if key != "refresh_token"} if _own(record.facts) else made

    def grant_to_client(self, client: Client, now: Now) -> Flow[tuple[Tokens, Identity]]:
        """Ask for a grant of the program's own; the account is named after the client id. Raises FlowFailedError."""
        tokens = yield from self._own_grant(client, now, spends=False)
        tokens = replace(tokens, refresh_token=Secret(_name(client.id)))
        return tokens, Identity(None, client.id, {_GRANT: _OWN_GRANT})

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew; a grant of the program's own by asking for another one. Raises FlowFailedError."""
        if not _own(record.facts):
            return (yield from FlatProvider.refresh(self, record, client, now))
        tokens = yield from self._own_grant(client, now, spends=True)
        return replace(tokens, refresh_token=record.tokens.refresh_token, scopes=tokens.scopes or record.tokens.scopes)

    def revoke(self, record: Record, client: Client) -> HttpRequest | None:
        """Return the revocation request; None where there is nothing to revoke."""
        if _own(record.facts):
            record = replace(record, tokens=replace(record.tokens, refresh_token=None))
        return FlatProvider.revoke(self, record, client)

    def _own_grant(self, client: Client, now: Now, *, spends: bool) -> Flow[Tokens]:
        url, proven, setup = self._token_url(), self.setup.client(client), self.setup
        flow = client_credentials.request(
            url, proven, setup.scopes, setup.extra_params, now, self.reading, spends=spends
        )
        return (yield from with_headers(flow, self.headers))

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
        found = answer.document()
        if answer.status != 200 or found is None:
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
    secret = table.client_secret_file is not None or table.client_secret_env is not None
    return Generic(blank.overridden(table), confidential=secret)


def _own(said: Mapping[str, object]) -> bool:
    return said.get(_GRANT) == _OWN_GRANT


def _name(client_id: str) -> str:
    return f"the registration {client_id}"
