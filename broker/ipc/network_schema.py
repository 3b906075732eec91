"""The messages of the socket contract about outbound proxies.

Owns: their JSON shapes; the rules are those of `broker.ipc.schema`. Pure. A proxy is shown as scheme, host and port: never with a user name or password.
"""

import msgspec

from broker.model.secret import Secret

__all__ = ["NetworkRoute", "NetworkTest", "NetworkTestAnswer", "NetworkView"]


class NetworkRoute(msgspec.Struct, frozen=True, kw_only=True):
    """By which way an account, a provider, or with neither whatever nothing is said of, is reached.

    `proxy` is null for a direct connection. `level` is one of `account`, `provider`, `global`, `environment`, `none`; `source` the setting or variable,
    or why there is none. `fault` says why the setting cannot be used: nothing is sent then.
    """

    level: str
    source: str
    provider: str | None = None
    account: str | None = None
    proxy: str | None = None
    fault: str | None = None


class NetworkView(msgspec.Struct, frozen=True):
    """GET /v1/network: one route for whatever nothing is said of, then each provider in use or with a setting, then each account."""

    routes: tuple[NetworkRoute, ...]


class NetworkTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/network/test: connect by the way of an account, or of a provider, or through the proxy of a URL; with none of them, by the way for all.

    `target` is the https URL to reach, of which only the host and port matter; left out, it is the provider's token endpoint or the API its file names.
    """

    account: str | None = None
    provider: str | None = None
    proxy_url: Secret | None = None
    target: str | None = None


class NetworkTestAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How it went. `ok`: connected, with the TLS handshake; nothing was sent. `error` says why not; `seconds` is how long either took.

    The rest is as in NetworkRoute; `level` is `given` for the proxy of a URL.
    """

    target: str
    level: str
    source: str
    ok: bool
    seconds: float
    proxy: str | None = None
    error: str | None = None
