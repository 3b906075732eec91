"""Code Assist, the API behind a Gemini CLI login.

Owns: its URLs and headers. Pure; the envelope around payloads is `translate`'s.

It names itself: design of this program is not to pass for a vendor's client. A Gemini client that comes through it keeps its own User-Agent.
"""

from typing import Final

from broker import __version__
from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.headers import Headers, bearer, filled
from broker.proxy.upstreams.base import Ask, Kind, Offer, Sent
from broker.translate.codecs import Dialect

_AGENT: Final = f"ccs-broker/{__version__}".encode()
_DEFAULTS: Final[Headers] = [(b"user-agent", _AGENT), (b"x-goog-api-client", _AGENT), (b"accept", b"*/*")]


class CodeAssist:
    """`https://cloudcode-pa.googleapis.com`, version `v1internal`."""

    kind = Kind.CODE_ASSIST
    dialect = Dialect.CODE_ASSIST
    offers = frozenset({Offer.TALK, Offer.IMAGES, Offer.IMAGE_EDITS})
    default_url = "https://cloudcode-pa.googleapis.com"

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request; the model is in the envelope, and streams are always server-sent events."""
        action = b"countTokens" if ask.count else b"streamGenerateContent?alt=sse" if ask.stream else b"generateContent"
        kept = [header for header in headers if header[0] != b"content-type"]
        sent = filled(kept, _DEFAULTS)
        return Sent(b"/v1internal:" + action, [*sent, (b"content-type", b"application/json"), bearer(lease)], body)


def project_of(lease: Lease) -> str:
    """Return the Google Cloud project requests of this account are made in.

    Raises:
        BrokerError: `misconfigured` where the login found none.
    """
    project = lease.facts.get("project_id", "")
    if not project:
        text = "has no project_id: its login could not find a Google Cloud project"
        raise BrokerError(ErrorCode.MISCONFIGURED, text, hint="Run: ccs-broker login gemini", account=lease.account)
    return project
