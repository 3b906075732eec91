"""OpenAI's API, and whatever speaks like it: the chat completions endpoint below a base URL that ends as OpenAI's does (`/v1`).

Owns: its URL and headers. Pure; payloads are `translate`'s.
"""

from typing import Final

from broker import __version__
from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, key_header
from broker.proxy.upstreams.base import Ask, Kind, Sent
from broker.translate.codecs import Dialect

_DEFAULTS: Final[Headers] = [
    (b"content-type", b"application/json"),
    (b"accept", b"*/*"),
    (b"user-agent", f"ccs-broker/{__version__}".encode()),
]


class OpenAI:
    """`https://api.openai.com/v1`, or an account's own `base_url`."""

    kind = Kind.OPENAI
    dialect = Dialect.OPENAI_CHAT
    default_url = "https://api.openai.com/v1"

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what an OpenAI client says in headers and query stays as it is, its credential apart."""
        target = f"/chat/completions?{ask.query}" if ask.query else "/chat/completions"
        named = {name for name, _ in headers}
        sent = [*headers, *(header for header in _DEFAULTS if header[0] not in named)]
        return Sent(target.encode("ascii"), [*sent, key_header(lease, "authorization")], body)
