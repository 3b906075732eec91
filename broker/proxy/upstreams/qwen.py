"""Qwen's portal, the API behind a Qwen Code login.

Owns: its URL and headers. Pure; payloads are `translate`'s. Where an account's grant named another address (`resource_url`), that one is used if it is Qwen's.

Facts from CLIProxyAPI 6.9.25, the last that knew it; Qwen ended its free logins on 2026-04-15. Whether the API looks at the name of the program is not
established, so the headers are the config's to change.
"""

from typing import Final

from broker import __version__
from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, bearer, filled
from broker.proxy.upstreams.base import Ask, Kind, Sent
from broker.translate.codecs import Dialect

_AGENT: Final = f"ccs-broker/{__version__}".encode()
_DASHSCOPE: Final[Headers] = [
    (b"x-dashscope-authtype", b"qwen-oauth"),
    (b"x-dashscope-cachecontrol", b"enable"),
    (b"x-dashscope-useragent", _AGENT),
]
_DEFAULTS: Final[Headers] = [
    (b"content-type", b"application/json"),
    (b"accept", b"*/*"),
    (b"user-agent", _AGENT),
    *_DASHSCOPE,
]


class Qwen:
    """`https://portal.qwen.ai/v1`, or the login's own `resource_url`."""

    kind = Kind.QWEN
    dialect = Dialect.OPENAI_CHAT
    default_url = "https://portal.qwen.ai/v1"

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what a client says in headers and query stays as it is, its credential apart."""
        return Sent(ask.target("/chat/completions"), [*filled(headers, _DEFAULTS), bearer(lease)], body)
