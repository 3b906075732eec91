"""Claude logins (Claude Code's OAuth client).

Owns: Anthropic's JSON token endpoint, CLIProxyAPI's auth files (`type: claude`), setup tokens, the profile after a login and the limits of a plan.

A setup token is what `claude setup-token` gives: good for a year, for inference only, without a refresh token. It is never renewed, and never mistaken for
a login that lost its refresh token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Permanent, Transient
from broker.oauth.grant import Reading, read_tokens
from broker.oauth.messages import Flow, HttpRequest, HttpResponse, PacedFlow, with_headers
from broker.providers import answers, fields, timestamps
from broker.providers.base import (
    Authorization,
    Client,
    Document,
    Endpoints,
    Identity,
    Quota,
    QuotaWindow,
    Redirect,
    RefreshPolicy,
)
from broker.providers.flat import FlatProvider
from broker.providers.naming import file_piece
from broker.providers.setup import PASTE, Setup

_HOUR = 3600.0
_PAGE = "https://platform.claude.com/oauth/code/callback"

DEFAULTS = Setup(
    name="claude",
    title="Claude",
    client_id="9d1c250a-e61b-44d9-88ed-5944d1962f5e",
    endpoints=Endpoints(
        authorize_url="https://claude.ai/oauth/authorize",
        token_url="https://platform.claude.com/v1/oauth/token",  # noqa: S106 - an address
        revoke_url="https://platform.claude.com/v1/oauth/token/revoke",
        api_url="https://api.anthropic.com",
    ),
    scopes=(
        "user:profile",
        "user:inference",
        "user:sessions:claude_code",
        "user:mcp_servers",
        "user:file_upload",
    ),
    redirect=Redirect(host="localhost", port=54545, path="/callback", manual_uri=_PAGE),
    # CLIProxyAPI renews four hours before the end, half of a token's eight. Whoever is first leaves nothing for the other to spend.
    policy=RefreshPolicy(lead_seconds=4.5 * _HOUR, lead_share=0.6, rotates=True),
    extra_params={"code": "true"},  # the page of the manual redirect shows the code instead of leading somewhere
    # The token endpoint is reported to answer 429 to `claude-cli/` and `claude-code/`; this is what CLIProxyAPI sends.
    user_agent="axios/1.15.2",
)
READING = Reading(lifetime=8 * _HOUR)

SETUP_TOKEN = "setup-token"  # noqa: S105 - the name of an option
_SETUP_SCOPES = ("user:inference",)
_SETUP_SECONDS = 31_536_000  # a year, as `claude setup-token` asks for
_SETUP_FLAGS = ("is_setup_token", "setup_token")
_FULL = "full"

_FACTS = ("account_uuid", "organization_uuid", "organization_name", "plan", "rate_limit_tier")
_KIND = "scope_kind"
_DEAD_STATUSES = frozenset({400, 401})
_HEADERS = {"Accept": "application/json"}
_BETA = {**_HEADERS, "anthropic-beta": "oauth-2025-04-20"}
_WINDOWS = {"five_hour": "5 hours", "seven_day": "7 days"}


@dataclass(frozen=True, slots=True)
class Claude(FlatProvider):
    """The provider; see the module."""

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """Whose login it is, and the plan. `plan` and `rate_limit_tier` are fields of ours, which other programs ignore."""
        return _FACTS

    @property
    def options(self) -> Mapping[str, str]:
        """The options of a login."""
        return {
            PASTE: "true to have Anthropic's page show the code, to be pasted here: no callback on this computer, no ssh tunnel",
            SETUP_TOKEN: "true for a token of one year that serves inference only and is never renewed, as `claude setup-token` makes it",
        }

    def for_login(self, options: Mapping[str, str], seed: Secret) -> Self:
        """Return the provider as one login uses it; raises BrokerError."""
        made = FlatProvider.for_login(self, options, seed)
        setup = made.setup.pasting(_PAGE)
        if setup.wants(SETUP_TOKEN):
            setup = replace(setup, scopes=_SETUP_SCOPES)
        return replace(made, setup=setup)

    def facts(self, document: Document) -> dict[str, str]:
        """Return the facts of a file; `scope_kind` tells a setup token from a full login."""
        return {**FlatProvider.facts(self, document), _KIND: SETUP_TOKEN if _is_setup_token(document) else _FULL}

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError. A setup token has nothing to be renewed with, whatever else stands in its file."""
        record = FlatProvider.read(self, document, file_name)
        if record.facts[_KIND] != SETUP_TOKEN or not record.tokens.access_token:
            return record
        ends = record.tokens.expires_at or None  # 0 is how a renewable grant of unknown end is read
        return replace(record, tokens=replace(record.tokens, refresh_token=None, expires_at=ends))

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace the grant; the file of a setup token gets nothing that others would take for renewable."""
        grant = replace(tokens, refresh_token=None) if _is_setup_token(document) else tokens
        return FlatProvider.write(self, document, grant, now)

    def file_name(self, record: Record, now: Now) -> str:  # noqa: ARG002 - the base's
        """Return `claude-<email>.json`, and `claude-<email>-setup-token.json` for a setup token beside it."""
        piece = file_piece(record.email or record.account.label) or "account"
        return f"{self.name}-{piece}{f'-{SETUP_TOKEN}' if record.facts.get(_KIND) == SETUP_TOKEN else ''}.json"

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - the base's
        """Return a new file's document in CLIProxyAPI's order of keys, its tokens still empty."""
        tokens, setup_token = record.tokens, record.facts.get(_KIND) == SETUP_TOKEN
        return {
            "id_token": "",
            "access_token": "",
            **({} if setup_token else {"refresh_token": ""}),
            "last_refresh": timestamps.write(now.wall),
            **({"email": record.email} if record.email else {}),
            **{name: value for name, value in record.facts.items() if name in _FACTS},
            "type": self.name,
            **({"expired": timestamps.write(tokens.expires_at)} if tokens.expires_at is not None else {}),
            "scope": " ".join(tokens.scopes or self.scopes),
            **({"is_setup_token": True, "skip_account_profile": True} if setup_token else {}),
            "disabled": record.disabled,
        }

    def exchange(self, authorization: Authorization, given: Secret, client: Client, now: Now) -> Flow[Tokens]:
        """Exchange an authorization code: in JSON, with the state; raises FlowFailedError."""
        return (yield from with_headers(self._exchange(authorization, given, client, now), self.headers))

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew: in JSON, with the scopes; raises FlowFailedError."""
        return (yield from with_headers(self._refresh(record, client, now), self.headers))

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - the protocol's
        """Find out whose login it is and which plan it has; raises FlowFailedError."""
        return (yield from with_headers(self._identify(tokens, now), self.headers))

    def quota(self, record: Record, now: Now) -> Flow[Quota] | None:
        """Return the flow that asks for the limits; None for a setup token, whose scope does not reach them."""
        bearer = record.tokens.access_token
        if record.facts.get(_KIND) == SETUP_TOKEN or not bearer:
            return None
        return with_headers(self._quota(record, bearer, now), self.headers)

    def revoke(self, record: Record, client: Client) -> HttpRequest | None:
        """Return the revocation request, which is JSON here; None where there is no endpoint or nothing to revoke."""
        url, tokens = self.setup.endpoints.revoke_url, record.tokens
        kind = "refresh_token" if tokens.refresh_token else "access_token"
        token = tokens.refresh_token or tokens.access_token
        if not url or not token:
            return None
        body = {"token": token, "token_type_hint": kind, "client_id": client.id}
        return HttpRequest("POST", url, headers={**self.headers, **_HEADERS}, json=body)

    def _exchange(self, authorization: Authorization, given: Secret, client: Client, now: Now) -> Flow[Tokens]:
        setup_token, reading = self.setup.wants(SETUP_TOKEN), self.reading
        body: dict[str, object] = {
            "grant_type": "authorization_code",
            "code": given,
            "redirect_uri": authorization.redirect_uri,
            "client_id": client.id,
            "code_verifier": authorization.verifier,
            "state": authorization.state,
        }
        if setup_token:
            body["expires_in"] = _SETUP_SECONDS
            reading = replace(reading, lifetime=float(_SETUP_SECONDS))
        answer = yield HttpRequest("POST", self._token_url(), headers=_HEADERS, json=body)
        tokens = read_tokens(answer, now, reading)
        facts = {**_told(answers.parsed(answer)), _KIND: SETUP_TOKEN if setup_token else _FULL}
        return replace(tokens, facts=facts, refresh_token=None if setup_token else tokens.refresh_token)

    def _refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        old = record.tokens
        if not old.refresh_token:
            raise FlowFailedError(
                Permanent("no_refresh_token", "the login has no refresh token, so it cannot be renewed")
            )
        scopes = " ".join(old.scopes or self.scopes)
        body: dict[str, object] = {
            "client_id": client.id,
            "grant_type": "refresh_token",
            "refresh_token": old.refresh_token,
            **({"scope": scopes} if scopes else {}),
        }
        answer = yield HttpRequest("POST", self._token_url(), headers=_HEADERS, json=body, spends=True)
        try:
            return read_tokens(answer, now, self.reading, old=old)
        except FlowFailedError as error:
            raise _weighed(answer, error) from None

    def _identify(self, tokens: Tokens, now: Now) -> Flow[Identity]:
        """Ask for the profile; where it is closed or away, what the exchange told has to do."""
        told = dict(tokens.facts)
        email = told.pop("email", None)
        told.setdefault(_KIND, _FULL)
        url = self._profile_url()
        if told[_KIND] == SETUP_TOKEN or not url or not tokens.access_token:
            return Identity(email, None, told)
        try:
            answer = yield HttpRequest("GET", url, headers=_HEADERS, bearer=tokens.access_token)
            profile = answers.expected(answer, now)
        except FlowFailedError as error:
            if email is None:
                raise
            return Identity(email, None, told, (f"The plan is not known: {error.failure.reason}.",))
        told |= _told(profile)
        return Identity(told.pop("email", None) or email, None, told)

    def _quota(self, record: Record, bearer: Secret, now: Now) -> Flow[Quota]:
        url = (self.setup.endpoints.api_url or "").rstrip("/") + "/api/oauth/usage"
        answer = yield HttpRequest("GET", url, headers=_BETA, bearer=bearer)
        told = answers.expected(answer, now)
        windows = tuple(made for name, each in told.items() if (made := _window(name, each)) is not None)
        notes = () if windows else ("Anthropic's answer holds no limits that could be read.",)
        return Quota(record.facts.get("plan"), windows, notes)

    def _profile_url(self) -> str | None:
        known = self.setup.endpoints
        return known.userinfo_url or (known.api_url.rstrip("/") + "/api/oauth/profile" if known.api_url else None)


