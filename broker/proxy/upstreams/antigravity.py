"""Antigravity, the API behind its logins: Code Assist's methods on hosts of its own.

Owns: its URLs, the order of its hosts, and headers. Pure; the envelope around payloads is `translate.antigravity`'s.

The API serves what looks like Antigravity and tells everything else to update, so here, and against this program's habit, the User-Agent is the vendor's, and a
client's own headers stay behind. Facts from CLIProxyAPI; other programs try other hosts, so the order is the config's to change.
"""

from typing import Final

from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, bearer
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent
from broker.translate.codecs import Dialect

_HEADERS: Final[Headers] = [
    (b"user-agent", b"antigravity/hub/2.9.1 darwin/arm64"),
    (b"content-type", b"application/json"),
    (b"accept", b"*/*"),
]


class Antigravity:
    """`https://daily-cloudcode-pa.googleapis.com`, then `https://cloudcode-pa.googleapis.com`, version `v1internal`."""

    kind = Kind.ANTIGRAVITY
    dialect = Dialect.ANTIGRAVITY
    offers = frozenset({Offer.TALK, Offer.IMAGES, Offer.IMAGE_EDITS})
    default_url = "https://daily-cloudcode-pa.googleapis.com"

    def homes(self, lease: Lease) -> tuple[str, ...]:
        """Return the hosts in order: the daily one knows the true limits."""
        del lease
        return (self.default_url, "https://cloudcode-pa.googleapis.com")

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; the model is in the envelope, and streams are always server-sent events."""
        del headers
        action = b"countTokens" if ask.count else b"streamGenerateContent?alt=sse" if ask.stream else b"generateContent"
        return Sent(b"/v1internal:" + action, [*_HEADERS, bearer(lease)], body)
