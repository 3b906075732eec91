"""`application/vnd.amazon.eventstream`: an incremental parser.

Owns: the framing, both of its checksums, and the types of header values. It must never look into a payload, and never go on after a fault: where one frame
is wrong, nothing says where the next begins.

A frame is: its whole length and that of its headers (4 bytes each), the CRC-32 of these 8 bytes, the headers, the payload, the CRC-32 of all before it. Numbers
are big-endian. A header is a name (1 byte of length), a byte for the type of its value, and the value.

Source: AWS's documentation of the encoding (docs.aws.amazon.com, "Event stream encoding" of Transcribe and of Lex), and Smithy's ("Amazon Event Stream
Specification").
"""

import struct
from collections.abc import Mapping
from typing import Final
from uuid import UUID
from zlib import crc32

from broker.translate.ir import Value

HeaderValue = bool | int | bytes | str | UUID
"""A timestamp is its milliseconds since the epoch."""

MAX_HEADER_BYTES: Final = 128 * 1024
MAX_PAYLOAD_BYTES: Final = 24 * 1024 * 1024
"""What AWS's own clients take of one frame at most; a peer that says more is broken or hostile."""

_PRELUDE: Final = 12
_CRC: Final = 4
_NUMBERS: Final = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    4: struct.Struct(">i"),
    5: struct.Struct(">q"),
    8: struct.Struct(">q"),
}
_WORDS: Final = struct.Struct(">III")


class FrameError(Exception):
    """The bytes are no event stream; the text says why. `before` are the frames that the same bytes completed before the fault."""

    before: "tuple[Frame, ...]" = ()


class Frame(Value, frozen=True):
    """One frame, checked. Names of headers are unique."""

    headers: Mapping[str, HeaderValue]
    payload: bytes

    def text(self, name: str) -> str:
        """Return a header's text; empty where it is not there, or of another type."""
        found = self.headers.get(name)
        return found if isinstance(found, str) else ""


class FrameParser:
    """Bytes cut anywhere to frames. A frame's pieces are joined once, so the cost is linear however finely the bytes are cut."""

    __slots__ = ("_held", "_needed", "_pieces")

    def __init__(self) -> None:
        """Begin."""
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = _PRELUDE

    @property
    def between(self) -> bool:
        """Whether everything taken so far was whole frames."""
        return self._held == 0

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the frames these bytes complete.

        Raises:
            FrameError: a checksum is wrong, a frame is too large, or its headers are none; the parser is then of no further use.
        """
        self._pieces.append(chunk)
        self._held += len(chunk)
        if self._held < self._needed:
            return []
        data = b"".join(self._pieces)
        frames: list[Frame] = []
        at, self._needed = 0, _PRELUDE
        try:
            while len(data) - at >= _PRELUDE:
                whole, headers = _lengths(data, at)
                if len(data) - at < whole:
                    self._needed = whole
                    break
                frames.append(_frame(data[at : at + whole], headers))
                at += whole
        except FrameError as error:
            error.before = tuple(frames)
            raise
        self._pieces = [data[at:]]
        self._held = len(data) - at
        return frames


def _lengths(data: bytes, at: int) -> tuple[int, int]:
    """Return the length of the frame that begins at `at`, and of its headers."""
    whole, headers, told = _WORDS.unpack_from(data, at)
    if crc32(data[at : at + 8]) != told:
        raise FrameError("the checksum of a frame's lengths is wrong")
    payload = whole - _PRELUDE - headers - _CRC
    if payload < 0:
        raise FrameError("a frame is shorter than its headers")
    if headers > MAX_HEADER_BYTES or payload > MAX_PAYLOAD_BYTES:
        raise FrameError(f"a frame has {headers} bytes of headers and {payload} of payload, which is too much")
    return whole, headers


def _frame(data: bytes, headers: int) -> Frame:
    if crc32(data[:-_CRC]) != int.from_bytes(data[-_CRC:]):
        raise FrameError("the checksum of a frame is wrong")
    begin = _PRELUDE + headers
    return Frame(_headers(data[_PRELUDE:begin]), data[begin:-_CRC])


def _headers(data: bytes) -> dict[str, HeaderValue]:
    reader = _Bytes(data)
    found: dict[str, HeaderValue] = {}
    while reader.left:
        name = reader.text(reader.number(1))
        if not name or name in found:
            raise FrameError("a frame's header has no name, or that of another")
        found[name] = _value(reader)
    return found


def _value(reader: "_Bytes") -> HeaderValue:
    kind = reader.number(1)
    if kind in _NUMBERS:
        form = _NUMBERS[kind]
        number: int = form.unpack(reader.take(form.size))[0]
        return number
    match kind:
        case 0 | 1:
            return kind == 0
        case 6:
            return reader.take(reader.number(2))
        case 7:
            return reader.text(reader.number(2))
        case 9:
            return UUID(bytes=reader.take(16))
        case _:
            raise FrameError(f"a frame's header is of the unknown type {kind}")


class _Bytes:
    """A place in the bytes of a frame's headers."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise FrameError("a frame's headers end in the middle of one")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise FrameError("a frame's header is no UTF-8") from None
