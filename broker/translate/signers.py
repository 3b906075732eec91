"""Whose a signature in `ir` is.

Owns: the mark of what a vendor signed or encrypted, so that it is only ever given back to an API of the same dialect. Signatures are opaque, and one of
another vendor is refused. Google's carry no mark: theirs are all that have none.

A mark is the signer's name and a full stop. No signature holds one: they are base64.
"""

from enum import StrEnum


class Signer(StrEnum):
    """Who signs with a mark: any API that speaks the dialect of this vendor."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    CHAT = "chat"  # chat completions: nothing is signed there, but some want their thoughts back


def marked(by: Signer, signature: str) -> str:
    """Return a signer's signature, or what it encrypted, as it stands in `ir`."""
    return f"{by.value}.{signature}"


def unmarked(by: Signer, signature: str | None) -> str | None:
    """Return the signer's own text; None where there is none, or of another vendor."""
    mark = marked(by, "")
    return signature[len(mark) :] if signature is not None and signature.startswith(mark) else None


def of_google(signature: str | None) -> str | None:
    """Return a signature that bears no mark; None for all others."""
    return None if signature is None or "." in signature else signature
