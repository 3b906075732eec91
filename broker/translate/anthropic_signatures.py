"""Anthropic's signatures among those of other vendors.

Owns: the mark of what Anthropic signed or encrypted, so that it is only ever given back to an API that speaks Anthropic messages. Signatures are opaque, and
one of another vendor is refused. Google's carry no mark in `ir`: theirs are all that have none.

In `ir` a mark is a vendor's name and a full stop. No signature holds one: they are base64.
"""

from typing import Final

_MARK: Final = "anthropic."


def marked(signature: str) -> str:
    """Return Anthropic's signature, or what it redacted, as it stands in `ir`."""
    return _MARK + signature


def unmarked(signature: str | None) -> str | None:
    """Return Anthropic's own text; None where there is none, or of another vendor."""
    if signature is None or not signature.startswith(_MARK):
        return None
    return signature[len(_MARK) :]


def of_google(signature: str | None) -> str | None:
    """Return a signature that bears no vendor's mark; None for all others."""
    return None if signature is None or "." in signature else signature
