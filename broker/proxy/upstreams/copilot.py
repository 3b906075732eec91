"""GitHub Copilot's API, by its chat completions and its embeddings.

Owns: its URLs and headers, and what two of them say about a request: whether a person or a program's turn asks, and whether there are images. Pure; payloads
are `translate`'s. The API's own address comes with each token (`api_url`).

Facts from CLIProxyAPI Plus; GitHub documents none of it. The API answers editors, so the headers name one; all are the config's to change.
"""

from typing import Final

import msgspec

from broker import __version__
from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.headers import Headers, bearer, filled
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent
from broker.proxy.upstreams.openai import path_of
from broker.translate.codecs import Dialect
from broker.translate.digests import uuid_of

_DEFAULTS: Final[Headers] = [
    (b"content-type", b"application/json"),
    (b"accept", b"*/*"),
    (b"user-agent", f"ccs-broker/{__version__}".encode()),
    (b"editor-version", b"vscode/1.100.0"),
    (b"editor-plugin-version", b"copilot/1.300.0"),
    (b"copilot-integration-id", b"vscode-chat"),
    (b"openai-intent", b"conversation-panel"),
]
_GITHUB: Final = "github.com"


class _Piece(msgspec.Struct):
    type: object = None


class _Message(msgspec.Struct):
    role: object = None
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Conversation(msgspec.Struct):
    messages: list[_Message] = []


_CONVERSATION: Final = msgspec.json.Decoder(_Conversation)
_PIECES: Final = msgspec.json.Decoder(list[_Piece])


class Copilot:
    """`https://api.githubcopilot.com`, or the address that came with the token."""

    kind = Kind.COPILOT
    dialect = Dialect.OPENAI_CHAT
    offers = frozenset({Offer.TALK, Offer.EMBEDDINGS})
    default_url = "https://api.githubcopilot.com"

    def homes(self, lease: Lease) -> tuple[str, ...]:
        """Return github.com's API; raises BrokerError `misconfigured` for a login of another host, whose API only its tokens name."""
        if lease.facts.get("host", _GITHUB) != _GITHUB:
            text = "has no api_url: GitHub has named none with its Copilot token"
            raise BrokerError(ErrorCode.MISCONFIGURED, text, hint="", account=lease.account)
        return (self.default_url,)

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; an editor's own headers stay as they are."""
        ours = [*_DEFAULTS, *_said(body), (b"x-request-id", uuid_of(ask.request_id).encode())]
        return Sent(ask.target(path_of(ask)), [*filled(headers, ours), bearer(lease)], body)


def _said(body: bytes) -> Headers:
    """Return who asks, the person or a program in its turn, and whether there are images; of a body that cannot be read, a person and none."""
    try:
        messages = _CONVERSATION.decode(body).messages
        seen = any(_shows(message) for message in messages)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        messages, seen = [], False
    agent = bool(messages) and messages[-1].role in ("assistant", "tool")
    initiator = (b"x-initiator", b"agent" if agent else b"user")
    return [initiator, (b"copilot-vision-request", b"true")] if seen else [initiator]


def _shows(message: _Message) -> bool:
    content = bytes(message.content)
    return content[:1] == b"[" and any(piece.type == "image_url" for piece in _PIECES.decode(content))
