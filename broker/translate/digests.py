"""Ids in the shapes vendors expect, made of what is already known.

Owns: a UUID and a number of a text. Pure: the same text gives the same id, so that a conversation keeps its own. It must never be given a secret.
"""

import hashlib
import uuid


def uuid_of(text: str) -> str:
    """Return a UUID (RFC 9562, version 8's purpose in version 4's clothes: vendors know only that one)."""
    return str(uuid.UUID(bytes=_digest(text)[:16], version=4))


def number_of(text: str | memoryview) -> int:
    """Return a number of 63 bits, never negative."""
    return int.from_bytes(_digest(text)[:8]) >> 1


def _digest(text: str | memoryview) -> bytes:
    told = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return hashlib.sha256(told).digest()
