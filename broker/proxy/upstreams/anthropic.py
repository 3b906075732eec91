"""Anthropic's API, and whatever speaks like it.

Owns: its URLs and headers. Pure; payloads are `translate`'s.

With the login of Claude Code the API wants the beta that OAuth needs. It may also want requests to look like Claude Code's, which this program does not
make them: Claude Code itself passes untouched, other clients may be refused (docs/proxy.md).
"""

from typing import Final

from broker import __version__
from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, bearer, filled, key_header
from broker.proxy.upstreams.base import Ask, Kind, Sent
from broker.translate.codecs import Dialect

_OAUTH_BETA: Final = b"oauth-2025-04-20"
_DEFAULTS: Final[Headers] = [
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"anthropic-version", b"2023-06-01"),
    (b"user-agent", f"ccs-broker/{__version__}".encode()),
]


class Anthropic:
    """`https://api.anthropic.com`, or an account's own `base_url`."""

    kind = Kind.ANTHROPIC
    dialect = Dialect.CLAUDE
    default_url = "https://api.anthropic.com"

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; what an Anthropic client says in headers and query stays as it is, its credential apart."""
        path = "/v1/messages/count_tokens" if ask.count else "/v1/messages"
        target, sent = ask.target(path), filled(headers, _DEFAULTS)
        if lease.provider == "claude":
            return Sent(target, [*_with_beta(sent), bearer(lease)], body)
        return Sent(target, [*sent, key_header(lease, "x-api-key")], body)


class AnthropicCompatible(Anthropic):
    """An account's own `base_url`, without `/v1`; its models are its owner's business, so none of Anthropic's is taken for granted."""

    kind = Kind.ANTHROPIC_COMPATIBLE


def _with_beta(headers: Headers) -> Headers:
    """Return the headers with the OAuth beta among those the client asked for."""
    asked = [value for name, value in headers if name == b"anthropic-beta"]
    betas = [beta.strip() for value in asked for beta in value.split(b",") if beta.strip()]
    if _OAUTH_BETA not in betas:
        betas.append(_OAUTH_BETA)
    rest = [header for header in headers if header[0] != b"anthropic-beta"]
    return [*rest, (b"anthropic-beta", b",".join(betas))]
