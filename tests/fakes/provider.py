"""A vendor that does not exist, for tests of the rooms above `providers`: flat files of type "fake"."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Misconfigured, Permanent, Transient
from broker.oauth.messages import Flow, HttpRequest, HttpResponse
from broker.providers.base import (
    Authorization,
    Client,
    Document,
    Endpoints,
    FormatError,
    Identity,
    LoginFlow,
    Quota,
    Redirect,
    RefreshPolicy,
    SecretSource,
)

_FACTS = ("project_id", "account_id")


@dataclass
class FakeProvider:
    """Implements `broker.providers.base.Provider`. Its token endpoint answers RFC 6749 JSON."""

    name: str = "fake"
    title: str = "Fake"
    endpoints: Endpoints = field(default_factory=lambda: Endpoints(token_url="https://fake.invalid/token"))
    client_id: str = "fake-client"
    scopes: tuple[str, ...] = ()
    redirect: Redirect = field(default_factory=Redirect)
    policy: RefreshPolicy = field(default_factory=RefreshPolicy)
    flows: tuple[LoginFlow, ...] = (LoginFlow.CODE,)
    needs_secret: bool = False
    revokes_alone: bool = False
    secret_sources: tuple[SecretSource, ...] = ()
    google: bool = False
    extra_params: Mapping[str, str] = field(default_factory=dict)

    options: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""

    def for_login(self, options: Mapping[str, str], seed: Secret) -> "FakeProvider":
        return self

    def quota(self, record: Record, now: Now) -> Flow[Quota] | None:
        return None

    def authorization_url(self, client: Client, redirect_uri: str, state: Secret, verifier: Secret) -> str:
        return f"{self.endpoints.authorize_url}?{redirect_uri}"

    def find_secret(self, source: SecretSource, text: str) -> Secret | None:
        return None

    def claims(self, document: Document) -> bool:
        return document.get("type") == self.name

    def read(self, document: Document, file_name: str) -> Record:
        access, refresh = _text(document, "access_token"), _text(document, "refresh_token")
        if access is None and refresh is None:
            raise FormatError("there is no token")
        expires = document.get("expires_at")
        if expires is not None and (isinstance(expires, bool) or not isinstance(expires, int | float)):
            raise FormatError("expires_at is not a number")
        email = _text(document, "email")
        last = document.get("last_refresh")
        return Record(
            account=AccountId(self.name, _text(document, "label") or email or file_name.removesuffix(".json")),
            tokens=Tokens(
                access_token=Secret(access) if access else None,
                refresh_token=Secret(refresh) if refresh else None,
                expires_at=float(expires) if expires is not None else None,
                last_refresh=float(last) if isinstance(last, int | float) else None,
            ),
            email=email,
            subject=_text(document, "sub"),
            facts={fact: told for fact in _FACTS if (told := _text(document, fact))},
            disabled=document.get("disabled") is True,
        )

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        made = dict(document)
        if tokens.access_token:
            made["access_token"] = tokens.access_token.reveal()
        if tokens.refresh_token:
            made["refresh_token"] = tokens.refresh_token.reveal()
        if tokens.expires_at is not None:
            made["expires_at"] = tokens.expires_at
        made["last_refresh"] = now.wall
        return made

    def create(self, record: Record, client: Client, now: Now) -> tuple[str, dict[str, object]]:
        base: dict[str, object] = {"type": self.name, **record.facts}
        if record.email:
            base["email"] = record.email
        if record.subject:
            base["sub"] = record.subject
        if client.id != self.client_id:
            base["client_id"] = client.id
        if record.account.label != record.email:
            base["label"] = record.account.label
        project = record.facts.get("project_id")
        name = f"{self.name}-{record.account.label}{f'-{project}' if project else ''}.json"
        return name, self.write(base, record.tokens, now)

    def client_of(self, document: Document) -> Client | None:
        told = _text(document, "client_id")
        return Client(told) if told else None

    def exchange(self, authorization: Authorization, code: Secret, client: Client, now: Now) -> Flow[Tokens]:
        form: dict[str, str | Secret] = {"grant_type": "authorization_code", "code": code, "client_id": client.id}
        answer = yield HttpRequest("POST", str(self.endpoints.token_url), form=form)
        return _tokens(answer, now, None)

    def grant_to_client(self, client: Client, now: Now) -> Flow[tuple[Tokens, Identity]]:
        yield from ()
        raise FlowFailedError(Misconfigured("no_client_credentials", "the fake gives no grants to programs"))

    def with_known(self, endpoints: Endpoints) -> "FakeProvider":
        return replace(self, endpoints=endpoints)

    def with_client(self, client_id: str, *, secret: bool) -> "FakeProvider":
        return replace(self, client_id=client_id)

    def identify(self, tokens: Tokens, now: Now) -> Flow[Identity]:
        yield from ()
        return Identity(email="alice@example.com")

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        old = record.tokens.refresh_token
        spent = old or Secret("")
        form: dict[str, str | Secret] = {"grant_type": "refresh_token", "refresh_token": spent, "client_id": client.id}
        answer = yield HttpRequest("POST", str(self.endpoints.token_url), form=form, spends=True)
        return _tokens(answer, now, old)

    def revoke(self, record: Record, client: Client) -> HttpRequest | None:
        return None


class FakeRegistry:
    """The part of the provider registry the store uses."""

    def __init__(self, *providers: FakeProvider) -> None:
        self._providers = providers or (FakeProvider(), FakeProvider(name="other"))

    def of_document(self, document: Document) -> FakeProvider | None:
        return next((provider for provider in self._providers if provider.claims(document)), None)

    def get(self, name: str) -> FakeProvider:
        for provider in self._providers:
            if provider.name == name:
                return provider
        raise BrokerError(ErrorCode.UNKNOWN_PROVIDER, f"no provider {name}")


def _text(document: Document, key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise FormatError(f"{key} is not a string")
    return value or None


def _tokens(answer: HttpResponse, now: Now, old: Secret | None) -> Tokens:
    try:
        body = msgspec.json.decode(answer.body, type=dict[str, object])
    except msgspec.MsgspecError:
        raise FlowFailedError(Transient(f"HTTP {answer.status} with no JSON")) from None
    error = body.get("error")
    if error == "invalid_grant":
        raise FlowFailedError(Permanent("invalid_grant", "The fake provider says: revoked."))
    if error == "invalid_client":
        raise FlowFailedError(Misconfigured("invalid_client", "The fake provider does not know us."))
    access = body.get("access_token")
    if answer.status != 200 or not isinstance(access, str):
        raise FlowFailedError(Transient(f"HTTP {answer.status}"))
    refresh, lifetime = body.get("refresh_token"), body.get("expires_in")
    return Tokens(
        access_token=Secret(access),
        refresh_token=Secret(refresh) if isinstance(refresh, str) else old,
        expires_at=now.wall + float(lifetime) if isinstance(lifetime, int | float) else None,
        last_refresh=now.wall,
    )