def _is_setup_token(document: Document) -> bool:
    return any(fields.flag(document, name) for name in _SETUP_FLAGS)


def _weighed(answer: HttpResponse, error: FlowFailedError) -> FlowFailedError:
    """Claude Code takes `invalid_grant` for final with these statuses only; with any other the endpoint's gates may speak."""
    failure = error.failure
    if isinstance(failure, Permanent) and answer.status not in _DEAD_STATUSES:
        return FlowFailedError(Transient(failure.reason))
    return error


def _told(body: Document) -> dict[str, str]:
    """Return what an exchange or a profile says of the account and its organisation."""
    account, organization = _section(body, "account"), _section(body, "organization")
    kind = fields.hint(organization, "organization_type")
    found = {
        "email": fields.hint(account, "email") or fields.hint(account, "email_address"),
        "account_uuid": fields.hint(account, "uuid"),
        "organization_uuid": fields.hint(organization, "uuid"),
        "organization_name": fields.hint(organization, "name"),
        "plan": kind.removeprefix("claude_") if kind else None,
        "rate_limit_tier": fields.hint(organization, "rate_limit_tier"),
    }
    return {name: value for name, value in found.items() if value}


def _section(body: Document, name: str) -> Document:
    found = body.get(name)
    return found if isinstance(found, Mapping) else {}


def _window(name: str, told: object) -> QuotaWindow | None:
    """Read one limit: `utilization` is in per cent."""
    if not isinstance(told, Mapping):
        return None
    percent, resets = answers.amount(told.get("utilization")), timestamps.read(told.get("resets_at"))
    if percent is None and resets is None:
        return None
    return QuotaWindow(_shown(name), answers.share(percent, 100.0), resets.seconds if resets else None)


def _shown(name: str) -> str:
    for key, words in _WINDOWS.items():
        if name.startswith(key):
            model = name.removeprefix(key).strip("_").replace("_", " ")
            return f"{words}, {model}" if model else words
    return name.replace("_", " ")
