"""The config file: its shape and its defaults.

Owns: every setting there is; what their values must be is in `broker.settings.checks`, how the file is read in `broker.settings.reading`. It must never
import a vendor: a `[providers.NAME]` table says what it says, and `broker.providers.registry` applies it.

A setting that is here changes behaviour in tests/system/test_settings.py, which fails for one that has no test.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from broker.model.naming import Combo, Strategy
from broker.model.policy import Payload, Policy
from broker.model.secret import Secret
from broker.model.told import ToldModel
from broker.paths import default_auth_dir, expand

INTERNAL_KEY = "ccs-internal-managed"
"""The key CCS writes into every client it configures. A public constant, so it opens the proxy on loopback only."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: unknown keys are errors, so that a misspelt setting is never silently without effect."""


class StoreConfig(_Table, frozen=True):
    """[store]: the auth directories. An empty list means the one CCS and CLIProxyAPI share."""

    directories: tuple[str, ...] = ()
    mode: Literal["plain", "sealed"] = "plain"
    key_source: Literal["auto", "credential", "keyring", "passphrase", "file"] = "auto"
    rescan_seconds: float = 60.0
    provider_credentials: str | None = None


class RefreshConfig(_Table, frozen=True):
    """[refresh]: `ahead` renews before expiry in the background; without it, only when a lease asks."""

    ahead: bool = True
    request_timeout_seconds: float = 30.0
    stop_timeout_seconds: float = 20.0


class SocketConfig(_Table, frozen=True):
    """[socket]: limits on what a client of the Unix sockets may do."""

    max_connections: int = 512
    max_body_bytes: int = 262_144
    request_timeout_seconds: float = 10.0
    max_wait_seconds: float = 120.0


class NotifyConfig(_Table, frozen=True):
    """[notify]: who is told, once, that an account needs a person. `command` is an argument list, run without a shell."""

    command: tuple[str, ...] = ()
    desktop: bool = True


class ProxyConfig(_Table, frozen=True):
    """[proxy]: where it listens, who gets in, how long it waits. Timeouts are seconds."""

    host: str = "127.0.0.1"
    port: int = 8317
    api_keys: tuple[Secret, ...] = ()
    internal_key: bool = True
    allowed_hosts: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    workers: int = 1
    max_body_bytes: int = 64 << 20
    max_connections: int = 1024
    connect_timeout: float = 10.0
    headers_timeout: float = 300.0
    first_byte_timeout: float = 300.0
    idle_timeout: float = 120.0
    total_timeout: float = 3600.0
    keepalive_seconds: float = 15.0
    safety_off: bool = False


class NetworkConfig(_Table, frozen=True):
    """[network]: how both programs reach the internet. `broker.network.settings` makes a value of it."""

    proxy_url: Secret | None = None
    no_proxy: tuple[str, ...] = ()


class ProviderConfig(_Table, frozen=True):
    """[providers.NAME]: overrides of a built-in provider, or with `kind = "oauth2"` a provider of the user's own."""

    kind: Literal["oauth2"] | None = None
    title: str | None = None
    issuer: str | None = None
    authorize_url: str | None = None
    token_url: str | None = None
    revoke_url: str | None = None
    userinfo_url: str | None = None
    device_url: str | None = None
    api_url: str | None = None
    client_id: str | None = None
    client_secret_file: str | None = None
    client_secret_env: str | None = None
    client_auth: Literal["post", "basic"] | None = None
    scopes: tuple[str, ...] | None = None
    redirect_port: int | None = None
    extra_params: dict[str, str] = {}
    lead_seconds: float | None = None
    user_agent: str | None = None
    proxy_url: Secret | None = None
    options: dict[str, str] = {}


class UpstreamConfig(_Table, frozen=True):
    """[upstreams.NAME]: where the proxy reaches an API: one base URL, or several in the order to try them; none means the vendor's own.

    `headers` stand in the place of those of the same name.
    """

    base_url: str | tuple[str, ...] = ()
    headers: dict[str, str] = {}

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URLs."""
        return (self.base_url,) if isinstance(self.base_url, str) else self.base_url


class RoutingConfig(_Table, frozen=True):
    """[routing]: what a model's name means, and which of several accounts serves a request.

    `sticky` keeps a conversation with its account while that can serve. Accounts are gone through in `rounds`, and one that is limited for
    `max_wait_seconds` at most is waited for.
    """

    strategy: Strategy = Strategy.ROUND_ROBIN
    sticky: bool = True
    discover_models: bool = True
    rounds: int = 3
    max_wait_seconds: float = 5.0
    aliases: dict[str, str] = {}


class UsageConfig(_Table, frozen=True):
    """[usage]: whether the proxy counts requests and tokens."""

    enabled: bool = True


class RequestLogConfig(_Table, frozen=True):
    """[request_log]: whether the proxy writes down what passes, and where; how much is kept, of each request and of all."""

    enabled: bool = False
    only: Literal["all", "errors"] = "all"
    directory: str | None = None
    max_megabytes: int = 256
    max_age_days: float = 7.0
    max_body_bytes: int = 262_144
    max_string_bytes: int = 4096


class LoggingConfig(_Table, frozen=True):
    """[logging]: to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(_Table, frozen=True):
    """The whole file. Every table is optional."""

    store: StoreConfig = StoreConfig()
    refresh: RefreshConfig = RefreshConfig()
    socket: SocketConfig = SocketConfig()
    notify: NotifyConfig = NotifyConfig()
    proxy: ProxyConfig = ProxyConfig()
    network: NetworkConfig = NetworkConfig()
    providers: dict[str, ProviderConfig] = {}
    upstreams: dict[str, UpstreamConfig] = {}
    routing: RoutingConfig = RoutingConfig()
    combos: dict[str, Combo] = {}
    models: dict[str, ToldModel] = {}
    policies: dict[str, Policy] = {}
    payload: Payload = Payload()
    usage: UsageConfig = UsageConfig()
    request_log: RequestLogConfig = RequestLogConfig()
    logging: LoggingConfig = LoggingConfig()

    def auth_directories(self) -> tuple[Path, ...]:
        """Return the auth directories, absolute."""
        return tuple(expand(text) for text in self.store.directories) or (default_auth_dir(),)


class Loaded(msgspec.Struct, frozen=True):
    """A config as read: where from (`exists` says whether the file was there), and the line of each key that stands in it."""

    config: Config
    file: Path
    exists: bool = True
    lines: Mapping[tuple[str, ...], int] = msgspec.field(default_factory=dict)
