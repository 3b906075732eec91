"""An encoder of AWS's event stream, written from its description and apart from the parser under test: its own CRC, its own layout."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ 0xEDB88320 if value & 1 else value >> 1
        table.append(value)
    return table


_TABLE = _table()


def crc(data: bytes) -> int:
    """Return the CRC-32 that gzip uses (RFC 1952, section 8)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def word(number: int) -> bytes:
    return number.to_bytes(4, "big")


Header = tuple[str, str, Any]
"""(name, type, value); the types are those of the description."""

_SIZES = {"byte": (2, 1), "short": (3, 2), "integer": (4, 4), "long": (5, 8), "timestamp": (8, 8)}


def header(name: str, kind: str, value: Any) -> bytes:
    """Write one header."""
    named = bytes([len(name.encode())]) + name.encode()
    if kind in _SIZES:
        code, size = _SIZES[kind]
        return named + bytes([code]) + int(value).to_bytes(size, "big", signed=True)
    if kind == "boolean":
        return named + (b"\x00" if value else b"\x01")
    if kind == "uuid":
        assert isinstance(value, uuid.UUID)
        return named + b"\x09" + value.bytes
    data = value.encode() if kind == "string" else value
    return named + (b"\x07" if kind == "string" else b"\x06") + len(data).to_bytes(2, "big") + data


def framed(headers: bytes, payload: bytes) -> bytes:
    """Put written headers and a payload into a frame."""
    lengths = word(12 + len(headers) + len(payload) + 4) + word(len(headers))
    begun = lengths + word(crc(lengths)) + headers + payload
    return begun + word(crc(begun))


def frame(headers: Sequence[Header], payload: bytes = b"") -> bytes:
    """Write one frame."""
    return framed(b"".join(header(*each) for each in headers), payload)


def texts(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Write one frame whose headers are all text."""
    return frame([(name, "string", value) for name, value in headers.items()], payload)
