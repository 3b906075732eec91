"""Long base64 text that stays where it came: a place in the JSON of a client or an upstream, instead of copies of 20 MB.

Owns: `Blob`, finding one in a JSON string, and writing JSON that holds some. It must never decode the content, nor take for a blob what JSON would have to
unescape first.
"""

from collections.abc import Iterator
from typing import Final, final

import msgspec

LONG: Final = 65_536
"""Bytes from which on a copy is worth to be spared; what is shorter is text like any other."""

_JSON: Final = msgspec.json.Encoder()
_QUOTE: Final = 0x22
_PLACE: Final = b"\0"  # no JSON text holds this byte: control characters are escaped in strings, and stand nowhere else
_HERE: Final = msgspec.Raw(_PLACE)


@final
class Blob:
    """ASCII text that means itself in JSON, maybe after a `head` (how a `data:` URL begins). It keeps the body alive that it stands in."""

    __slots__ = ("_view", "head")

    def __init__(self, view: memoryview, head: str = "") -> None:
        """Stand where `view` shows."""
        self._view = view
        self.head = head

    def begins(self, length: int) -> str:
        """Return the first characters of a text without a head."""
        return str(self._view[:length], "ascii")

    def after(self, length: int) -> "Blob":
        """Return what comes after the first characters of a text without a head."""
        return Blob(self._view[length:])

    def headed(self, head: str) -> "Blob":
        """Return it after another head."""
        return Blob(self._view, head)

    def pieces(self) -> tuple[bytes, memoryview, bytes]:
        """Return what it is as a JSON string, in pieces."""
        return msgspec.json.encode(self.head)[:-1], self._view, b'"'

    def __str__(self) -> str:
        """Return the text, a copy."""
        return self.head + str(self._view, "ascii")

    def __repr__(self) -> str:
        """Say how long it is: what it holds is private, and long."""
        return f"<base64 text of {len(self._view)} bytes>"

    def __eq__(self, other: object) -> bool:
        """Compare as text."""
        return str(self) == str(other) if isinstance(other, Blob | str) else NotImplemented

    def __hash__(self) -> int:
        """Be found where the text is."""
        return hash(str(self))


Base64 = str | Blob
"""Base64 text, in a `data:` URL or not, which nothing here looks into."""


def blob_of(text: msgspec.Raw) -> Blob | None:
    """Return the blob a JSON text is; None where it is another value, is short, or has to be decoded: it holds escapes or more than ASCII."""
    view = memoryview(text)
    if len(view) < LONG or view[0] != _QUOTE:
        return None
    inside = view[1:-1]
    return Blob(inside) if _means_itself(inside) else None


def spared(text: str) -> Base64:
    """Return text as a blob, where it can be one: it has been decoded, but shall not be copied more than once when it is written."""
    return (blob_of(msgspec.Raw(_JSON.encode(text))) or text) if len(text) >= LONG else text


def written(value: object, head: bytes = b"", tail: bytes = b"") -> bytes:
    """Return JSON between two texts. Its blobs are copied once, to the place where they shall stand."""
    if isinstance(value, msgspec.Raw):
        return b"".join((head, value, tail))
    try:
        text = _JSON.encode(value)  # nearly always there is none, and a hook costs more than most texts
    except TypeError:
        return b"".join((head, *_pieces(value), tail))
    return head + text + tail if head or tail else text


def _pieces(value: object) -> Iterator[bytes | memoryview]:
    blobs: list[Blob] = []

    def place(found: object) -> msgspec.Raw:
        if not isinstance(found, Blob):
            raise NotImplementedError(type(found).__name__)
        blobs.append(found)
        return _HERE

    first, *others = msgspec.json.encode(value, enc_hook=place).split(_PLACE)
    yield first
    for blob, after in zip(blobs, others, strict=True):
        yield from blob.pieces()
        yield after


def _means_itself(view: memoryview) -> bool:
    """Tell whether text inside quotes stands for itself. Piece by piece, as a view cannot be searched: 3 ms for 20 MB."""
    pieces = (bytes(view[at : at + LONG]) for at in range(0, len(view), LONG))
    return all(piece.isascii() and b"\\" not in piece for piece in pieces)
