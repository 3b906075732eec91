"""What the config's values must be, beyond their types.

Owns: the ranges, and what one setting asks of another. Each fault names its key, so that the reader can say the line. Pure: whether a folder is there or a
provider is known, `config check` looks for itself. A new check is a line in one of the functions of `_checks`, which yield every fault, not the first.
"""

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from broker.model.account import valid_provider_name
from broker.model.naming import NameFaultError, Names
from broker.model.network import Unusable, no_proxy_faults, read
from broker.model.policy import payload_faults, policy_faults
from broker.model.secret import Secret
from broker.model.told import faults as model_faults

if TYPE_CHECKING:
    from broker.config import Config, ProviderConfig, UpstreamConfig

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110 section 5.6.2
# Framing, and where credentials stand: a setting that is shown must hold neither.
_RESERVED_HEADERS: Final = frozenset({
    "host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding", "te", "trailer", "upgrade", "expect",
    "accept-encoding", "authorization", "proxy-authorization", "cookie", "x-api-key", "x-goog-api-key",
})  # fmt: skip
_POSITIVE: Final = {
    "store": ("rescan_seconds",),
    "refresh": ("request_timeout_seconds", "stop_timeout_seconds"),
    "socket": ("max_connections", "max_body_bytes", "request_timeout_seconds", "max_wait_seconds"),
    "routing": ("rounds",),
    "request_log": ("max_megabytes", "max_age_days", "max_body_bytes", "max_string_bytes"),
    "proxy": (
        "workers", "max_body_bytes", "max_connections",
        "connect_timeout", "headers_timeout", "first_byte_timeout", "idle_timeout", "total_timeout", "keepalive_seconds",
    ),
}  # fmt: skip


class Fault(msgspec.Struct, frozen=True):
    """A setting that cannot be. `key` is the way to it through the tables, `text` what is wrong with it."""

    key: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        """Say the key, and what is wrong."""
        return f"{dotted(self.key)}: {self.text}"


def dotted(key: tuple[str, ...]) -> str:
    """Write a key as TOML does: parts that are no bare words are quoted."""
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in key)


def faults(config: "Config") -> Iterator[Fault]:
    """Yield everything that is wrong with the values of a config."""
    for check in _checks:
        yield from check(config)


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def url_faults(key: tuple[str, ...], url: str) -> Iterator[Fault]:
    """Look at a URL that requests go to."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        yield Fault(key, "must be an https URL without user name")
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        yield Fault(key, "plain http is accepted for loopback hosts only")


def _positive(config: "Config") -> Iterator[Fault]:
    for section, keys in _POSITIVE.items():
        for key in keys:
            if not getattr(getattr(config, section), key) > 0:
                yield Fault((section, key), "must be greater than 0")


def _notify(config: "Config") -> Iterator[Fault]:
    command = config.notify.command
    if command and not command[0]:
        yield Fault(("notify", "command"), "the first element names the program")
    if any("\0" in part for part in command):
        yield Fault(("notify", "command"), "an argument cannot hold a zero byte")


def _proxy(config: "Config") -> Iterator[Fault]:
    proxy = config.proxy
    if not 0 <= proxy.port <= 65535:
        yield Fault(("proxy", "port"), "must be from 0 to 65535")
    if not is_loopback(proxy.host) and not proxy.api_keys:
        yield Fault(("proxy", "host"), "is not loopback, so proxy.api_keys must name at least one key")
    if any(len(key) < 8 for key in proxy.api_keys):
        yield Fault(("proxy", "api_keys"), "a key must have at least 8 characters")
    for name, blocks in (("allow", proxy.allow), ("deny", proxy.deny)):
        for block in blocks:
            try:
                ipaddress.ip_network(block)
            except ValueError as error:
                told = f"{error}; write an IP address or a CIDR block as 192.0.2.0/24"
                yield Fault(("proxy", name), told)


def _routing(config: "Config") -> Iterator[Fault]:
    if not config.routing.max_wait_seconds >= 0:
        yield Fault(("routing", "max_wait_seconds"), "must not be less than 0")


def _request_log(config: "Config") -> Iterator[Fault]:
    directory = config.request_log.directory
    if directory is not None and not directory.startswith(("/", "~/")):
        yield Fault(("request_log", "directory"), "must be an absolute path, or begin with ~/")


def _names(config: "Config") -> Iterator[Fault]:
    try:
        Names(config.routing.aliases, config.combos)
    except NameFaultError as fault:
        yield Fault(fault.key, fault.text)


def _models(config: "Config") -> Iterator[Fault]:
    for name, table in config.models.items():
        for key, text in model_faults(table):
            yield Fault(("models", name, key), text)


def _network(config: "Config") -> Iterator[Fault]:
    own: list[tuple[tuple[str, ...], Secret | None]] = [(("network", "proxy_url"), config.network.proxy_url)]
    own += [(("providers", name, "proxy_url"), table.proxy_url) for name, table in config.providers.items()]
    for key, url in own:
        setting = read(url) if url is not None else None
        if isinstance(setting, Unusable):
            yield Fault(key, setting.why)
    for text in no_proxy_faults(config.network.no_proxy):
        told = f"{text[:60]!r} is no host, domain, address or CIDR block, with or without a port"
        yield Fault(("network", "no_proxy"), told)


def _providers(config: "Config") -> Iterator[Fault]:
    for name, table in config.providers.items():
        where = ("providers", name)
        if not valid_provider_name(name):
            yield Fault(where, "a provider name is lower-case letters, digits and '-'")
        yield from _provider(where, table)


def _provider(where: tuple[str, ...], table: "ProviderConfig") -> Iterator[Fault]:
    for key in table.__struct_fields__:
        value = getattr(table, key)
        if isinstance(value, str) and (key.endswith("_url") or key == "issuer"):
            yield from url_faults((*where, key), value)
    if table.client_secret_file is not None and table.client_secret_env is not None:
        yield Fault((*where, "client_secret_file"), "client_secret_file and client_secret_env exclude each other")
    if table.redirect_port is not None and not 0 <= table.redirect_port <= 65535:
        yield Fault((*where, "redirect_port"), "must be from 0 to 65535")
    if table.kind == "oauth2" and not table.client_id:
        yield Fault((*where, "client_id"), "is missing")
    if table.kind == "oauth2" and not (table.issuer or table.token_url):
        yield Fault(where, "needs issuer, or authorize_url and token_url")


def _upstreams(config: "Config") -> Iterator[Fault]:
    for name, settings in config.upstreams.items():
        yield from _upstream(("upstreams", name), settings)


def _upstream(where: tuple[str, ...], settings: "UpstreamConfig") -> Iterator[Fault]:
    for url in settings.urls:
        yield from url_faults((*where, "base_url"), url)
    for header, value in settings.headers.items():
        key = (*where, "headers", header)
        if not _HEADER.fullmatch(header) or header.lower() in _RESERVED_HEADERS:
            yield Fault(key, f"{header[:60]!r} is no header, or one the proxy writes itself")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            yield Fault(key, f"the value of {header} must be printable ASCII")


def _policies(config: "Config") -> Iterator[Fault]:
    for glob, policy in config.policies.items():
        for key, text in policy_faults(glob, policy):
            yield Fault(("policies", glob, *key), text)
    for key, text in payload_faults(config.payload):
        yield Fault(("payload", *key), text)


_checks: Final = (
    _positive,
    _notify,
    _proxy,
    _routing,
    _request_log,
    _names,
    _models,
    _policies,
    _network,
    _providers,
    _upstreams,
)
