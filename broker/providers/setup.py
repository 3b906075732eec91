"""What can be set about a provider, and how the config's `[providers.NAME]` table changes it.

Owns: `Setup`, the settings of one provider, and `Settings`, the table as this room sees it (`broker.config.ProviderConfig` has its shape).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from broker.model.errors import BrokerError, ErrorCode
from broker.oauth.client import Client
from broker.providers.base import Endpoints, Redirect, RefreshPolicy

PASTE = "paste"
"""The option of a login whose last page shows the code, to be pasted, instead of calling back."""

_YES, _NO = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})

ClientAuth = Literal["post", "basic"]


class Settings(Protocol):
    """A `[providers.NAME]` table; None where it says nothing."""

    @property
    def kind(self) -> Literal["oauth2"] | None:
        """`oauth2` for a provider of the user's own."""
        ...

    @property
    def title(self) -> str | None:
        """The name people know."""
        ...

    @property
    def issuer(self) -> str | None:
        """Where discovery starts."""
        ...

    @property
    def authorize_url(self) -> str | None:
        """Override of the endpoint; the same for the next five."""
        ...

    @property
    def token_url(self) -> str | None: ...  # noqa: D102

    @property
    def revoke_url(self) -> str | None: ...  # noqa: D102

    @property
    def userinfo_url(self) -> str | None: ...  # noqa: D102

    @property
    def device_url(self) -> str | None: ...  # noqa: D102

    @property
    def api_url(self) -> str | None: ...  # noqa: D102

    @property
    def client_id(self) -> str | None:
        """The registration's id."""
        ...

    @property
    def client_secret_file(self) -> str | None:
        """Where its secret is; the same for the next."""
        ...

    @property
    def client_secret_env(self) -> str | None: ...  # noqa: D102

    @property
    def client_auth(self) -> ClientAuth | None:
        """How it proves itself."""
        ...

    @property
    def scopes(self) -> tuple[str, ...] | None:
        """The scopes asked for at login."""
        ...

    @property
    def redirect_port(self) -> int | None:
        """The port of the callback, 0 for any."""
        ...

    @property
    def extra_params(self) -> Mapping[str, str]:
        """Added to the authorization request."""
        ...

    @property
    def lead_seconds(self) -> float | None:
        """How long before its end a token is renewed."""
        ...

    @property
    def user_agent(self) -> str | None:
        """What requests to the provider call themselves."""
        ...

    @property
    def options(self) -> Mapping[str, str]:
        """The options of a login that are not given with it."""
        ...


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings of one provider, the config's already applied."""

    name: str
    title: str
    client_id: str = ""
    endpoints: Endpoints = field(default_factory=Endpoints)
    issuer: str | None = None
    scopes: tuple[str, ...] = ()
    redirect: Redirect = field(default_factory=Redirect)
    policy: RefreshPolicy = field(default_factory=RefreshPolicy)
    extra_params: Mapping[str, str] = field(default_factory=dict)
    basic: bool = False
    user_agent: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    notice: str = ""
    own_client: bool = True
    """Whether `client_id` is the vendor's own, not one the config put in its place."""

    def overridden(self, table: Settings) -> "Setup":
        """Return these settings with what the config says in their place."""
        return replace(
            self,
            title=table.title or self.title,
            client_id=table.client_id or self.client_id,
            own_client=table.client_id in (None, self.client_id),
            endpoints=_endpoints(self.endpoints, table),
            issuer=table.issuer or self.issuer,
            scopes=self.scopes if table.scopes is None else table.scopes,
            redirect=self.redirect
            if table.redirect_port is None
            else replace(self.redirect, port=table.redirect_port, fallback_ports=()),
            policy=self.policy if table.lead_seconds is None else replace(self.policy, lead_seconds=table.lead_seconds),
            extra_params={**self.extra_params, **table.extra_params},
            basic=self.basic if table.client_auth is None else table.client_auth == "basic",
            user_agent=table.user_agent or self.user_agent,
            options={**self.options, **table.options},
        )

    def client(self, client: Client) -> Client:
        """Return a registration that proves itself as these settings say."""
        return client if client.basic == self.basic else replace(client, basic=self.basic)

    def wants(self, option: str) -> bool:
        """Tell whether an option that is true or false is set.

        Raises:
            BrokerError: `bad_request` where it is neither.
        """
        wish = self.options.get(option, "false").strip().lower()
        if wish not in _YES | _NO:
            raise BrokerError(ErrorCode.BAD_REQUEST, f"{option} is true or false")
        return wish in _YES

    def pasting(self, page: str) -> "Setup":
        """Return these settings with `page`, which shows the code, in the place of the callback where the option `PASTE` is set; raises BrokerError."""
        if not self.wants(PASTE):
            return self
        return replace(self, redirect=replace(self.redirect, manual_uri=page, loopback=False))


def filled(known: Endpoints, found: Endpoints) -> Endpoints:
    """Return `known` with its gaps filled from `found`."""
    return Endpoints(
        authorize_url=known.authorize_url or found.authorize_url,
        token_url=known.token_url or found.token_url,
        revoke_url=known.revoke_url or found.revoke_url,
        userinfo_url=known.userinfo_url or found.userinfo_url,
        device_url=known.device_url or found.device_url,
        api_url=known.api_url or found.api_url,
    )


def _endpoints(known: Endpoints, table: Settings) -> Endpoints:
    given = Endpoints(
        authorize_url=table.authorize_url,
        token_url=table.token_url,
        revoke_url=table.revoke_url,
        userinfo_url=table.userinfo_url,
        device_url=table.device_url,
        api_url=table.api_url,
    )
    return filled(given, known)
