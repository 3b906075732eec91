"""Kiro logins: AWS Builder ID, IAM Identity Center, and the social logins of Kiro's own service.

Owns: registering a client for each login, the device flow in AWS's spelling, the social code flow, which of the two services renews a login and in which
region, and CLIProxyAPI Plus' auth file. Who it is and what is left of the plan is asked by `broker.providers.kiro_api`. It must never take a wrong region
or a registration that has ended for a dead login, and never send one service's refresh token to the other.

Facts from CLIProxyAPI Plus and AWS' documentation of SSO OIDC; Kiro documents none of this.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth import device, refresh
from broker.oauth.device import DeviceCode
from broker.oauth.discovery import acceptable_url
from broker.oauth.failures import Failure, FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.grant import Reading, read_tokens
from broker.oauth.messages import Flow, HttpRequest, HttpResponse, PacedFlow, with_headers
from broker.oauth.sorting import Words, sort_failure
from broker.providers import answers, fields, kiro_api, timestamps
from broker.providers.base import (
    Authorization,
    Client,
    Document,
    Endpoints,
    Identity,
    LoginFlow,
    Quota,
    Redirect,
    RefreshPolicy,
)
from broker.providers.camel import in_camel_case
from broker.providers.flat import FlatProvider
from broker.providers.naming import file_piece
from broker.providers.setup import Setup

DEFAULTS = Setup(
    name="kiro",
    title="Kiro",
    # The name a registration is made under; in its place the config may put the id of one that exists.
    client_id="ccs-broker",
    endpoints=Endpoints(
        authorize_url="https://prod.us-east-1.auth.desktop.kiro.dev/login",
        device_url="https://oidc.{region}.amazonaws.com/device_authorization",
        token_url="https://oidc.{region}.amazonaws.com/token",  # noqa: S106 - an address
        api_url="https://codewhisperer.{region}.amazonaws.com",
    ),
    scopes=("codewhisperer:completions", "codewhisperer:analysis", "codewhisperer:conversations"),
    redirect=Redirect(manual_uri="kiro://kiro.kiroAgent/authenticate-success", loopback=False),
    # CLIProxyAPI Plus renews 5 minutes before the end: we must be earlier, or both spend the token.
    policy=RefreshPolicy(lead_seconds=600.0, rotates=True),
)
READING = Reading(
    lifetime=3600.0,
    words=Words(
        permanent=frozenset({"invalidgrantexception", "expiredtokenexception", "expired_token"}),
        misconfigured=frozenset(
            {"invalidclientexception", "unauthorizedclientexception", "invalidrequestexception", "bad credentials"}
        ),
        limited=frozenset({"throttlingexception", "toomanyrequestsexception", "slowdownexception"}),
        passing=frozenset({"internalserverexception"}),
    ),
)

START_URL = "https://view.awsapps.com/start"
"""Where a Builder ID logs in; an organisation has one of its own."""

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-\d{1,2}")
_BUILDER, _CENTER, _SOCIAL = "builder-id", "idc", "social"
_PROVIDERS = {"google": "Google", "github": "Github"}
_REFUSED_CLIENT = frozenset(
    {
        "invalid_client",
        "unauthorized_client",
        "invalidclientexception",
        "unauthorizedclientexception",
        "bad credentials",
    }
)
_EXPIRY = "client_secret_expires_at"


@dataclass(frozen=True, slots=True)
class Kiro(FlatProvider):
    """The provider; see the module."""

    @property
    def types(self) -> frozenset[str]:
        """Plus' type and the older name of the service."""
        return frozenset({"kiro", "codewhisperer"})

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """Where a login belongs, and the profile the API wants to be told."""
        return ("region", "start_url", "auth_method", "provider", "profile_arn", "client_id_hash")

    @property
    def expiry_key(self) -> str:
        """Plus' word."""
        return "expires_at"

    @property
    def flows(self) -> tuple[LoginFlow, ...]:
        """By device code with AWS, by a pasted address with Google and GitHub; both where no method is chosen."""
        method = self._method
        device_too = (LoginFlow.DEVICE,) if method not in _PROVIDERS else ()
        return device_too + ((LoginFlow.CODE,) if method in {"", *_PROVIDERS} else ())

    @property
    def options(self) -> Mapping[str, str]:
        """The options of a login."""
        return {
            "method": "builder-id, idc (IAM Identity Center), google or github",
            "start-url": "the address where your organisation logs in (IAM Identity Center)",
            "region": "the AWS region of that IAM Identity Center, like eu-central-1",
        }

    @property
    def extra_params(self) -> Mapping[str, str]:
        """The query of the social login page, which knows neither client nor scope."""
        idp = _PROVIDERS.get(self._method, "Google")
        absent = {"response_type": "", "client_id": "", "scope": ""}
        return {**absent, "idp": idp, "prompt": "select_account", **self.setup.extra_params}

    def for_login(self, options: Mapping[str, str], seed: Secret) -> Self:
        """Return the provider as one login uses it; raises BrokerError for options that cannot be, or not together."""
        made = FlatProvider.for_login(self, options, seed)
        region, start, method = made._region.lower(), made._start_url, made._method  # noqa: SLF001 - our own kind
        if not _REGION.fullmatch(region):
            raise _wrong("region: give an AWS region, like eu-central-1")
        if not (acceptable_url(start) and start.isprintable() and " " not in start):
            raise _wrong("start-url: give an https address, like https://d-0123456789.awsapps.com/start")
        if method not in {"", _BUILDER, _CENTER, *_PROVIDERS}:
            raise _wrong(f"method: {method[:40]!r} is none; there are: {self.options['method']}")
        if method != "" and (method == _CENTER) is (start == START_URL):
            raise _wrong("start-url goes with method=idc, and method=idc with start-url")
        chosen = {**made.setup.options, "region": region, "start-url": start, **({"method": method} if method else {})}
        return replace(made, setup=replace(made.setup, options=chosen))

    # --- the device flow ---

    def request_code(self, client: Client, now: Now) -> Flow[DeviceCode]:
        """Register a client for this login, unless the config names one, and ask for a device code; raises FlowFailedError."""
        return in_camel_case(with_headers(self._request_code(client, now), self.headers))

    def poll(self, given: DeviceCode, client: Client, now: Callable[[], Now]) -> PacedFlow[Tokens]:
        """Ask for the tokens of a device code until the person has decided; raises FlowFailedError."""
        flow = device.poll(self._at(self._token_url()), replace(client, basic=False), given, now, self.reading)
        tokens = yield from in_camel_case(with_headers(flow, self.headers))
        start = self._start_url
        facts = {
            "region": self._region,
            "start_url": start,
            "auth_method": _BUILDER if start == START_URL else _CENTER,
            "provider": "AWS",
        }
        return replace(tokens, facts=facts)

    def _request_code(self, client: Client, now: Now) -> Flow[DeviceCode]:
        owner = (yield from self._register(client, now)) if self.setup.own_client else replace(client, basic=False)
        url = self._at(self.setup.endpoints.device_url or "")
        given = yield from device.request_code(url, owner, (), {"start_url": self._start_url}, now, self.reading)
        return replace(given, client=owner)

    def _register(self, client: Client, now: Now) -> Flow[Client]:
        url = self._at(self._token_url()).removesuffix("/token") + "/client/register"
        body = {"clientName": client.id, "clientType": "public", "scopes": self.scopes}
        answer = yield HttpRequest("POST", url, headers={"Accept": "application/json"}, json=body)
        found = answers.parsed(answer)
        identifier, secret = fields.hint(found, "client_id"), fields.hint(found, "client_secret")
        if answer.status != 200 or not identifier or not secret:
            failure = sort_failure(answer, now, self.reading.words)
            passing = answer.status == 200 and not isinstance(failure, Misconfigured)
            raise FlowFailedError(Transient("AWS answered without a client registration") if passing else failure)
        ends = timestamps.read(found.get(_EXPIRY))
        return Client(identifier, Secret(secret), expires_at=ends.seconds if ends else None)

    @property
    def _region(self) -> str:
        return self.setup.options.get("region", kiro_api.REGION).strip()

    @property
    def _start_url(self) -> str:
        return self.setup.options.get("start-url", START_URL).strip()

    @property
    def _method(self) -> str:
        """The way chosen by option; empty where none is, which leaves a Builder ID and the social logins."""
        return self.setup.options.get("method", "" if self._start_url == START_URL else _CENTER).strip().lower()

    def _at(self, url: str, region: str = "") -> str:
        return url.replace("{region}", region or self._region)

    # --- the social flow ---

    def exchange(self, authorization: Authorization, given: Secret, client: Client, now: Now) -> Flow[Tokens]:  # noqa: ARG002 - Kiro's own service knows no clients
        """Redeem the code of a social login; raises FlowFailedError."""
        body = {"code": given, "code_verifier": authorization.verifier, "redirect_uri": authorization.redirect_uri}
        request = HttpRequest("POST", self._social("/oauth/token"), headers={"Accept": "application/json"}, json=body)
        tokens = yield from in_camel_case(with_headers(_social_grant(request, self.reading, None, now), self.headers))
        return replace(tokens, facts={**tokens.facts, "auth_method": _SOCIAL, "provider": self.extra_params["idp"]})

    def _social(self, path: str) -> str:
        return (self.setup.endpoints.authorize_url or "").removesuffix("/login") + path

    # --- after a login ---

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - Kiro has none
        """Ask for the profile and who it is. What cannot be told is a note; raises FlowFailedError for an account that is barred."""
        return with_headers(kiro_api.identify(self.setup.endpoints.api_url or "", tokens), self.headers)

    def quota(self, record: Record, now: Now) -> Flow[Quota]:
        """Ask for the plan and what is left of it; raises FlowFailedError."""
        return with_headers(kiro_api.quota(self.setup.endpoints.api_url or "", record, now), self.headers)

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew at the service the login was made with; raises FlowFailedError."""
        if not record.tokens.refresh_token:
            raise FlowFailedError(
                Permanent("no_refresh_token", "the login has no refresh token, so it cannot be renewed")
            )
        if _is_social(record, client):
            body = {"refreshToken": record.tokens.refresh_token}
            request = HttpRequest(
                "POST", self._social("/refreshToken"), headers={"Accept": "application/json"}, json=body, spends=True
            )
            flow = _social_grant(request, self.reading, record.tokens, now)
            return (yield from in_camel_case(with_headers(flow, self.headers)))
        region = record.facts.get("region", kiro_api.REGION)
        if not _REGION.fullmatch(region):
            raise FlowFailedError(Misconfigured("bad_region", "the region in the auth file is no AWS region"))
        url = self._at(self._token_url(), region)
        flow = refresh.refresh(url, replace(client, basic=False), record.tokens, now, self.reading)
        try:
            return (yield from in_camel_case(with_headers(flow, self.headers)))
        except FlowFailedError as error:
            raise FlowFailedError(_explained(error.failure, client, region, now)) from None

    # --- the file ---

    def file_name(self, record: Record, now: Now) -> str:
        """Return `kiro-<aws, google or github>-<e-mail address, profile or time>.json`."""
        social = record.facts.get("auth_method", "").lower() == _SOCIAL
        kind = record.facts.get("provider", "").lower() if social else "aws"
        profile = record.facts.get("profile_arn", "").rpartition("/")[2]
        piece = file_piece(record.email or "") or file_piece(profile) or str(int(now.wall))
        return f"kiro-{kind if kind in {'aws', *_PROVIDERS} else _SOCIAL}-{piece}.json"

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:
        """Return a new file's document in Plus' order of keys, with the registration the login was made with."""
        facts, tokens = record.facts, record.tokens
        made: dict[str, object] = {"type": self.name, "access_token": "", "refresh_token": ""}
        made |= {"profile_arn": facts["profile_arn"]} if "profile_arn" in facts else {}
        made |= {"expires_at": timestamps.write(tokens.expires_at)} if tokens.expires_at is not None else {}
        made |= {name: facts[name] for name in ("auth_method", "provider") if name in facts}
        if client.secret and facts.get("auth_method") != _SOCIAL:
            made["client_id"] = client.id
            fields.put_secret(made, "client_secret", client.secret, add=True)
            made |= {_EXPIRY: int(client.expires_at)} if client.expires_at is not None else {}
        made |= {name: facts[name] for name in ("start_url", "region", "client_id_hash") if name in facts}
        made |= {"email": record.email} if record.email else {}
        made |= {"sub": record.subject} if record.subject else {}
        return {**made, "last_refresh": timestamps.write(now.wall), "disabled": record.disabled}

    def client_of(self, document: Document) -> Client | None:
        """Return the registration the login was made with, and when it ends; None where the file has none."""
        identifier, ends = fields.text(document, "client_id"), timestamps.read(fields.get(document, _EXPIRY))
        if not identifier:
            return None
        return Client(identifier, fields.secret(document, "client_secret"), expires_at=ends.seconds if ends else None)


def _wrong(detail: str) -> BrokerError:
    return BrokerError(ErrorCode.BAD_REQUEST, detail)


def _is_social(record: Record, client: Client) -> bool:
    """Tell which service renews a login.

    Raises:
        FlowFailedError: `Misconfigured` where the file does not tell, or lacks the registration: a guess would send the token to the wrong service.
    """
    method = record.facts.get("auth_method", "").lower()
    if method == _SOCIAL or (not method and record.facts.get("provider", "").lower() in _PROVIDERS):
        return True
    if client.secret:
        return False
    detail = "the auth file has no client registration (client_id, client_secret)"
    raise FlowFailedError(Misconfigured("no_registration", f"{detail}: run ccs-broker login kiro"))


def _social_grant(request: HttpRequest, reading: Reading, old: Tokens | None, now: Now) -> Flow[Tokens]:
    answer = yield request
    try:
        tokens = read_tokens(answer, now, reading, old)
    except FlowFailedError as error:
        raise FlowFailedError(_social_refusal(answer, error.failure)) from None
    profile = fields.hint(answers.parsed(answer), "profile_arn")
    return replace(tokens, facts={"profile_arn": profile} if profile else {})


def _social_refusal(answer: HttpResponse, failure: Failure) -> Failure:
    # A web page is what stands before the service, not the service.
    final = answer.status in {401, 403} and answers.parsed(answer) and not isinstance(failure, RateLimited)
    return Permanent("refused", failure.reason) if final else failure


def _explained(failure: Failure, client: Client, region: str, now: Now) -> Failure:
    """Say what AWS means by its words for a wrong region and for a registration that is no more."""
    if not isinstance(failure, Misconfigured):
        return failure
    if "invalid token provided" in failure.reason.lower():
        elsewhere = f"this login was not made in the region {region}"
        meant = f"{elsewhere}: set `region` in its file, or log in again with --option region=REGION"
        return Misconfigured("wrong_region", f"{failure.reason}; {meant}")
    if failure.code not in _REFUSED_CLIENT:
        return failure
    ends = client.expires_at
    when = (
        f" ended on {str(timestamps.write(ends))[:10]}"
        if ends is not None and ends <= now.wall
        else " is not accepted any more"
    )
    return Misconfigured(
        "registration_ended",
        f"{failure.reason}; the client registration of this login{when}: run ccs-broker login kiro",
    )
