"""Vertex AI with a Google service account.

Owns: CLIProxyAPI's auth file around a service account's key, making one from a key, and asking for an access token with an assertion (RFC 7523).
The key stands for the refresh token: it is what a login is told apart by, and it never changes by itself. This must never send an assertion to an
address only because a key file says so, and never alter a key.

Facts from CLIProxyAPI and Google's documentation of OAuth for servers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import Failure, FlowFailedError, Misconfigured, Permanent
from broker.oauth.grant import Reading, read_tokens
from broker.oauth.messages import Flow, HttpRequest, HttpResponse, PacedFlow, with_headers
from broker.oauth.waits import http_date
from broker.providers import assertion, derived, fields
from broker.providers.base import Client, Document, Endpoints, FormatError, Identity, LoginFlow, RefreshPolicy
from broker.providers.flat import FlatProvider
from broker.providers.naming import file_piece, first_label
from broker.providers.setup import Setup

DEFAULTS = Setup(
    name="vertex",
    title="Vertex AI (service account)",
    endpoints=Endpoints(token_url="https://oauth2.googleapis.com/token"),  # noqa: S106 - an address
    scopes=("https://www.googleapis.com/auth/cloud-platform",),
    # Nothing is spent: an assertion is made anew each time.
    policy=RefreshPolicy(lead_seconds=300.0, rotates=False, forgives_repeat=True),
    notice="A service account's key is imported: ccs-broker import vertex --file KEY.json",
)
READING = Reading(lifetime=3600.0)

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LOCATION = "us-central1"
"""CLIProxyAPI's, where none is named."""

_KIND = "service_account"
_NEEDED = ("project_id", "client_email", "private_key")
_LIFETIME_SECONDS = 3600  # the longest Google takes
_SKEW_SECONDS = 300.0
# Where Google's own keys say that assertions go, in their several ages.
_GOOGLE = frozenset(
    {"oauth2.googleapis.com", "oauth2.mtls.googleapis.com", "accounts.google.com", "www.googleapis.com"}
)
_LOCATION = re.compile(r"[a-z][a-z0-9-]{1,40}")


@dataclass(frozen=True, slots=True)
class Vertex(FlatProvider):
    """The provider; see the module."""

    @property
    def flows(self) -> tuple[LoginFlow, ...]:
        """None: a key is imported."""
        return ()

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """What the API's address is made of."""
        return ("project_id", "location")

    def facts(self, document: Document) -> dict[str, str]:
        """Return the facts of a file; `token_uri` only where the key does not name the usual one."""
        account = _account(document)
        found = FlatProvider.facts(self, document)
        told = {name: fields.hint(account, name) for name in ("project_id", "client_email", "token_uri")}
        if told["token_uri"] == DEFAULTS.endpoints.token_url:
            told["token_uri"] = None
        return {**{name: value for name, value in told.items() if value}, **found}

    def read(self, document: Document, file_name: str) -> Record:  # noqa: ARG002 - the key tells who it is
        """Read an auth file; raises FormatError."""
        account = _account(document)
        key, email = fields.secret(account, "private_key"), fields.text(account, "client_email")
        if not key or not email:
            raise FormatError(f"its service_account has no {'client_email' if key else 'private_key'}")
        facts = self.facts(document)
        if not _LOCATION.fullmatch(facts.get("location", LOCATION)):
            raise FormatError("its location is no Google Cloud region")  # it becomes part of a host's name
        label = fields.hint(document, "label")
        chosen = None if label == _label(facts.get("project_id"), email) else label
        return Record(
            account=AccountId(self.name, first_label(chosen, email, "account")),
            tokens=derived.read(document, key),
            email=email,
            facts=facts,
            disabled=fields.flag(document, "disabled"),
        )

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Put the access token where CLIProxyAPI has nothing; a key that is the same keeps its text."""
        made = dict(document)
        account = dict(_account(document))
        if tokens.refresh_token and tokens.refresh_token != fields.secret(account, "private_key"):
            fields.put_secret(account, "private_key", tokens.refresh_token, add=True)
            made[_KIND] = account
        derived.put(made, fields.secret(account, "private_key"), tokens, now)
        return made

    def file_name(self, record: Record, now: Now) -> str:  # noqa: ARG002 - the base's
        """Return `vertex-<project>.json`."""
        return f"vertex-{file_piece(record.facts.get('project_id') or record.account.label) or 'account'}.json"

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - the base's
        """Return a new file's document, with as much of the key's file as an account holds."""
        facts = record.facts
        account: dict[str, object] = {
            "type": _KIND,
            "project_id": facts.get("project_id", ""),
            "private_key": "",
            "client_email": facts.get("client_email") or record.email or "",
            "token_uri": facts.get("token_uri", DEFAULTS.endpoints.token_url),
        }
        return {**_document(account, facts.get("location")), "disabled": record.disabled}

    def client_of(self, document: Document) -> Client | None:
        """Return the service account itself: it is its own client."""
        email = fields.hint(_account(document), "client_email")
        return Client(email) if email else None

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - the protocol's
        """Return nobody: who it is stands in the key's file."""
        yield from ()
        return Identity()

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:  # noqa: ARG002 - the key proves who asks
        """Ask for an access token with a new assertion; raises FlowFailedError."""
        return (yield from with_headers(self._refresh(record, now), self.headers))

    def _refresh(self, record: Record, now: Now) -> Flow[Tokens]:
        key, email = record.tokens.refresh_token, record.facts.get("client_email")
        if not key or not email:
            raise FlowFailedError(Permanent("no_key", "the auth file holds no service account's key"))
        url = self._endpoint(record.facts)
        asked = int(now.wall)
        claims = {
            "iss": email,
            "scope": " ".join(self.scopes),
            "aud": url,
            "iat": asked,
            "exp": asked + _LIFETIME_SECONDS,
        }
        try:
            proof = assertion.signed(claims, key)
        except ValueError as error:
            raise FlowFailedError(Misconfigured("bad_key", f"no token can be asked for: {error}")) from None
        form: Mapping[str, str | Secret] = {"grant_type": GRANT_TYPE, "assertion": proof}
        answer = yield HttpRequest("POST", url, headers={"Accept": "application/json"}, form=form, spends=True)
        try:
            return read_tokens(answer, now, self.reading, replace(record.tokens, access_token=None))
        except FlowFailedError as error:
            raise FlowFailedError(_explained(error.failure, answer, now)) from None

    def _endpoint(self, facts: Mapping[str, str]) -> str:
        """Return where assertions go: the config's address, else the key's where it is one of Google's; raises FlowFailedError."""
        configured, named = self._token_url(), facts.get("token_uri")
        if named is None or named == configured or configured != DEFAULTS.endpoints.token_url:
            return configured
        if _is_googles(named):
            return named
        fault = "the key names a token_uri that is not Google's"
        hint = "if it is right, set it as token_url in [providers.vertex]"
        raise FlowFailedError(Misconfigured("foreign_token_uri", f"{fault}: {hint}"))


