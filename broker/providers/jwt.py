"""Claims of an ID token.

Owns: reading the payload of a JSON Web Token (RFC 7519). The signature is not checked and must not be relied on: OpenID Connect Core section
3.1.3.7 point 6 allows that for a token that came over TLS straight from the token endpoint, and what is read here names the user's own
account for the user's own eyes. It must never be used on a token that came from anywhere else to decide who someone is.
"""

import base64
import binascii
from collections.abc import Mapping

import msgspec

from broker.model.secret import Secret

_PAYLOAD_MAX = 65_536
_LATEST = 253_402_214_400  # 9999-12-31, as with the times of auth files


def claims(token: Secret | None) -> Mapping[str, object]:
    """Return the claims; empty where there is no token or it is not a JWT with an object inside."""
    parts = token.reveal().split(".") if token else []
    if len(parts) != 3 or len(parts[1]) > _PAYLOAD_MAX:
        return {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        found = msgspec.json.decode(payload)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def expiry(token: Secret | None) -> float | None:
    """Return when a token ends by its own `exp` (RFC 7519 section 4.1.4), in seconds since the epoch; None where it does not say."""
    found = claims(token).get("exp")
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 < found <= _LATEST:
        return None
    return float(found)


def text_claim(found: Mapping[str, object], name: str) -> str | None:
    """Return a claim that is non-empty text, else None."""
    value = found.get(name)
    return value if isinstance(value, str) and value else None
