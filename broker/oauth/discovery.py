"""Finding a provider's endpoints from its issuer (RFC 8414, OpenID Connect Discovery 1.0).

Owns: the two well-known addresses, the order they are asked in, and what makes metadata trustworthy. It must never follow a redirect.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import msgspec

from broker.oauth.failures import FlowFailedError, Misconfigured, Transient
from broker.oauth.messages import Flow, HttpRequest, HttpResponse

_OAUTH = "/.well-known/oauth-authorization-server"
_OPENID = "/.well-known/openid-configuration"


class Metadata(msgspec.Struct, frozen=True):
    """The endpoints an issuer publishes; None where it has no such one."""

    issuer: str
    authorize_url: str | None = None
    token_url: str | None = None
    revoke_url: str | None = None
    userinfo_url: str | None = None
    device_url: str | None = None


def well_known(issuer: str) -> tuple[str, ...]:
    """Return the addresses of an issuer's metadata, best first.

    RFC 8414 section 3.1 puts the well-known part between host and path, OpenID Connect Discovery section 4 puts it at the end.
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return tuple(urlunsplit((parts.scheme, parts.netloc, p, "", "")) for p in (_OAUTH + path, path + _OPENID))


def discover(issuer: str) -> Flow[Metadata]:
    """Fetch and check the metadata of `issuer`.

    Raises:
        FlowFailedError: `Misconfigured` where no metadata is found or it belongs to another issuer or names an endpoint that is not https (or http on
            loopback); `Transient` where the issuer does not answer as it should just now.
    """
    passing = False
    for url in well_known(issuer):
        answer = yield HttpRequest("GET", url, headers={"Accept": "application/json"})
        if (document := _document(answer)) is not None:
            return _checked(document, issuer)
        passing = passing or answer.status == 429 or answer.status >= 500
    if passing:
        raise FlowFailedError(Transient(f"{issuer} does not tell its endpoints right now"))
    raise _fault(f"{issuer} publishes no metadata: give authorize_url and token_url in the config instead")


def acceptable_url(url: str) -> bool:
    """Tell whether an endpoint may be used: https, or http on a loopback host; no user name in it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if not host or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _document(answer: HttpResponse) -> Mapping[str, object] | None:
    if answer.status != 200:
        return None
    return answer.document()


def _checked(document: Mapping[str, object], issuer: str) -> Metadata:
    named = document.get("issuer")
    # RFC 8414 section 3.3: identical, or the document is somebody else's. A trailing slash is the one difference the config may have.
    if not isinstance(named, str) or named.rstrip("/") != issuer.rstrip("/"):
        raise _fault(f"the metadata of {issuer} names another issuer")
    return Metadata(
        issuer=named,
        authorize_url=_endpoint(document, "authorization_endpoint", issuer),
        token_url=_endpoint(document, "token_endpoint", issuer),
        revoke_url=_endpoint(document, "revocation_endpoint", issuer),
        userinfo_url=_endpoint(document, "userinfo_endpoint", issuer),
        device_url=_endpoint(document, "device_authorization_endpoint", issuer),
    )


def _endpoint(document: Mapping[str, object], name: str, issuer: str) -> str | None:
    url = document.get(name)
    if url is None:
        return None
    if not isinstance(url, str) or not acceptable_url(url):
        raise _fault(f"the metadata of {issuer} has an {name} that is not an https URL")
    return url


def _fault(reason: str) -> FlowFailedError:
    return FlowFailedError(Misconfigured("discovery_failed", reason))
