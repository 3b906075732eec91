"""The API behind a ChatGPT login, as Codex uses it: OpenAI Responses, streamed and never stored.

Owns: its URL and headers, and what it insists on in a body. Pure; payloads are `translate`'s.

It names itself: design of this program is not to pass for a vendor's client. A client that comes through it keeps its own User-Agent and originator.
"""

from typing import Final

import msgspec

from broker import __version__
from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, bearer, filled
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent, StreamsOnly
from broker.translate import responses_whole
from broker.translate.codecs import Dialect
from broker.translate.fields import bad_field, read
from broker.translate.ir import Failure
from broker.translate.passage import with_members

_DEFAULTS: Final[Headers] = [
    (b"content-type", b"application/json"),
    (b"user-agent", f"ccs-broker/{__version__}".encode()),
    (b"originator", b"ccs-broker"),
]
_OURS: Final = frozenset({b"accept", b"chatgpt-account-id"})
_ENCRYPTED: Final = "reasoning.encrypted_content"
_NULL: Final = msgspec.Raw(b"null")

LEFT_OUT: Final = (
    "max_output_tokens", "temperature", "top_p", "top_logprobs", "user", "metadata", "truncation", "safety_identifier", "prompt_cache_retention",
    "stream_options",
)  # fmt: skip
"""Members the API answers 400 to. Nearly every client sends one of them, so they are left out and not refused (docs/proxy.md)."""


class _Asked(msgspec.Struct):
    store: bool | None = None
    stream: bool | None = None
    instructions: msgspec.Raw = _NULL
    input: msgspec.Raw = _NULL
    include: list[str] | None = None
    previous_response_id: msgspec.Raw = _NULL
    conversation: msgspec.Raw = _NULL
    background: bool | None = None


_ASKED: Final = msgspec.json.Decoder(_Asked)


class Codex(StreamsOnly):
    """`https://chatgpt.com/backend-api/codex`."""

    kind = Kind.CODEX
    dialect = Dialect.RESPONSES
    offers = frozenset({Offer.TALK, Offer.COMPACT})
    default_url = "https://chatgpt.com/backend-api/codex"

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what Codex itself says stays as it is, byte for byte, its credential apart."""
        kept = [header for header in headers if header[0] not in _OURS]
        compact = ask.offer is Offer.COMPACT
        accepted = b"application/json" if compact else b"text/event-stream"
        sent = [*filled(kept, _DEFAULTS), (b"accept", accepted)]
        account = lease.facts.get("account_id", "")
        if account:
            sent.append((b"chatgpt-account-id", account.encode("utf-8", "replace")))
        if compact:
            return Sent(ask.target(f"/{Offer.COMPACT}"), [*sent, bearer(lease)], body)
        return Sent(ask.target("/responses"), [*sent, bearer(lease)], _insisted(body))

    def whole(self, body: bytes) -> bytes | Failure:
        """Return the `response` object of a complete stream."""
        return responses_whole.whole(body)


def _insisted(body: bytes) -> bytes:
    """Return a body as the API takes it: not stored, streamed, without what it refuses; one that is so already stays as it is."""
    asked = read(_ASKED, body)
    _check(asked)
    wanted: dict[str, bytes | None] = dict.fromkeys(LEFT_OUT)
    if asked.store is not False or asked.stream is not True:
        wanted |= {"store": b"false", "stream": b"true"}
        if asked.instructions == _NULL:
            wanted["instructions"] = b'""'
    if asked.store is not False and _ENCRYPTED not in (asked.include or ()):
        # Its reasoning comes back with the next turn by what it holds, or, where it is stored, by its id alone.
        wanted["include"] = msgspec.json.encode([*(asked.include or ()), _ENCRYPTED])
    told = bytes(asked.input)
    if told.startswith(b'"'):
        wanted["input"] = b'[{"type":"message","role":"user","content":[{"type":"input_text","text":' + told + b"}]}]"
    return with_members(body, wanted)


def _check(asked: _Asked) -> None:
    for name in ("previous_response_id", "conversation"):
        if getattr(asked, name) != _NULL:
            bad_field(name, "a ChatGPT login keeps no answers; send the conversation in input")
    if asked.background:
        bad_field("background", "a ChatGPT login runs nothing in the background")
