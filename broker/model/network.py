"""By which way a connection leaves the machine: directly, or through an outbound proxy.

Owns: what a proxy's URL may be, the lists of hosts that need none, and the precedence: the account's own setting, its provider's, the config's for all, the
environment's. A setting that cannot be used is never skipped: whoever asks for the way is told why there is none. It must never show a user name or a password.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret

__all__ = [
    "PROXY_HINT",
    "Direct",
    "Environment",
    "Level",
    "Network",
    "NoProxy",
    "ProxyServer",
    "Route",
    "Scheme",
    "Setting",
    "Target",
    "Unusable",
    "is_loopback_host",
    "no_proxy_faults",
    "of_environment",
    "read",
]

_MOST_TEXT: Final = 2000
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9_.-]*[a-z0-9])?")
PROXY_HINT: Final = "Write direct, none, or an address as http://HOST:PORT, https://, socks5:// or socks5h://."
"""What a proxy_url can be, for whoever has to correct one."""


class Scheme(StrEnum):
    """How a proxy is spoken to: CONNECT over plain TCP or over TLS (RFC 9110 section 9.3.6), SOCKS 5 (RFC 1928) with names resolved here or by the proxy."""

    HTTP = "http"
    HTTPS = "https"
    SOCKS5 = "socks5"
    SOCKS5H = "socks5h"


_PORTS: Final = {Scheme.HTTP: 80, Scheme.HTTPS: 443, Scheme.SOCKS5: 1080, Scheme.SOCKS5H: 1080}


@dataclass(frozen=True, slots=True)
class ProxyServer:
    """An outbound proxy."""

    scheme: Scheme
    host: str
    port: int
    user: Secret | None = None
    password: Secret | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL as anybody may see it."""
        return f"{self.scheme}://{self.address}"


class Direct(msgspec.Struct, frozen=True):
    """`direct` or `none`: no proxy, whatever the levels below say."""


class Unusable(msgspec.Struct, frozen=True):
    """A setting that means no proxy we can use; `why` shows nothing of it."""

    why: str


Setting = ProxyServer | Direct | Unusable


class Level(StrEnum):
    """Which setting decided."""

    ACCOUNT = "account"
    PROVIDER = "provider"
    GLOBAL = "global"
    ENVIRONMENT = "environment"
    NONE = "none"
    GIVEN = "given"
    """By whoever tries a proxy out."""


class Target(msgspec.Struct, frozen=True):
    """Who is to be reached. `secure` tells https from http."""

    host: str
    port: int
    secure: bool = True

    @classmethod
    def of(cls, url: str) -> "Target":
        """Return the target of an http or https URL. Raises ValueError where it has no host or an impossible port."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("no http or https URL with a host")
        return cls(parts.hostname, parts.port or (443 if secure else 80), secure)


class Route(msgspec.Struct, frozen=True):
    """What was decided, on which level, and `source`: the words for the setting it came from, or why there is none."""

    level: Level
    source: str
    setting: Setting = Direct()

    def proxy(self) -> ProxyServer | None:
        """Return the proxy to go through; None to connect directly.

        Raises:
            BrokerError: `misconfigured`: the setting that decides cannot be used.
        """
        if isinstance(self.setting, Unusable):
            detail = f"{self.source} {self.setting.why}, so nothing is sent"
            raise BrokerError(ErrorCode.MISCONFIGURED, detail, hint=PROXY_HINT)
        return None if isinstance(self.setting, Direct) else self.setting


class _Exempt(msgspec.Struct, frozen=True):
    """One entry of a list of exceptions: a name with what is `below` it, or a block of addresses. `itself`: the name alone counts too."""

    name: str = ""
    itself: bool = True
    block: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    def covers(self, host: str, address: "ipaddress.IPv4Address | ipaddress.IPv6Address | None", port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.block is not None:
            return address is not None and address in self.block
        return self.name == "*" or (self.itself and host == self.name) or host.endswith(f".{self.name}")


class NoProxy(msgspec.Struct, frozen=True):
    """Hosts that are reached directly, where the proxy is one for all."""

    entries: tuple[_Exempt, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "NoProxy":
        """Read entries; what is none is left out, so that more goes through the proxy and not less."""
        return cls(tuple(found for text in texts if (found := _exempt(text)) is not None))

    def covers(self, target: Target) -> bool:
        """Tell whether a target needs no proxy. Blocks are for targets that are written as addresses: no name is looked up for it."""
        host = _plain(target.host)
        address = _address(host)
        return any(each.covers(host, address, target.port) for each in self.entries)


class Environment(msgspec.Struct, frozen=True):
    """What the environment says: the variable and its setting, for either kind of target; and its exceptions."""

    secure: tuple[str, Setting] | None = None
    plain: tuple[str, Setting] | None = None
    no_proxy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """Every setting there is but the accounts' own. A value: a new config is a new one."""

    providers: Mapping[str, Setting] = field(default_factory=dict)
    everywhere: Setting | None = None
    environment: Environment = field(default_factory=Environment)
    exempt: NoProxy = field(default_factory=NoProxy)

    @property
    def silent(self) -> bool:
        """Whether nothing is set here, so that only an account's own setting can matter."""
        environment = self.environment
        return not (self.providers or self.everywhere or environment.secure or environment.plain)

    def route(self, provider: str | None, own: Secret | None, target: Target) -> Route:
        """Decide. `own` is the `proxy_url` of the account's file.

        The account's and the provider's settings hold for every target. Those for all are not asked for loopback, nor for what `exempt` has.
        """
        if own is not None:
            return Route(Level.ACCOUNT, "proxy_url in the account's file", read(own))
        setting = self.providers.get(provider) if provider is not None else None
        if setting is not None:
            return Route(Level.PROVIDER, f"providers.{provider}.proxy_url", setting)
        return self._for_all(target)

    def _for_all(self, target: Target) -> Route:
        said = self.environment.secure if target.secure else self.environment.plain
        common = Route(Level.GLOBAL, "network.proxy_url", self.everywhere) if self.everywhere is not None else None
        if common is None and said is not None:
            common = Route(Level.ENVIRONMENT, *said)
        if common is None:
            return Route(Level.NONE, "no proxy is set")
        if is_loopback_host(target.host):
            return Route(Level.NONE, "loopback is reached directly")
        if self.exempt.covers(target):
            return Route(Level.NONE, "no_proxy names it")
        return common


