"""A provider that does what the standards say.

Owns: the half of the `Provider` protocol that RFC 6749, 7009, 8414 and 8628 settle; vendor files inherit it and replace what their vendor does
otherwise. It must never name a vendor or know a file format.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth import code, device, refresh, revoke
from broker.oauth.client import Client
from broker.oauth.device import DeviceCode
from broker.oauth.discovery import discover
from broker.oauth.failures import FlowFailedError, Misconfigured
from broker.oauth.grant import PLAIN, Reading
from broker.oauth.messages import Flow, HttpRequest, PacedFlow, with_headers
from broker.providers.base import (
    Authorization,
    Endpoints,
    Identity,
    LoginFlow,
    Quota,
    Redirect,
    RefreshPolicy,
    SecretSource,
)
from broker.providers.setup import Setup, filled


@dataclass(frozen=True, slots=True)
class StandardProvider:
    """Settings, and the OAuth requests made with them."""

    setup: Setup
    reading: Reading = PLAIN
    seed: Secret | None = None
    """Randomness of the login this value is for; None where it is for none."""

    @property
    def name(self) -> str:
        """The name in account ids."""
        return self.setup.name

    @property
    def title(self) -> str:
        """The name people know."""
        return self.setup.title

    @property
    def endpoints(self) -> Endpoints:
        """Where it is reached."""
        return self.setup.endpoints

    @property
    def client_id(self) -> str:
        """The OAuth client id."""
        return self.setup.client_id

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes asked for at login."""
        return self.setup.scopes

    @property
    def redirect(self) -> Redirect:
        """The callback of the code flow."""
        return self.setup.redirect

    @property
    def policy(self) -> RefreshPolicy:
        """When and how to refresh."""
        return self.setup.policy

    @property
    def flows(self) -> tuple[LoginFlow, ...]:
        """The ways to log in, best first: by code unless only a device endpoint is known, by device where one is."""
        return flows_of_people(self.setup)

    @property
    def needs_secret(self) -> bool:
        """Whether the token endpoint requires a client secret."""
        return False

    @property
    def revokes_alone(self) -> bool:
        """Whether a revocation is asked for with the token alone."""
        return False

    @property
    def secret_sources(self) -> tuple[SecretSource, ...]:
        """Where to look for the client secret."""
        return ()

    @property
    def google(self) -> bool:
        """Whether google-auth-oauthlib builds the authorization URL."""
        return False

    @property
    def extra_params(self) -> Mapping[str, str]:
        """Extra parameters of the authorization request."""
        return self.setup.extra_params

    @property
    def notice(self) -> str:
        """What a person should know before a login is tried."""
        return self.setup.notice

    def authorization_url(self, client: Client, redirect_uri: str, state: Secret, verifier: Secret) -> str:
        """Return the URL a person opens to log in by code."""
        endpoint = self.setup.endpoints.authorize_url or ""
        return code.authorization_url(
            endpoint, client.id, redirect_uri, self.scopes, state, verifier, self.extra_params
        )

    @property
    def options(self) -> Mapping[str, str]:
        """The options of a login."""
        return {}

    def for_login(self, options: Mapping[str, str], seed: Secret) -> Self:
        """Return the provider as one login uses it; raises BrokerError."""
        if unknown := sorted(options.keys() - self.options.keys()):
            there = ", ".join(sorted(self.options)) or "none"
            raise BrokerError(
                ErrorCode.BAD_REQUEST, f"{self.name} has no login option {unknown[0][:60]!r}; its options: {there}"
            )
        return replace(self, setup=replace(self.setup, options={**self.setup.options, **options}), seed=seed)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of every request to the provider."""
        return {"User-Agent": self.setup.user_agent} if self.setup.user_agent else {}

    def find_secret(self, source: SecretSource, text: str) -> Secret | None:  # noqa: ARG002 - the protocol's
        """Find the client secret in the text of a source; a provider with no sources finds none."""
        return None

    def endpoints_needed(self) -> Flow[Endpoints] | None:
        """Return the discovery flow where an issuer is given and an endpoint that a login or a refresh needs is not known."""
        issuer, known = self.setup.issuer, self.setup.endpoints
        if issuer is None or (known.authorize_url and known.token_url):
            return None
        return _discovered(issuer, known)

    def with_endpoints(self, endpoints: Endpoints) -> Self:
        """Return the same provider with these endpoints."""
        return replace(self, setup=replace(self.setup, endpoints=endpoints, issuer=None))

    def with_known(self, endpoints: Endpoints) -> Self:
        """Return the same provider with these endpoints, which may still leave some to discovery."""
        return replace(self, setup=replace(self.setup, endpoints=endpoints))

    def with_client(self, client_id: str, *, secret: bool) -> Self:  # noqa: ARG002 - the protocol's
        """Return the same provider with this client id."""
        own = self.setup.own_client and client_id == self.client_id
        return replace(self, setup=replace(self.setup, client_id=client_id, own_client=own))

    def exchange(self, authorization: Authorization, given: Secret, client: Client, now: Now) -> Flow[Tokens]:
        """Exchange an authorization code; raises FlowFailedError."""
        url, client = self._token_url(), self.setup.client(client)
        flow = code.exchange(url, authorization, given, client, now, self.reading)
        return (yield from with_headers(flow, self.headers))

    def request_code(self, client: Client, now: Now) -> Flow[DeviceCode]:
        """Ask for a device code; raises FlowFailedError."""
        url, setup = self.setup.endpoints.device_url, self.setup
        if not url:
            raise FlowFailedError(Misconfigured("no_device_url", f"no device_url is known for {setup.name}"))
        flow = device.request_code(url, setup.client(client), setup.scopes, setup.extra_params, now, self.reading)
        return (yield from with_headers(flow, self.headers))

    def poll(self, given: DeviceCode, client: Client, now: Callable[[], Now]) -> PacedFlow[Tokens]:
        """Ask for the tokens of a device code until the person has decided; raises FlowFailedError."""
        url, client = self._token_url(), self.setup.client(client)
        return (yield from with_headers(device.poll(url, client, given, now, self.reading), self.headers))

    def grant_to_client(self, client: Client, now: Now) -> Flow[tuple[Tokens, Identity]]:  # noqa: ARG002 - the protocol's
        """Raise FlowFailedError: logins are people's unless a provider says otherwise."""
        yield from ()
        raise FlowFailedError(Misconfigured("no_client_credentials", f"{self.name} gives no grants to programs"))

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew; raises FlowFailedError."""
        url, client = self._token_url(), self.setup.client(client)
        return (yield from with_headers(refresh.refresh(url, client, record.tokens, now, self.reading), self.headers))

    def revoke(self, record: Record, client: Client) -> HttpRequest | None:
        """Return the revocation request; None where there is no endpoint or nothing to revoke."""
        url = self.setup.endpoints.revoke_url
        proven = None if self.revokes_alone else self.setup.client(client)
        request = revoke.revoke(url, proven, record.tokens) if url else None
        return replace(request, headers={**self.headers, **request.headers}) if request else None

    def quota(self, record: Record, now: Now) -> Flow[Quota] | None:  # noqa: ARG002 - the protocol's
        """Return None: the standards know no quota."""
        return None

    def _token_url(self) -> str:
        url = self.setup.endpoints.token_url
        if not url:
            raise FlowFailedError(Misconfigured("no_token_url", f"no token_url is known for {self.setup.name}"))
        return url


def flows_of_people(setup: Setup) -> tuple[LoginFlow, ...]:
    """Return the ways for a person to log in that follow from the endpoints; see `StandardProvider.flows`."""
    known = setup.endpoints
    only_device = known.device_url and not known.authorize_url and setup.issuer is None
    return (*(() if only_device else (LoginFlow.CODE,)), *((LoginFlow.DEVICE,) if known.device_url else ()))


def _discovered(issuer: str, known: Endpoints) -> Flow[Endpoints]:
    found = yield from discover(issuer)
    endpoints = filled(
        known,
        Endpoints(
            authorize_url=found.authorize_url,
            token_url=found.token_url,
            revoke_url=found.revoke_url,
            userinfo_url=found.userinfo_url,
            device_url=found.device_url,
        ),
    )
    if not endpoints.token_url:
        host = urlsplit(issuer).netloc
        raise FlowFailedError(Misconfigured("discovery_failed", f"the metadata of {host} names no token endpoint"))
    return endpoints
