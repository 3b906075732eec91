"""The Gemini API with an API key (ai.google.dev, "API reference").

Owns: its URLs and headers. Pure; payloads are `translate`'s.
"""

from typing import Final
from urllib.parse import quote

from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, api_key
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent
from broker.translate.codecs import Dialect
from broker.translate.fields import bad_field

_JSON: Final = (b"content-type", b"application/json")


class GeminiApi:
    """`https://generativelanguage.googleapis.com`, or whatever speaks like it."""

    kind = Kind.GEMINI
    dialect = Dialect.GEMINI
    offers = frozenset(Offer) - {Offer.COMPACT}
    default_url = "https://generativelanguage.googleapis.com"

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; a Gemini client's own version and query stay as they are.

        Raises:
            BrokerError: `bad_request` where the model's name would lead elsewhere than to a model.
        """
        action = action_of(ask, "batchEmbedContents")
        query = ("alt=sse" if ask.stream else "") if ask.query is None else ask.query
        path = f"/{ask.version}/models/{_within(ask.model)}:{action}"
        target = f"{path}?{query}" if query else path
        named = headers if any(name == b"content-type" for name, _ in headers) else [*headers, _JSON]
        return Sent(target.encode("ascii"), [*named, api_key(lease, b"x-goog-api-key")], body)


def action_of(ask: Ask, embedding: str) -> str:
    """Return Google's word for what is asked of a model; `embedding` is the one for embeddings, which differs."""
    if ask.offer is Offer.EMBEDDINGS:
        return embedding
    return "countTokens" if ask.count else "streamGenerateContent" if ask.stream else "generateContent"


def _within(model: str) -> str:
    """Return a model's name as a part of a path. What reads paths on the way may walk along `..`, or may not: such a name has two readings."""
    if not {"", ".", ".."}.isdisjoint(model.split("/")):
        bad_field("model", "is no name of a model")
    return quote(model, safe="/")