def from_key(key: Document) -> dict[str, object]:
    """Return the auth file of a service account's key, as Google gives it out; nothing in the key is changed.

    Raises:
        FormatError: it is no such key, or one that cannot be used; the message, a sentence that begins after "FILE ...", holds nothing of it.
    """
    if key.get("type") != _KIND:
        raise FormatError("is no service account's key")
    if missing := next((name for name in _NEEDED if not fields.hint(key, name)), None):
        raise FormatError(f"has no {missing}")
    try:
        assertion.signed({}, Secret(fields.hint(key, "private_key") or ""))
    except ValueError as error:
        raise FormatError(f"cannot be used: {error}") from None
    return _document(key, LOCATION)


def _account(document: Document) -> Mapping[str, object]:
    found = fields.section(document, _KIND, "serviceAccount")
    if found is None:
        raise FormatError(f"it has no {_KIND}")
    return found


def _document(account: Document, location: str | None) -> dict[str, object]:
    project, email = fields.hint(account, "project_id"), fields.hint(account, "client_email")
    return {
        _KIND: dict(account),
        "project_id": project or "",
        "email": email or "",
        **({"location": location} if location else {}),
        "type": "vertex",
        "label": _label(project, email or ""),
        "disabled": False,
    }


def _label(project: str | None, email: str) -> str:
    """Return what CLIProxyAPI writes as a label; an account is not called by it."""
    return f"{project or ''} ({email})"


def _is_googles(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and parts.netloc in _GOOGLE


def _explained(failure: Failure, answer: HttpResponse, now: Now) -> Failure:
    """Say what `invalid_grant` means here: a key that is no more, or a clock that is wrong, which must not end the login."""
    if not isinstance(failure, Permanent):
        return failure
    theirs = http_date(answer.headers.get("date", ""))
    off = 0.0 if theirs is None else now.wall - theirs
    if abs(off) > _SKEW_SECONDS:
        how = f"{abs(off) / 60:.0f} minutes {'ahead' if off > 0 else 'behind'}"
        return Misconfigured("clock", f"{failure.reason}; this computer's clock is {how}: set it right")
    if "reasonable timeframe" in failure.reason:
        return Misconfigured("clock", f"{failure.reason}; this computer's clock may be wrong")
    return Permanent(
        failure.code, f"{failure.reason}; the key or its service account is gone, or this computer's clock is wrong"
    )
