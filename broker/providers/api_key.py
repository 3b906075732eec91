"""API keys: accounts that are never renewed.

Owns: their file, `{"type": "api-key", "provider": NAME, "api_key": ..., "label": ..., "base_url": ...}`. There is no login: the user puts the file
into the auth directory. The key is leased like any token, without an end.
"""

from dataclasses import dataclass

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.oauth.failures import FlowFailedError, Misconfigured
from broker.oauth.messages import Flow, PacedFlow
from broker.providers import fields
from broker.providers.base import Client, Document, FormatError, Identity, LoginFlow, RefreshPolicy
from broker.providers.naming import file_piece, first_label, stem
from broker.providers.setup import Setup
from broker.providers.standard import StandardProvider

TYPE = "api-key"
GEMINI = Setup(name="gemini-api", title="Gemini API key", policy=RefreshPolicy(rotates=False, forgives_repeat=True))


@dataclass(frozen=True, slots=True)
class ApiKey(StandardProvider):
    """Keys of one API; see the module."""

    @property
    def flows(self) -> tuple[LoginFlow, ...]:
        """None: a key is made on the vendor's page."""
        return ()

    def claims(self, document: Document) -> bool:
        """Tell whether an auth file holds a key of this API."""
        return document.get("type") == TYPE and document.get("provider") == self.name

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError where there is no key."""
        key = fields.secret(document, "api_key")
        if key is None:
            raise FormatError("it has no api_key")
        label = first_label(fields.hint(document, "label"), stem(file_name), "key")
        base_url = fields.hint(document, "base_url")
        return Record(
            account=AccountId(self.name, label),
            tokens=Tokens(key),
            facts={"base_url": base_url} if base_url else {},
            disabled=fields.flag(document, "disabled"),
        )

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - the protocol's
        """Replace the key."""
        made = dict(document)
        fields.put_secret(made, "api_key", tokens.access_token, add=True)
        return made

    def create(self, record: Record, client: Client, now: Now) -> tuple[str, dict[str, object]]:  # noqa: ARG002 - the protocol's
        """Return `<name>-<label>.json` and its document."""
        blank: dict[str, object] = {"type": TYPE, "provider": self.name, "label": record.account.label, **record.facts}
        name = f"{self.name}-{file_piece(record.account.label) or 'key'}.json"
        return name, self.write(blank, record.tokens, now)

    def client_of(self, document: Document) -> Client | None:  # noqa: ARG002 - the protocol's
        """Return None: a key needs no registration."""
        return None

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - the protocol's
        """Return nobody: a key does not say whose it is."""
        yield from ()
        return Identity()

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:  # noqa: ARG002 - the protocol's
        """Fail: there is nothing to renew."""
        yield from ()
        raise FlowFailedError(Misconfigured("api_key", "an API key cannot be renewed"))
