"""Vertex AI's Gemini models (cloud.google.com/vertex-ai, "generateContent") and its models of text embeddings ("Text embeddings API").

Owns: its URLs, which hold an account's project and location, its headers, and its own form of a request to count tokens. Pure; payloads are `translate`'s.
"""

import re
from typing import Final
from urllib.parse import quote

import msgspec

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.headers import Headers, bearer
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent
from broker.proxy.upstreams.gemini import action_of
from broker.translate.codecs import Dialect

LOCATION: Final = "us-central1"
"""Where an account's file names none."""

_LOCATION: Final = re.compile(r"[a-z][a-z0-9-]{1,40}", re.ASCII)  # it becomes part of a host's name
_JSON: Final = (b"content-type", b"application/json")
# What countTokens takes beside the contents; Gemini's API wants all of it in `generateContentRequest`, which Vertex does not know.
_COUNTED: Final = frozenset(
    {"contents", "systemInstruction", "system_instruction", "tools", "generationConfig", "generation_config"}
)
_Members = dict[str, msgspec.Raw]
_MEMBERS: Final = msgspec.json.Decoder(_Members)


class Vertex:
    """`https://LOCATION-aiplatform.googleapis.com`; `https://aiplatform.googleapis.com` for the location `global`."""

    kind = Kind.VERTEX
    dialect = Dialect.GEMINI
    offers = frozenset(Offer) - {Offer.COMPACT}
    default_url = "https://aiplatform.googleapis.com"

    def homes(self, lease: Lease) -> tuple[str, ...]:
        """Return the location's host; raises BrokerError `misconfigured` for what is no location."""
        location = _location(lease)
        return (self.default_url if location == "global" else f"https://{location}-aiplatform.googleapis.com",)

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; a Gemini client's own query stays as it is, its version does not: Vertex has its own."""
        project = lease.facts.get("project_id", "")
        if not project:
            text = "has no project_id: the key's file names none"
            raise BrokerError(ErrorCode.MISCONFIGURED, text, hint="", account=lease.account)
        action = action_of(ask, "predict")
        query = ("alt=sse" if ask.stream else "") if ask.query is None else ask.query
        where = f"/v1/projects/{quote(project, safe='')}/locations/{_location(lease)}/publishers/google/models"
        path = f"{where}/{quote(ask.model.removeprefix('models/'), safe='')}:{action}"
        target = f"{path}?{query}" if query else path
        named = headers if any(name == b"content-type" for name, _ in headers) else [*headers, _JSON]
        return Sent(target.encode("ascii"), [*named, bearer(lease)], _counting(body) if ask.count else body)


def _location(lease: Lease) -> str:
    location = lease.facts.get("location", LOCATION)
    if not _LOCATION.fullmatch(location):
        text = "the location in its file is no Google Cloud region"
        raise BrokerError(ErrorCode.MISCONFIGURED, text, hint="", account=lease.account)
    return location


def _counting(body: bytes) -> bytes:
    """Return a countTokens body as Vertex takes it; what is no such body stays as it is, for Vertex to judge."""
    try:
        asked = _MEMBERS.decode(body)
        inner = asked.get("generateContentRequest") or asked.get("generate_content_request")
        if inner is None:
            return body
        return msgspec.json.encode({key: value for key, value in _MEMBERS.decode(inner).items() if key in _COUNTED})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
