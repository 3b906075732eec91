"""OpenAI's encrypted reasoning among the signatures of other vendors.

Owns: marking it, so that it is only ever given back to an API that speaks OpenAI Responses, and nothing of others to that one: signatures are opaque, and one
of another vendor is refused.
"""

from typing import Final

_MARK: Final = "openai."  # no signature of a vendor holds a full stop: they are base64


def marked(encrypted: str) -> str:
    """Return encrypted reasoning as it stands in `ir` as a signature."""
    return _MARK + encrypted


def is_marked(signature: str) -> bool:
    """Tell whether a signature is OpenAI's."""
    return signature.startswith(_MARK)


def unmarked(signature: str | None) -> str | None:
    """Return the encrypted reasoning a signature holds; None where it is of another vendor."""
    return signature[len(_MARK) :] if signature is not None and is_marked(signature) else None
