"""Kimi Code's API, which speaks as OpenAI does and as Anthropic does.

Owns: its URLs in both regions, the headers that name the device a login is bound to, and the names of its models. Pure; payloads are `translate`'s.

An Anthropic client is served by the one, every other by the other. Facts from CLIProxyAPI and Kimi's own program; that the API also looks at the User-Agent is
reported and not established, so the headers are the config's to change.
"""

from typing import Final

from broker import __version__
from broker.ipc.schema import Lease
from broker.proxy.headers import Headers, bearer, filled
from broker.proxy.upstreams.base import Ask, Kind, Sent
from broker.translate.codecs import Dialect
from broker.translate.passage import with_model

_URLS: Final = {"cn": "https://api.kimi.com/coding", "global": "https://api.kimi.ai/coding"}
_NO_DEVICE: Final = "cli-proxy-api-device"  # what CLIProxyAPI sends for a file without an id
_AGENT: Final = f"ccs-broker/{__version__}".encode()
_DEVICE: Final[Headers] = [
    (b"x-msh-platform", b"ccs-broker"),
    (b"x-msh-version", __version__.encode()),
    (b"x-msh-device-name", b"ccs-broker"),
    (b"x-msh-device-model", b"ccs-broker"),
]
_DEFAULTS: Final[Headers] = [(b"content-type", b"application/json"), (b"accept", b"*/*"), (b"user-agent", _AGENT)]
_ANTHROPIC: Final[Headers] = [*_DEFAULTS, (b"anthropic-version", b"2023-06-01")]


class Kimi:
    """`https://api.kimi.com/coding`, or `https://api.kimi.ai/coding` for logins of the global region: chat completions."""

    kind = Kind.KIMI
    dialect = Dialect.OPENAI_CHAT
    default_url = _URLS["cn"]

    def homes(self, lease: Lease) -> tuple[str, ...]:
        """Return the host of the login's region: tokens do not cross."""
        return (_URLS["global" if lease.facts.get("region") == "global" else "cn"],)

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request as the login's device."""
        return _sent(lease, ask, "/v1/chat/completions", filled(headers, _DEFAULTS), body)


class KimiMessages(Kimi):
    """The same API as it speaks to Anthropic's clients."""

    dialect = Dialect.CLAUDE

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request as the login's device."""
        path = "/v1/messages/count_tokens" if ask.count else "/v1/messages"
        return _sent(lease, ask, path, filled(headers, _ANTHROPIC), body)


def model_name(name: str) -> str:
    """Return what the API calls a model: `k2.5` for `kimi-k2.5`, as CLIProxyAPI does; other names, as `kimi-for-coding`, are its own."""
    return name.removeprefix("kimi-") if name.startswith("kimi-k") else name


def _sent(lease: Lease, ask: Ask, path: str, headers: Headers, body: bytes) -> Sent:
    rest = [header for header in headers if not header[0].startswith(b"x-msh-")]
    told = model_name(ask.model)
    named = body if told == ask.model else with_model(body, told)
    return Sent(ask.target(path), [*rest, *_DEVICE, (b"x-msh-device-id", _device(lease)), bearer(lease)], named)


def _device(lease: Lease) -> bytes:
    told = lease.facts.get("device_id", "")
    fits = 0 < len(told) <= 128 and told.isascii() and told.isprintable()
    return (told if fits else _NO_DEVICE).encode("ascii")
