"""Proof key for code exchange (RFC 7636), S256 only.

Owns: the shape of a verifier and the challenge made from it. Randomness comes in as a `Chance`.
"""

import base64
import hashlib
import re

from broker.model.clock import Chance
from broker.model.secret import Secret

METHOD = "S256"
_VERIFIER_BYTES = 64  # 86 characters; RFC 7636 section 4.1 asks for 43 to 128
_STATE_BYTES = 32
_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


def new_verifier(chance: Chance) -> Secret:
    """Draw a code verifier: 86 unreserved characters, 512 random bits."""
    return Secret(chance.token(_VERIFIER_BYTES))


def new_state(chance: Chance) -> Secret:
    """Draw a state (RFC 6749 section 10.12): 43 characters, 256 random bits, to be used once."""
    return Secret(chance.token(_STATE_BYTES))


def challenge(verifier: Secret) -> str:
    """Return the S256 challenge of a verifier; it may be seen by anyone.

    Raises:
        ValueError: the verifier is not 43 to 128 unreserved characters.
    """
    text = verifier.reveal()
    if not _VERIFIER.fullmatch(text):
        raise ValueError("a PKCE verifier is 43 to 128 unreserved characters")
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
