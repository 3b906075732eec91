"""xAI's API with a Grok login: chat completions, Responses and images, as OpenAI's paths are.

Owns: its URLs, and what its models take amiss in a translated request. Pure; payloads are `translate`'s. Of images it documents both paths, and JSON only for
edits (docs.x.ai, "Images"); whether it takes a login there as it takes a key is not established.
"""

from typing import Final

from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, bearer
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent
from broker.proxy.upstreams.openai import RESPONSES, path_of, written
from broker.translate.codecs import Dialect
from broker.translate.fields import bad_field
from broker.translate.multipart import is_form
from broker.translate.passage import with_members

_EFFORT_TAKEN: Final = "grok-3-mini"  # docs.x.ai, "Reasoning": others were said to answer 400 to `reasoning_effort`


class XAI:
    """`https://api.x.ai/v1`: chat completions, images."""

    kind = Kind.XAI
    dialect = Dialect.OPENAI_CHAT
    offers = frozenset({Offer.TALK, Offer.IMAGES, Offer.IMAGE_EDITS})
    default_url = "https://api.x.ai/v1"

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what an OpenAI client says stays as it is, its credential apart."""
        translated = ask.offer is Offer.TALK and ask.query is None
        if translated and not ask.model.startswith(_EFFORT_TAKEN):
            body = with_members(body, {"reasoning_effort": None})
        if any(name == b"content-type" and is_form(value.decode("latin-1")) for name, value in headers):
            bad_field("content-type", "xAI takes no forms; send JSON")
        return written(path_of(ask), ask, headers, bearer(lease), body)


class XAIResponses(XAI):
    """The same API as it speaks to clients of Responses."""

    dialect = Dialect.RESPONSES

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what the client says stays as it is, its credential apart."""
        return written(RESPONSES, ask, headers, bearer(lease), body)
