"""xAI's API with a Grok login: chat completions and Responses, as OpenAI's paths are.

Owns: its URLs, and what its models take amiss in a translated request. Pure; payloads are `translate`'s.
"""

from typing import Final

from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, bearer
from broker.proxy.upstreams.base import Ask, Kind, Sent
from broker.proxy.upstreams.openai import CHAT, RESPONSES, written
from broker.translate.codecs import Dialect
from broker.translate.passage import with_members

_EFFORT_TAKEN: Final = "grok-3-mini"  # docs.x.ai, "Reasoning": others were said to answer 400 to `reasoning_effort`


class XAI:
    """`https://api.x.ai/v1`: chat completions."""

    kind = Kind.XAI
    dialect = Dialect.OPENAI_CHAT
    default_url = "https://api.x.ai/v1"

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what an OpenAI client says stays as it is, its credential apart."""
        translated = ask.query is None
        if translated and not ask.model.startswith(_EFFORT_TAKEN):
            body = with_members(body, {"reasoning_effort": None})
        return written(CHAT, ask, headers, bearer(lease), body)


class XAIResponses(XAI):
    """The same API as it speaks to clients of Responses."""

    dialect = Dialect.RESPONSES

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what the client says stays as it is, its credential apart."""
        return written(RESPONSES, ask, headers, bearer(lease), body)
