"""What every vendor file provides.

Owns: the `Provider` protocol and the values it speaks in. It must never name a vendor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import msgspec

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.client import Client as Client  # noqa: PLC0414 - part of this vocabulary
from broker.oauth.code import Authorization as Authorization  # noqa: PLC0414 - part of this vocabulary
from broker.oauth.device import DeviceCode as DeviceCode  # noqa: PLC0414 - part of this vocabulary
from broker.oauth.messages import Flow, HttpRequest, PacedFlow

Document = Mapping[str, object]
"""An auth file as parsed JSON: an object whose fields we know in part."""


class FormatError(ValueError):
    """An auth file is not what its type promises; the message names the field and holds no value of it."""


class LoginFlow(StrEnum):
    """How a person can log in."""

    CODE = "code"
    DEVICE = "device"
    CLIENT_CREDENTIALS = "client-credentials"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a provider is reached; None where it has no such endpoint. `api_url` is the base of the calls made after a login."""

    authorize_url: str | None = None
    token_url: str | None = None
    revoke_url: str | None = None
    userinfo_url: str | None = None
    device_url: str | None = None
    api_url: str | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """The loopback callback (RFC 8252 section 7.3). `port` 0 means any free one; `host` is what stands in the redirect URI.

    `fallback_ports` are tried in order where `port` is taken: others the vendor has registered. `loopback` is false where the vendor sends the browser to an
    address of its own only, `manual_uri`, which the person then pastes.
    """

    host: str = "localhost"
    port: int = 0
    path: str = "/callback"
    fallback_ports: tuple[int, ...] = ()
    manual_uri: str | None = None  # a page of the vendor's that shows the code, where it has one
    loopback: bool = True

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports to try, in order."""
        return (self.port, *self.fallback_ports)


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """When and how a provider's tokens are renewed.

    `lead_seconds` before expiry; for short tokens at most `lead_share` of the lifetime. `rotates`: each refresh token is good
    once. `forgives_repeat`: a refresh whose answer was lost may be repeated at once without harm. `serial_group`: accounts that share it are
    refreshed one after another.
    """

    lead_seconds: float = 300.0
    lead_share: float = 0.5
    rotates: bool = True
    forgives_repeat: bool = False
    serial_group: str | None = None


class SourceKind(StrEnum):
    """Where an installed app's client secret may be found on the user's own machine."""

    AUTH_FILES = "auth-files"  # other auth files in the auth directories
    GLOB = "glob"  # files of an installed program; `~` and `{npm-root}` are expanded
    ENV = "env"
    BINARY = "binary"  # a compiled program: only what stands around the source's anchors is looked at


class SecretSource(msgspec.Struct, frozen=True):
    """One place to look. `pattern` is a glob relative to the kind, or the name of an environment variable.

    Globs may begin with `~`, `{npm-root}` or `{path}` (the folders of `PATH`). `anchors` are what is searched for in a binary.
    """

    kind: SourceKind
    pattern: str
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logged in, found after the exchange. `facts` as in `broker.model.account.Record`; `notes` are sentences for the user."""

    email: str | None = None
    subject: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class QuotaWindow(msgspec.Struct, frozen=True):
    """One limit of an account: `name` as people call it (`5 hours`, a model), `used` a share from 0 to 1, `resets_at` wall-clock seconds.

    None where the provider does not say. `note` is what it says beside, in a few words (`12 of 50 requests`).
    """

    name: str
    used: float | None = None
    resets_at: float | None = None
    note: str | None = None


class Quota(msgspec.Struct, frozen=True):
    """What a provider tells of an account's plan and limits. `notes` are sentences for the user: what could not be read, and why."""

    plan: str | None = None
    windows: tuple[QuotaWindow, ...] = ()
    notes: tuple[str, ...] = ()


