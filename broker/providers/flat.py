"""A provider whose auth file is CLIProxyAPI's flat one.

Owns: reading and writing `{"type", "access_token", "refresh_token", "expired", "email", ...}`, and what such files have in common; vendor files
inherit it and name their types, facts and file names. It must never name a vendor.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.providers import fields, jwt
from broker.providers.base import Client, Document, FormatError
from broker.providers.naming import file_piece, first_label, stem
from broker.providers.standard import StandardProvider
from broker.providers.timestamps import write
from broker.providers.tokenmap import merge, read_grant, replace_grant, with_known_end


@dataclass(frozen=True, slots=True)
class FlatProvider(StandardProvider):
    """The file half of the protocol."""

    @property
    def types(self) -> frozenset[str]:
        """The values of `type` this provider claims, lower-case; the first written is `name`."""
        return frozenset({self.name})

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """The fields of the file that are facts of the record: text, or a number or truth value that is passed on as text."""
        return ()

    @property
    def expiry_key(self) -> str:
        """The field that says when the access token ends, where a file has none yet."""
        return "expired"

    def claims(self, document: Document) -> bool:
        """Tell whether an auth file is this provider's, by its `type`."""
        kind = document.get("type")
        return isinstance(kind, str) and kind.strip().lower() in self.types

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError."""
        nested = document.get("token")
        token = nested if isinstance(nested, Mapping) else {}
        tokens = with_known_end(merge(read_grant(document), read_grant(token)))
        if not tokens.access_token and not tokens.refresh_token:
            raise FormatError("it has neither access_token nor refresh_token")
        claims = jwt.claims(tokens.id_token)
        email = fields.text(document, "email") or jwt.text_claim(claims, "email")
        subject = fields.hint(document, "sub") or jwt.text_claim(claims, "sub")
        label = first_label(fields.hint(document, "label"), email, subject, stem(file_name), "account")
        return Record(
            account=AccountId(self.name, label),
            tokens=tokens,
            email=email,
            subject=subject,
            facts=self.facts(document),
            disabled=fields.flag(document, "disabled"),
        )

    def facts(self, document: Document) -> dict[str, str]:
        """Return the facts of a file."""
        return {name: value for name in self.fact_keys if (value := _fact(document, name))}

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace the grant at the top level, and in `token` where the file has such an object; put down the facts that came with it."""
        made = replace_grant(document, tokens, now, canonical=True, expiry_key=self.expiry_key)
        for name, value in tokens.facts.items():
            if name in self.fact_keys:
                fields.put_text(made, name, value)
        if isinstance(nested := document.get("token"), Mapping):
            made["token"] = replace_grant(nested, tokens, now, canonical=False)
        return made

    def create(self, record: Record, client: Client, now: Now) -> tuple[str, dict[str, object]]:
        """Return the file name and the document of a new login."""
        name = self.file_name(record, now)
        document = self.write(self.blank(record, client, now), record.tokens, now)
        if client.secret is None and client.id not in ("", self.client_id) and self.client_of(document) is None:
            document["client_id"] = client.id  # another program's own: the grant belongs to that client and to no other
        if self.read(document, name).account != record.account:
            document["label"] = record.account.label
        return name, document

    def file_name(self, record: Record, now: Now) -> str:  # noqa: ARG002 - some vendors' names hold the time
        """Return `<name>-<email or label>.json`."""
        return f"{self.name}-{file_piece(record.email or record.account.label) or 'account'}.json"

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - some files hold the registration
        """Return a new file's document in the vendor's order of keys, its tokens still empty."""
        tokens = record.tokens
        return {
            "type": self.name,
            "access_token": "",
            "refresh_token": "",
            **({"id_token": ""} if tokens.id_token else {}),
            "token_type": tokens.token_type,
            "scope": " ".join(tokens.scopes or self.scopes),
            **({"email": record.email} if record.email else {}),
            **({"sub": record.subject} if record.subject else {}),
            **({self.expiry_key: write(tokens.expires_at)} if tokens.expires_at is not None else {}),
            "last_refresh": write(now.wall),
            "disabled": record.disabled,
            **{name: value for name, value in record.facts.items() if name in self.fact_keys},
        }

    def client_of(self, document: Document) -> Client | None:
        """Return the registration a file carries (we write none unless the vendor makes one a login; others may)."""
        identifier = fields.text(document, "client_id")
        return Client(identifier, fields.secret(document, "client_secret"), self.setup.basic) if identifier else None


def _fact(document: Document, name: str) -> str | None:
    value = fields.get(document, name)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else fields.hint(document, name)
