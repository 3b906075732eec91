"""From which addresses connections are taken.

Owns: `proxy.allow` and `proxy.deny` as one decision over the peer's address. Pure. Nothing a client says (`X-Forwarded-For` and its kin) is ever looked at.
"""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """Where connections may come from: none of `deny`, and one of `allow` unless that is empty."""

    __slots__ = ("_allow", "_deny")

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        """Read lists of addresses and CIDR blocks, which the config has checked; raises ValueError for any that is neither."""
        self._allow = tuple(_network(text) for text in allow)
        self._deny = tuple(_network(text) for text in deny)

    def admit(self, address: str) -> bool:
        """Tell whether a connection from `address` may stay. Where there is a rule, an address that cannot be read is refused."""
        if not self._allow and not self._deny:
            return True
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address):
            ip = ip.ipv4_mapped or ip
        if any(ip in network for network in self._deny):
            return False
        return not self._allow or any(ip in network for network in self._allow)


def _network(text: str) -> Network:
    """Read a block; one of IPv4 addresses mapped into IPv6 is that of the IPv4 addresses, as peers are compared so."""
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network
