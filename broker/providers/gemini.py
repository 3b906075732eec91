"""Gemini CLI (Code Assist) logins.

Owns: the auth files CLIProxyAPI wrote up to 7.2.19 (`type: gemini`) and those of its plugin (`type: gemini-cli`), the places where the installed
app's client secret may be found, and the names of new files. The steps after a login are in `broker.providers.codeassist`.

A file holds its grant twice: in the object `token`, which counts, and sometimes once more at the top level, which is kept in step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.messages import Flow, PacedFlow, with_headers
from broker.providers import codeassist, codeassist_quota, fields, google, jwt
from broker.providers.base import (
    Client,
    Document,
    FormatError,
    Identity,
    Quota,
    Redirect,
    RefreshPolicy,
    SecretSource,
    SourceKind,
)
from broker.providers.naming import file_piece, first_label, safe_label, stem
from broker.providers.setup import PASTE, Setup
from broker.providers.standard import StandardProvider
from broker.providers.timestamps import write
from broker.providers.tokenmap import merge, read_grant, replace_grant, with_known_end

CLIENT_ID = "681255809395-oo8ft2oprdrnp9e3aqf6av3hmdib135j.apps.googleusercontent.com"
_TYPES = frozenset({"gemini", "gemini-cli"})
_UNIVERSE = "googleapis.com"
_CLIENT_KEYS = frozenset(fields.spellings("client_id"))
# What few files have, and all are asked for.
_RARE_FACTS = frozenset((*fields.spellings("project_ids"), *fields.spellings("base_url")))
_PAGE = "https://codeassist.google.com/authcode"  # where Gemini CLI itself sends who has no browser

DEFAULTS = Setup(
    name="gemini",
    title="Gemini CLI",
    client_id=CLIENT_ID,
    endpoints=replace(google.ENDPOINTS, api_url="https://cloudcode-pa.googleapis.com"),
    scopes=(
        "https://www.googleapis.com/auth/cloud-platform",
        "https://www.googleapis.com/auth/userinfo.email",
        "https://www.googleapis.com/auth/userinfo.profile",
    ),
    # The host stays `localhost` and the port is the one people forward over ssh; Google takes any loopback port from an installed app.
    redirect=Redirect(host="localhost", port=8085, path="/oauth2callback"),
    # Google does not rotate these: a repeat is answered like the first time.
    policy=RefreshPolicy(lead_seconds=300.0, rotates=False, forgives_repeat=True),
    # Without `prompt=consent` a second login gets no refresh token.
    extra_params={"access_type": "offline", "prompt": "consent"},
)

_PACKAGES = (
    "@google/gemini-cli/bundle/*.js",
    "@google/gemini-cli-core/dist/src/code_assist/oauth2.js",
    "@google/gemini-cli/node_modules/@google/gemini-cli-core/dist/src/code_assist/oauth2.js",
)
_VARIABLES = ("GEMINI_OAUTH_CLIENT_SECRET", "GEMINI_CLI_OAUTH_CLIENT_SECRET")


@dataclass(frozen=True, slots=True)
class Gemini(StandardProvider):
    """The provider; see the module."""

    @property
    def needs_secret(self) -> bool:
        """Google's token endpoint wants the installed app's secret even with PKCE."""
        return True

    @property
    def revokes_alone(self) -> bool:
        """Google's revocation takes the token and nothing else."""
        return True

    @property
    def google(self) -> bool:
        """google-auth-oauthlib builds the authorization URL."""
        return True

    @property
    def secret_sources(self) -> tuple[SecretSource, ...]:
        """Auth files, the installed Gemini CLI, and variables named after it (which say nothing about a client id of the user's own)."""
        files = (SecretSource(SourceKind.AUTH_FILES, "*.json"),)
        programs = tuple(SecretSource(SourceKind.GLOB, "{npm-root}/" + path) for path in _PACKAGES)
        variables = tuple(SecretSource(SourceKind.ENV, name) for name in _VARIABLES)
        return files + programs + (variables if self.setup.own_client else ())

    @property
    def options(self) -> Mapping[str, str]:
        """The options of a login."""
        return {
            PASTE: "true to have Google's page show the code, to be pasted here: no callback on this computer, no ssh tunnel"
        }

    def for_login(self, options: Mapping[str, str], seed: Secret) -> Self:
        """Return the provider as one login uses it; raises BrokerError."""
        made = StandardProvider.for_login(self, options, seed)
        return replace(made, setup=made.setup.pasting(_PAGE))

    def find_secret(self, source: SecretSource, text: str) -> Secret | None:
        """Find the client secret in a source's text, where our client id stands beside it."""
        if source.kind is SourceKind.ENV:
            return Secret(text.strip()) if text.strip() else None
        find = google.secret_in_document if source.kind is SourceKind.AUTH_FILES else google.secret_in_source
        return find(text, self.client_id)

    def claims(self, document: Document) -> bool:
        """Tell whether an auth file is ours, by its `type`."""
        kind = document.get("type")
        return isinstance(kind, str) and kind.strip().lower() in _TYPES

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError."""
        token = fields.section(document, "token", "Token") or {}
        tokens = with_known_end(merge(read_grant(token), read_grant(document)))
        if not tokens.access_token and not tokens.refresh_token:
            raise FormatError("it has neither access_token nor refresh_token")
        claims = jwt.claims(tokens.id_token) if tokens.id_token is not None else {}
        email = fields.text(document, "email") or jwt.text_claim(claims, "email")
        facts = _facts(document)
        label = safe_label(fields.hint(document, "label") or email or "") or first_label(
            email, facts.get("project_id"), stem(file_name), "account"
        )
        return Record(
            account=AccountId(self.name, label),
            tokens=tokens,
            email=email,
            subject=jwt.text_claim(claims, "sub") if claims else None,
            facts=facts,
            disabled=fields.flag(document, "disabled"),
        )

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace the grant in the object that counts, and in the flat mirror where the file has one."""
        key = next((k for k in ("token", "Token") if isinstance(document.get(k), Mapping)), None)
        nested = document.get(key) if key else None
        if not isinstance(nested, Mapping):
            return replace_grant(document, tokens, now, canonical=True, expiry_key="expiry")
        made = replace_grant(document, tokens, now, canonical=False)
        made[key or "token"] = replace_grant(nested, tokens, now, canonical=True, expiry_key="expiry")
        return made

    def create(self, record: Record, client: Client, now: Now) -> tuple[str, dict[str, object]]:
        """Return `gemini-<email>-<project>.json` and its document, both as CLIProxyAPI made them."""
        project = record.facts.get("project_id", "")
        several = "," in record.facts.get("projects", "")
        pieces = (record.email or record.account.label, "all" if several else project)
        name = "-".join(["gemini", *(p for piece in pieces if (p := file_piece(piece)))]) + ".json"
        document: dict[str, object] = {
            "token": self._token_object(record.tokens, client),
            "project_id": record.facts.get("projects", project),
            **({"email": record.email} if record.email else {}),
            "auto": False,
            "checked": False,
            "type": "gemini",
            "disabled": record.disabled,
            **({"base_url": record.facts["base_url"]} if "base_url" in record.facts else {}),
        }
        document = self.write(document, record.tokens, now)
        if self.read(document, name).account != record.account:
            document["label"] = record.account.label
        return name, document

    def client_of(self, document: Document) -> Client | None:
        """Return the registration in `token`, or at the top level; None where the file has none."""
        for place in (fields.section(document, "token", "Token") or {}, document):
            if not _CLIENT_KEYS.isdisjoint(place) and (identifier := fields.text(place, "client_id")):
                return Client(identifier, fields.secret(place, "client_secret"))
        return None

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:
        """Ask who logged in, and find the Code Assist project; raises FlowFailedError."""
        return with_headers(codeassist.identify(self.setup.endpoints, tokens, now, project), self.headers)

    def quota(self, record: Record, now: Now) -> Flow[Quota] | None:
        """Ask for the limits of the first project; None where the API's address is not known."""
        base = self.setup.endpoints.api_url
        if not base:
            return None
        project, bearer = record.facts.get("project_id"), record.tokens.access_token
        flow = codeassist_quota.by_bucket(base.rstrip("/") + codeassist.API, bearer, project, now)
        return with_headers(flow, self.headers)

    def _token_object(self, tokens: Tokens, client: Client) -> dict[str, object]:
        made: dict[str, object] = {"access_token": "", "token_type": tokens.token_type, "refresh_token": ""}
        if tokens.id_token:
            made["id_token"] = ""
        if tokens.expires_at is not None:
            made["expiry"] = write(tokens.expires_at)
        made["token_uri"] = self.setup.endpoints.token_url
        made["client_id"] = client.id
        fields.put_secret(made, "client_secret", client.secret, add=True)
        made["scopes"] = list(tokens.scopes or self.scopes)
        made["universe_domain"] = _UNIVERSE
        return made


def _facts(document: Document) -> dict[str, str]:
    listed, rare = fields.words(document, "project_id"), not _RARE_FACTS.isdisjoint(document)
    if not rare and len(listed) == 1:
        return {"project_id": listed[0]} if listed[0].lower() != "all" else {}
    listed += fields.words(document, "project_ids")
    projects = [name for name in dict.fromkeys(listed) if name.lower() != "all"]
    found: dict[str, str] = {}
    if projects:
        found["project_id"] = projects[0]
    if len(projects) > 1:
        found["projects"] = ",".join(projects)
    if base_url := fields.hint(document, "base_url"):
        found["base_url"] = base_url
    return found
