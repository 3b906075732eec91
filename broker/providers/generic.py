"""A provider of the user's own: `[providers.NAME] kind = "oauth2"`.

Owns: its auth file, a flat one in CLIProxyAPI's manner, and finding out who logged in from the ID token or the userinfo endpoint. Everything else is
as the standards have it.
"""

from dataclasses import dataclass

import msgspec

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import HttpRequest, PacedFlow
from broker.oauth.sorting import sort_failure
from broker.providers import fields, jwt
from broker.providers.base import Client, Document, FormatError, Identity, RefreshPolicy
from broker.providers.naming import file_piece, first_label, stem
from broker.providers.setup import Settings, Setup
from broker.providers.standard import StandardProvider
from broker.providers.timestamps import write
from broker.providers.tokenmap import merge, read_grant, replace_grant, with_known_end

_FACTS = ("base_url", "project_id", "account_id")


@dataclass(frozen=True, slots=True)
class Generic(StandardProvider):
    """The provider; see the module."""

    def claims(self, document: Document) -> bool:
        """Tell whether an auth file is this provider's: its `type` is the provider's name."""
        kind = document.get("type")
        return isinstance(kind, str) and kind.strip().lower() == self.name

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError."""
        token = fields.section(document, "token") if isinstance(document.get("token"), dict) else None
        tokens = with_known_end(merge(read_grant(document), read_grant(token or {})))
        if not tokens.access_token and not tokens.refresh_token:
            raise FormatError("it has neither access_token nor refresh_token")
        claims = jwt.claims(tokens.id_token)
        email = fields.text(document, "email") or jwt.text_claim(claims, "email")
        subject = fields.hint(document, "sub") or jwt.text_claim(claims, "sub")
        return Record(
            account=AccountId(
                self.name, first_label(fields.hint(document, "label"), email, subject, stem(file_name), "account")
            ),
            tokens=tokens,
            email=email,
            subject=subject,
            facts={name: value for name in _FACTS if (value := fields.hint(document, name))},
            disabled=fields.flag(document, "disabled"),
        )

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace the grant at the top level, and in `token` where the file has such an object."""
        made = replace_grant(document, tokens, now, canonical=True)
        if isinstance(nested := document.get("token"), dict):
            made["token"] = replace_grant(nested, tokens, now, canonical=False)
        return made

    def create(self, record: Record, client: Client, now: Now) -> tuple[str, dict[str, object]]:  # noqa: ARG002 - the protocol's
        """Return `<name>-<email or label>.json` and a flat document. The client's secret stays where the config has it."""
        tokens = record.tokens
        name = f"{self.name}-{file_piece(record.email or record.account.label) or 'account'}.json"
        document: dict[str, object] = {
            "type": self.name,
            "access_token": "",
            "refresh_token": "",
            **({"id_token": ""} if tokens.id_token else {}),
            "token_type": tokens.token_type,
            "scope": " ".join(tokens.scopes or self.scopes),
            **({"email": record.email} if record.email else {}),
            **({"sub": record.subject} if record.subject else {}),
            **({"expired": write(tokens.expires_at)} if tokens.expires_at is not None else {}),
            "last_refresh": write(now.wall),
            "disabled": record.disabled,
            **{name: value for name, value in record.facts.items() if name in _FACTS},
        }
        document = self.write(document, tokens, now)
        if self.read(document, name).account != record.account:
            document["label"] = record.account.label
        return name, document

    def client_of(self, document: Document) -> Client | None:
        """Return the registration a file carries (we write none; others may)."""
        identifier = fields.text(document, "client_id")
        return Client(identifier, fields.secret(document, "client_secret"), self.setup.basic) if identifier else None

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:
        """Take who logged in from the ID token, else from userinfo; with neither, the login has no name."""
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
