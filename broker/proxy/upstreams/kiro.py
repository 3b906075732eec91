"""Kiro's API, which AWS runs: `generateAssistantResponse`, answered by an event stream.

Owns: its URLs, which hold the region of a login's profile, its headers, and the profile in a body. Pure; payloads are `translate`'s.

Facts from CLIProxyAPI Plus and other clients; AWS documents none of it. Newer editors were seen to ask hosts under `kiro.dev`, so hosts and headers are the
config's to change.
"""

import re
from typing import Final

import msgspec

from broker import __version__
from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.headers import Headers, bearer, filled
from broker.proxy.upstreams.base import Ask, Kind, Sent
from broker.translate.codecs import Dialect
from broker.translate.digests import uuid_of
from broker.translate.passage import with_members

_AGENT: Final = f"ccs-broker/{__version__}".encode()
_DEFAULTS: Final[Headers] = [
    (b"content-type", b"application/x-amz-json-1.0"),
    (b"accept", b"application/vnd.amazon.eventstream"),
    (b"x-amz-target", b"AmazonCodeWhispererStreamingService.GenerateAssistantResponse"),
    (b"user-agent", _AGENT),
    (b"x-amz-user-agent", _AGENT),
    (b"amz-sdk-request", b"attempt=1; max=1"),
]
# Its region becomes part of a host's name.
_PROFILE: Final = re.compile(
    r"arn:[a-z-]{1,20}:codewhisperer:([a-z]{2}(?:-[a-z]{2,12}){1,3}-\d{1,2}):\d*:profile/[\w-]{1,200}", re.ASCII
)
_HOME: Final = "us-east-1"
_OF_A_BUILDER: Final = "builder-id"


class Kiro:
    """`https://codewhisperer.us-east-1.amazonaws.com`, then `https://q.us-east-1.amazonaws.com`; `https://q.REGION.amazonaws.com` for a profile elsewhere."""

    kind = Kind.KIRO
    dialect = Dialect.KIRO
    default_url = "https://codewhisperer.us-east-1.amazonaws.com"

    def homes(self, lease: Lease) -> tuple[str, ...]:
        """Return the hosts in order: limits of the two in us-east-1 were reported to be apart. Raises BrokerError `misconfigured` for what is no profile.

        The region a login was made in says nothing of this: an Identity Center may lie where no such API is.
        """
        profile = _profile(lease)
        found = _PROFILE.fullmatch(profile) if profile else None
        if profile and found is None:
            text = "the profile_arn in its file is none of Kiro's"
            raise BrokerError(ErrorCode.MISCONFIGURED, text, hint="Run: ccs-broker login kiro", account=lease.account)
        if found is None or found[1] == _HOME:
            return (self.default_url, f"https://q.{_HOME}.amazonaws.com")
        return (f"https://q.{found[1]}.amazonaws.com",)

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a request. A Builder ID's profile is not sent: it was reported to be refused."""
        profile = _profile(lease)
        if profile and lease.facts.get("auth_method", "").lower() != _OF_A_BUILDER:
            body = with_members(body, {"profileArn": msgspec.json.encode(profile)})
        ours = [*_DEFAULTS, (b"amz-sdk-invocation-id", uuid_of(ask.request_id).encode())]
        return Sent(b"/generateAssistantResponse", [*filled(headers, ours), bearer(lease)], body)


def _profile(lease: Lease) -> str:
    return lease.facts.get("profile_arn", "").strip()
