"""Who gets in.

Owns: the rules about keys, Host and Origin, as one decision over values. Pure; who the peer is it is told by `peers`.

Keys of the config are compared as digests, in constant time, every key every time; local keys as `keys` says. No keys at all means closed, not open.
"""

import hmac
import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from broker.model.secret import Secret
from broker.proxy.failures import failure
from broker.proxy.keys import Holder, Ring, digest_of
from broker.proxy.wire.heads import RequestHead
from broker.translate.ir import Failure

DIGEST_CHARACTERS: Final = 32
"""As many of the hexadecimal digits of SHA-256 `Secret.digest` keeps."""

HINT: Final = "use a key of proxy.api_keys in the config file, or one made by `ccs-broker key add`"


class Rules(msgspec.Struct, frozen=True):
    """The configured rules.

    Keys are digests (see `Secret.digest`); `internal` is the one CCS gives its clients, None when switched off; `hosts` are extra names for the
    Host header.
    """

    keys: tuple[str, ...]
    internal: str | None
    hosts: frozenset[str]

    @classmethod
    def of(cls, keys: tuple[Secret, ...], internal: Secret | None, hosts: tuple[str, ...]) -> "Rules":
        """Make the rules from settings."""
        digests = tuple(key.digest().text for key in keys)
        return cls(digests, internal.digest().text if internal else None, frozenset(host.lower() for host in hosts))


class Peer(msgspec.Struct, frozen=True):
    """Who is connected. `same_user` asks the system, and answers None where it cannot tell."""

    address: str
    same_user: Callable[[], bool | None]


class Door(msgspec.Struct, frozen=True):
    """What local keys there are at this moment. `wall` reads the time in seconds since the epoch; asked only where a local key was shown."""

    ring: Ring
    wall: Callable[[], float]


NO_LOCAL_KEYS: Final = Door(Ring(), lambda: 0.0)


def check_site(head: RequestHead, rules: Rules) -> Failure | None:
    """Refuse requests that were not meant for us: DNS rebinding and other sites' scripts. Holds for public paths as well."""
    host = _text(head.get(b"host"))
    if host is not None and not _our_host(host, rules.hosts):
        return failure(
            403,
            f"the host {host[:100]!r} is not this machine's; add it to proxy.allowed_hosts",
            reason="forbidden_host",
        )
    origin = _text(head.get(b"origin"))
    if origin is not None and not _our_origin(origin, host, rules.hosts):
        return failure(403, "pages of other sites may not use this proxy", reason="forbidden_origin")
    if head.get(b"sec-fetch-site") == b"cross-site":
        return failure(403, "pages of other sites may not use this proxy", reason="forbidden_origin")
    return None


def check_key(head: RequestHead, peer: Peer, rules: Rules, door: Door = NO_LOCAL_KEYS) -> Failure | Holder | None:
    """Refuse requests without a valid key; any of the places a client may put one will do.

    Returns whose local key it is, which may have limits; None for a key of the config or the internal one, which have none.
    """
    if not rules.keys and rules.internal is None and not len(door.ring):
        return failure(401, f"no keys are configured, so nobody is let in; {HINT}", reason="closed")
    digests = [digest_of(text) for text in _presented(head)]
    if not digests:
        return failure(401, f"no API key was sent; {HINT}", reason="missing_api_key")
    known = internal = False
    for digest in digests:
        short = digest[:DIGEST_CHARACTERS]
        for key in rules.keys:
            known |= hmac.compare_digest(short, key)
        if rules.internal is not None:
            internal |= hmac.compare_digest(short, rules.internal)
    if known:
        return None
    holder, expired = _holder(digests, door)
    if holder is not None or not internal:
        return holder or _unknown(expired)
    return _check_internal(peer)


@lru_cache(256)
def is_loopback(address: str) -> bool:
    """Tell whether an IP address is loopback; an IPv4 one may be mapped into IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _unknown(expired: Holder | None) -> Failure:
    if expired is not None:
        return failure(401, f"the API key {expired.key.name!r} has expired; {HINT}", reason="expired_api_key")
    return failure(401, f"the API key is not known here; {HINT}", reason="invalid_api_key")


def _check_internal(peer: Peer) -> Failure | None:
    # The key is public, so it says nothing but "a program of this user"; that must be true.
    if not is_loopback(peer.address):
        return failure(401, f"this key opens the proxy on the same machine only; {HINT}", reason="invalid_api_key")
    if peer.same_user() is False:
        return failure(401, f"this key opens the proxy to the same user only; {HINT}", reason="invalid_api_key")
    return None


def _presented(head: RequestHead) -> list[str]:
    found: list[str] = []
    for name, value in head.headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            found.append(value[7:].strip().decode("latin-1"))
        elif name in (b"x-api-key", b"x-goog-api-key"):
            found.append(value.decode("latin-1"))
    if "key=" in head.query:
        found += [value for name, value in parse_qsl(head.query) if name == "key"]
    return found


def _holder(digests: list[str], door: Door) -> tuple[Holder | None, Holder | None]:
    """Return whose local key is among them, and whose is that has expired."""
    expired = None
    for digest in digests:
        found = door.ring.find(digest)
        if found is not None:
            if not found.expired(door.wall()):
                return found, None
            expired = found
    return None, expired


@lru_cache(256)
def _our_host(host: str, allowed: frozenset[str]) -> bool:
    host = host.lower()
    if host in allowed:
        return True
    name = _name(host)
    return name is not None and (name in allowed or name == "localhost" or is_loopback(name))


def _our_origin(origin: str, host: str | None, allowed: frozenset[str]) -> bool:
    # Another port of this machine is another site: its pages could send the public key.
    authority = origin.lower().partition("://")[2]
    return bool(authority) and (
        authority == (host or "").lower() or authority in allowed or _name(authority) in allowed
    )


def _name(host: str) -> str | None:
    """Return the host without its port; None where it is not well-formed."""
    try:
        parts = urlsplit(f"//{host}")
        port_is_valid = parts.port is None or parts.port >= 0
    except ValueError:
        return None
    plain = port_is_valid and parts.username is None and not parts.path and not parts.query and not parts.fragment
    return parts.hostname if plain else None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