class Provider(Protocol):
    """One vendor, its settings from the config already applied. All methods are pure."""

    @property
    def name(self) -> str:
        """The name in account ids: `gemini`."""
        ...

    @property
    def title(self) -> str:
        """The name people know: `Gemini CLI`."""
        ...

    @property
    def endpoints(self) -> Endpoints:
        """Where it is reached."""
        ...

    @property
    def client_id(self) -> str:
        """The OAuth client id; empty where the config must name one and does not."""
        ...

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes asked for at login."""
        ...

    @property
    def redirect(self) -> Redirect:
        """The callback of the code flow."""
        ...

    @property
    def policy(self) -> RefreshPolicy:
        """When and how to refresh."""
        ...

    @property
    def flows(self) -> tuple[LoginFlow, ...]:
        """The ways to log in, best first."""
        ...

    @property
    def needs_secret(self) -> bool:
        """Whether the token endpoint requires a client secret."""
        ...

    @property
    def revokes_alone(self) -> bool:
        """Whether a revocation is asked for with the token alone, so that no registration need be known."""
        ...

    @property
    def secret_sources(self) -> tuple[SecretSource, ...]:
        """Where to look for the client secret, best first."""
        ...

    def endpoints_needed(self) -> Flow[Endpoints] | None:
        """Return the flow that finds the endpoints (RFC 8414), to be run once before first use; None where all are known.

        Raises:
            FlowFailedError: from the flow: there is no metadata, or it cannot be trusted.
        """
        ...

    def with_endpoints(self, endpoints: Endpoints) -> "Provider":
        """Return the same provider with these endpoints: one that needs no discovery."""
        ...

    def with_known(self, endpoints: Endpoints) -> "Provider":
        """Return the same provider with these endpoints, which may still leave some to discovery."""
        ...

    def with_client(self, client_id: str, *, secret: bool) -> "Provider":
        """Return the same provider with this client id; `secret` tells whether a client secret of it is known from outside the config."""
        ...

    @property
    def google(self) -> bool:
        """Whether google-auth-oauthlib builds the authorization URL."""
        ...

    @property
    def extra_params(self) -> Mapping[str, str]:
        """Extra parameters of the authorization request."""
        ...

    @property
    def options(self) -> Mapping[str, str]:
        """What a login can be told beside who it is for: names (`region`) and their meaning in a sentence."""
        ...

    def for_login(self, options: Mapping[str, str], seed: Secret) -> "Provider":
        """Return the provider as one login uses it.

        `options` are by the names of `options`, over those of the config. `seed` is 43 random characters of this login alone: a PKCE verifier
        (RFC 7636 section 4.1) for a device flow that wants one, or what a device id is made from.

        Raises:
            BrokerError: `bad_request` for an option that does not exist or a value that cannot be.
        """
        ...

    @property
    def notice(self) -> str:
        """What a person should know before a login is tried, in a sentence; empty where there is nothing."""
        ...

    def authorization_url(self, client: Client, redirect_uri: str, state: Secret, verifier: Secret) -> str:
        """Return the URL a person opens to log in by code, where `google` does not say otherwise (RFC 6749 section 4.1.1)."""
        ...

    def find_secret(self, source: SecretSource, text: str) -> Secret | None:
        """Find the client secret in the text of a source; None unless it stands beside our client id where both are expected."""
        ...

    def claims(self, document: Document) -> bool:
        """Tell whether an auth file is this provider's, by its `type`."""
        ...

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file. Unknown fields are ignored here and kept by `write`.

        Raises:
            FormatError: a field that matters has the wrong type, or there is no token at all.
        """
        ...

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Return `document` with the grant replaced, in the shape, keys and timestamp format the file already uses.

        Every other field is kept. `now` becomes the last-refresh time where the format has one.
        """
        ...

    def create(self, record: Record, client: Client, now: Now) -> tuple[str, dict[str, object]]:
        """Return the file name and document of a new login, named as CLIProxyAPI names it."""
        ...

    def client_of(self, document: Document) -> Client | None:
        """Return the client registration an auth file carries; None where it carries none."""
        ...

    def exchange(self, authorization: Authorization, code: Secret, client: Client, now: Now) -> Flow[Tokens]:
        """Exchange an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

        Raises:
            FlowFailedError: the provider refused.
        """
        ...

    def request_code(self, client: Client, now: Now) -> Flow[DeviceCode]:
        """Ask for a device code (RFC 8628 section 3.1).

        Raises:
            FlowFailedError: the provider refused, or has no device endpoint.
        """
        ...

    def poll(self, given: DeviceCode, client: Client, now: Callable[[], Now]) -> PacedFlow[Tokens]:
        """Ask for the tokens of a device code until the person has decided (RFC 8628 section 3.4). `now` reads the clock.

        Raises:
            FlowFailedError: `Permanent` with the codes of `broker.oauth.device` for the person's decision; else the provider refused.
        """
        ...

    def grant_to_client(self, client: Client, now: Now) -> Flow[tuple[Tokens, Identity]]:
        """Ask for a grant of the program's own, with no person involved (RFC 6749 section 4.4).

        Raises:
            FlowFailedError: the provider refused, or does not do this.
        """
        ...

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:
        """Find out who logged in and what the API side needs to know (project, plan). `project` is the one the user named.

        Raises:
            FlowFailedError: the provider refused, with the reason for the user.
        """
        ...

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew (RFC 6749 section 6). Exactly one request of the flow has `spends` set.

        An answer without a new refresh token keeps the old. Once that request has brought a grant, the flow returns it whatever happens to
        later ones: raising would lose it. Raises:
            FlowFailedError: sorted by what to do next.
        """
        ...

    def quota(self, record: Record, now: Now) -> Flow[Quota] | None:
        """Return the flow that asks for plan and limits with the record's access token; None where the provider cannot be asked.

        An answer that cannot be read becomes a note. Raises:
            FlowFailedError: the provider refused.
        """
        ...

    def revoke(self, record: Record, client: Client) -> HttpRequest | None:
        """Return the revocation request (RFC 7009); None where the provider has no such endpoint. With `revokes_alone`, `client` may be without its secret."""
        ...
