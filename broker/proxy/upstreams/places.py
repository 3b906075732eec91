"""Where the tokens of an account may go.

Owns: the one check every address passes before a token is sent to it, and which addresses an auth file may name by itself. Pure. It must never return an
address that is neither the vendor's, nor the config's, nor of the kind whose address only its file can know.

An auth file is less trusted than the config: it is copied between machines, written by other programs, and whoever can change one word in it must not learn
the token beside it. So a file's own address counts for keys of an API of one's own, which are useless without; for logins and keys of a vendor it must lie
within that vendor's domains, and else the account does not serve, with a reason.
"""

import re
from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

import msgspec

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.upstreams.base import Upstream


class Told(msgspec.Struct, frozen=True):
    """What the file of an account may say: in which fact, and within which domains. `anywhere` is for keys of an API of one's own."""

    fact: str = "base_url"
    domains: tuple[str, ...] = ()
    anywhere: bool = False


@runtime_checkable
class Homes(Protocol):
    """An upstream that lies at several addresses, or at one that depends on the account."""

    def homes(self, lease: Lease) -> tuple[str, ...]:
        """Return the vendor's base URLs for an account, in the order to try them.

        Raises:
            BrokerError: `misconfigured` where the lease lacks a fact the address is made of.
        """
        ...


_GOOGLE: Final = Told(domains=("googleapis.com",))
_ANTHROPIC: Final = Told(domains=("anthropic.com",))
_OWN: Final = Told(anywhere=True)
_NOTHING: Final = Told()

TOLD: Final[dict[str, Told]] = {
    "gemini": _GOOGLE,
    "gemini-api": _GOOGLE,
    "antigravity": _GOOGLE,
    "claude": _ANTHROPIC,
    "anthropic-api": _ANTHROPIC,
    "openai-api": Told(domains=("openai.com",)),
    "codex": Told(domains=("chatgpt.com", "openai.com")),
    "xai": Told(domains=("x.ai", "grok.com")),
    "qwen": Told(domains=("qwen.ai",)),
    # GitHub names the address with each Copilot token; a tenant of GitHub Enterprise Cloud lies under ghe.com.
    "github-copilot": Told("api_url", ("githubcopilot.com", "ghe.com")),
    "openai-compatible": _OWN,
    "anthropic-compatible": _OWN,
}
"""By provider; one that is not named here is reached at the vendor's or the configured address only."""

# Strict, since two readers of one odd address may find two hosts in it: no user name, escape in the host, query or fragment.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?P<port>(?::\d{1,5})?)"
    r"(?P<path>(?:/[\w.~%:@!$&'()*+,;=/-]*)?)",
    re.ASCII | re.IGNORECASE,
)
_LOOPBACK: Final = re.compile(r"localhost|127(?:\.\d{1,3}){3}|\[::1\]", re.ASCII)


class Places:
    """The addresses of every account. `configured` are the base URLs of `[upstreams.NAME]` by kind, `apis` each provider's `api_url` of the config."""

    __slots__ = ("_apis", "_configured")

    def __init__(self, configured: Mapping[str, tuple[str, ...]], apis: Mapping[str, str]) -> None:
        """Hold what the config says."""
        self._configured = configured
        self._apis = apis

    def of(self, upstream: Upstream, lease: Lease) -> tuple[str, ...]:
        """Return the base URLs an account's requests go to, the first to be tried first; no slash at their ends.

        The configured ones count before all others, but for keys of an API of one's own; then comes what the account's file says, then the vendor's own.

        Raises:
            BrokerError: `misconfigured` for an address no token may go to, or where there is none.
        """
        told = TOLD.get(lease.provider, _NOTHING)
        own = lease.facts.get(told.fact, "")
        configured = self._configured.get(upstream.kind, ())
        if told.anywhere:
            found = (own,) if own else configured
        elif configured:
            found = configured
        elif own and not self._known(own, upstream, lease.provider):
            found = (_within(own, told.domains, upstream.kind, lease.account),)
        else:
            found = (own,) if own else homes(upstream, lease)
        if not found:
            raise _refused("has no base_url", lease.account)
        return tuple(_safe(url, lease.account) for url in found)

    def _known(self, url: str, upstream: Upstream, provider: str) -> bool:
        """Tell whether an address is the usual one, or the one the config names for the provider."""
        return url.rstrip("/") in {upstream.default_url, self._apis.get(provider, "").rstrip("/")}


def homes(upstream: Upstream, lease: Lease) -> tuple[str, ...]:
    """Return the vendor's own addresses; raises as `Homes.homes`."""
    return upstream.homes(lease) if isinstance(upstream, Homes) else (upstream.default_url,)


def _within(url: str, domains: tuple[str, ...], kind: str, account: str) -> str:
    host = _host(url)
    if any(host == domain or host.endswith(f".{domain}") for domain in domains):
        return url
    text = f"its file says that its API is at {_named(url)}, which is none of its vendor's: no token is sent there"
    hint = f"if it is right, set base_url in [upstreams.{kind}] of the config"
    raise BrokerError(ErrorCode.MISCONFIGURED, text, hint=hint, account=account)


def _safe(url: str, account: str) -> str:
    found = _URL.fullmatch(url)
    if found is None:
        raise _refused("what should be the address of its API is none", account)
    scheme, host = found["scheme"].lower(), found["host"].lower()
    if scheme == "http" and not _LOOPBACK.fullmatch(host):
        raise _refused(f"its API at {host} has no TLS: tokens go to https hosts only", account)
    return f"{scheme}://{host}{found['port']}{found['path'].rstrip('/')}"


def _host(url: str) -> str:
    found = _URL.fullmatch(url)
    return found["host"].lower() if found else ""


def _named(url: str) -> str:
    """Return what may be shown of an address: it can hold anything, a password too."""
    return _host(url) or "an address that cannot be read"


def _refused(text: str, account: str) -> BrokerError:
    return BrokerError(ErrorCode.MISCONFIGURED, text, hint="", account=account)
