"""Login files that say where tokens are to be sent.

Owns: telling which addresses a login names that are none of its provider's own, in sentences for the person who takes it over. Pure. It decides nothing: which
of them are used at all is each provider's and the proxy's to say. Token endpoints in files are not among them: no provider sends a refresh token or a key's
assertion to a foreign host only because a file says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import astuple
from urllib.parse import urlsplit

from broker.providers.base import Provider

_KEYS = ("base_url", "resource_url", "api_url", "host")
_ALSO = {
    "github-copilot": ("githubcopilot.com",),  # GitHub names the host of its API with each token
    "codex": ("chatgpt.com",),
    "xai": ("grok.com",),
}
"""Domains of a vendor's API that are not those of its logins."""

_SHOWN = 80
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "gov", "net", "org"})


def elsewhere(provider: Provider, facts: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence for each foreign host that `facts` of a login name, each host once."""
    told: dict[str, str] = {}
    own = {*_sites(provider), *_ALSO.get(provider.name, ())}
    for name in _KEYS:
        host = _host(facts.get(name, ""))
        if host and not any(host == site or host.endswith(f".{site}") for site in own):
            told.setdefault(host, name)
    return tuple(
        f"Its file says that its tokens go to {ascii(host)[1:-1][:_SHOWN]} ({name}), which is none of {provider.title}'s own addresses. "
        "If you do not know that host, log out of this account here."
        for host, name in told.items()
    )


def _sites(provider: Provider) -> Iterator[str]:
    """Yield the domains of a provider's endpoints: the one above the host, where that is no registry's."""
    for url in astuple(provider.endpoints):
        host = _host(url or "")
        above = host.partition(".")[2]
        shared = "." not in above or (above.partition(".")[0] in _SECOND_LEVEL and above.count(".") == 1)
        if host:
            yield host if shared else above


def _host(address: str) -> str:
    """Return the host of an address, with or without a scheme; what has none that can be read counts as a host of its own."""
    if not address:
        return ""
    try:
        found = urlsplit(address if "://" in address else f"//{address}").hostname
    except ValueError:
        found = None
    return (found or address).rstrip(".").lower()