def read(text: Secret, *, bare: bool = False) -> Setting:
    """Read a setting. `bare` takes `HOST:PORT` for an http proxy, as the environment's variables are written at times."""
    plain = text.reveal().strip()
    if plain.lower() in ("direct", "none"):
        return Direct()
    if len(plain) > _MOST_TEXT or not plain.isprintable() or not plain.isascii():
        return Unusable("is no URL")
    if bare and "://" not in plain:
        plain = f"http://{plain}"
    try:
        return _server(plain)
    except ValueError as error:
        # What urllib says would quote the URL.
        return Unusable(str(error) if isinstance(error, _FaultError) else "is no URL")


def of_environment(env: Mapping[str, str]) -> Environment:
    """Read the usual variables; lower case comes first, empty ones are as good as unset.

    `HTTP_PROXY` in upper case does not count in a CGI program, where it can be a client's `Proxy` header.
    """
    forged = "REQUEST_METHOD" in env
    return Environment(
        _first(env, "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
        _first(env, "http_proxy", *(() if forged else ("HTTP_PROXY",)), "all_proxy", "ALL_PROXY"),
        tuple(re.split(r"[\s,]+", env.get("no_proxy", "").strip() or env.get("NO_PROXY", "").strip())),
    )


def no_proxy_faults(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the entries that mean no host."""
    return tuple(text for text in texts if _exempt(text) is None)


def is_loopback_host(host: str) -> bool:
    """Tell whether a host is this machine, by its name or address alone."""
    plain = _plain(host)
    address = _address(plain)
    return plain == "localhost" or plain.endswith(".localhost") or (address is not None and address.is_loopback)


# --- helpers ---


class _FaultError(ValueError):
    """A sentence of ours: it shows nothing of what was read."""


def _server(url: str) -> ProxyServer:
    parts = urlsplit(url)
    scheme = next((each for each in Scheme if each.value == parts.scheme), None)
    if scheme is None:
        raise _FaultError("is neither http://, https://, socks5:// nor socks5h://")
    host = _plain(parts.hostname or "")
    if not _named(host):
        raise _FaultError("names no host")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _FaultError("has more than a host and a port")
    port = parts.port
    if port == 0:
        raise _FaultError("has port 0")
    user, password = (None if each is None else unquote(each) for each in (parts.username, parts.password))
    if user is not None and (":" in user or not _sendable(user) or not _sendable(password or "")):
        raise _FaultError("has a user name or password no proxy can be sent")
    return ProxyServer(
        scheme,
        host,
        port or _PORTS[scheme],
        Secret(user) if user is not None else None,
        Secret(password or "") if user is not None else None,
    )


def _sendable(text: str) -> bool:
    return len(text.encode()) <= 255 and text.isprintable()  # RFC 1929 counts in one byte


def _first(env: Mapping[str, str], *names: str) -> tuple[str, Setting] | None:
    for name in names:
        value = env.get(name, "").strip()
        if value:
            return name, read(Secret(value), bare=True)
    return None


def _exempt(text: str) -> _Exempt | None:
    entry = text.strip().lower()
    if entry == "*":
        return _Exempt("*")
    block = _block(entry)
    if block is not None:
        return _Exempt(block=block)
    name, port = _parted(entry)
    if port == 0 or port > 65535:
        return None
    wanted = None if port < 0 else port
    block = _block(name.strip("[]"))
    if block is not None:
        return _Exempt(block=block, port=wanted)
    name = _plain(name)
    below = name.removeprefix("*").removeprefix(".")
    return _Exempt(below, itself=below == name, port=wanted) if _HOST.fullmatch(below) else None


def _parted(entry: str) -> tuple[str, int]:
    """Split a port off; -1 where there is none."""
    found = re.fullmatch(r"(.+):(\d{1,5})", entry)
    return (found[1], int(found[2])) if found else (entry, -1)


def _block(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _named(host: str) -> bool:
    return _HOST.fullmatch(host) is not None or _address(host) is not None


def _plain(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")
