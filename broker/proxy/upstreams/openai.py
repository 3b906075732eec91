"""OpenAI's API, and whatever speaks like it, below a base URL that ends as OpenAI's does (`/v1`): talk, embeddings, images; Responses at OpenAI itself.

Owns: its URLs and headers. Pure; payloads are `translate`'s.
"""

from typing import Final

from broker import __version__
from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, filled, key_header
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent
from broker.translate.codecs import Dialect

_DEFAULTS: Final[Headers] = [
    (b"content-type", b"application/json"),
    (b"accept", b"*/*"),
    (b"user-agent", f"ccs-broker/{__version__}".encode()),
]
RESPONSES: Final = "/responses"


class OpenAI:
    """`https://api.openai.com/v1`: chat completions, embeddings, images."""

    kind = Kind.OPENAI
    dialect = Dialect.OPENAI_CHAT
    offers = frozenset(Offer)
    default_url = "https://api.openai.com/v1"

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what an OpenAI client says in headers and query stays as it is, its credential apart."""
        return written(path_of(ask), ask, headers, key_header(lease, "authorization"), body)


class OpenAIResponses(OpenAI):
    """The same API as it speaks to clients of Responses."""

    dialect = Dialect.RESPONSES

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what the client says stays as it is, its credential apart."""
        path = path_of(ask) if ask.offer is Offer.COMPACT else RESPONSES
        return written(path, ask, headers, key_header(lease, "authorization"), body)


class OpenAICompatible(OpenAI):
    """An account's own `base_url`. Most servers that speak like OpenAI know chat completions only, so Responses are translated for them."""

    kind = Kind.OPENAI_COMPATIBLE
    offers = frozenset(Offer) - {Offer.COMPACT}


def path_of(ask: Ask) -> str:
    """Return the path of what is asked for."""
    return f"/{ask.offer.value}"


def written(path: str, ask: Ask, headers: Headers, credential: tuple[bytes, bytes], body: bytes) -> Sent:
    """Return a request to an API that is asked as OpenAI's is."""
    return Sent(ask.target(path), [*filled(headers, _DEFAULTS), credential], body)
