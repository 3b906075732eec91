"""Server-sent events: an incremental parser and an encoder.

Owns: the framing of the HTML standard, section "Server-sent events". It must never look into the data.

Lines may be tens of megabytes (a 4K image is one line): a line that comes in pieces grows in place, so the cost is linear however finely the bytes
are cut, and it is never there twice but for the moment in which its value is cut out.
"""

from typing import Final

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.blob import written
from broker.translate.ir import Value

DONE: Final = b"data: [DONE]\n\n"
"""The end of a stream in OpenAI's dialects."""

MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of one event held. Images of 20 to 25 MB are real; above this a peer is broken or hostile."""

_ENDS: Final = (b"\n\n", b"\r\n\r\n")
_BOM = b"\xef\xbb\xbf"


class SseEvent(Value, frozen=True):
    """One event. `name` is empty for the default type; ids and retry hints are not used by any dialect here."""

    data: bytes
    name: str = ""


class SseParser:
    """Bytes cut anywhere to events. Lines end in LF, CR or CRLF; comments and unknown fields are skipped."""

    __slots__ = ("_begun", "_data", "_first", "_held", "_limit", "_name", "_skip_lf")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        """Hold at most `limit` bytes of an unfinished event."""
        self._limit = limit
        self._begun = bytearray()  # a line that has no end yet
        self._data: list[bytes] = []
        self._name = ""
        self._held = 0
        self._skip_lf = False
        self._first = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Return the events these bytes complete.

        Raises:
            BrokerError: `too_large` when an event outgrows the limit; the parser is then of no further use.
        """
        if not chunk:
            return []
        if not (self._first or self._begun or self._data or self._name or self._skip_lf):
            alone = _alone(chunk)
            if alone is not None:
                return [SseEvent(alone)]
        events: list[SseEvent] = []
        *lines, rest = self._lines(chunk)
        for line in lines:
            # The two kinds of line nearly every stream is made of stand here, for speed.
            if self._begun or self._first:
                self._joined(line, events)
            elif line[:6] == b"data: ":
                self._data.append(line[6:])
                self._held += len(line)
            elif line:
                self._field(line)
            else:
                self._dispatch(events)
        if rest:
            self._begun += rest
            self._held += len(rest)
        if self._held > self._limit:
            raise BrokerError(ErrorCode.TOO_LARGE, f"an event of the stream is larger than {self._limit} bytes")
        return events

    def close(self) -> list[SseEvent]:
        """Return what an upstream left without its final blank line; the standard would drop it, some upstreams do this."""
        events: list[SseEvent] = []
        if self._begun:
            self._joined(b"", events)
        self._dispatch(events)
        return events

    def _lines(self, chunk: bytes) -> list[bytes]:
        if self._skip_lf and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._skip_lf = False
        if b"\r" in chunk:
            self._skip_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n")
            if b"\r" in chunk:
                chunk = chunk.replace(b"\r", b"\n")
        return chunk.split(b"\n")

    def _joined(self, end: bytes, events: list[SseEvent]) -> None:
        """Take a line that came in several reads, or the first of all."""
        line, self._begun = self._begun, bytearray()
        self._held -= len(line)
        line += end
        if self._first:
            self._first = False
            if line.startswith(_BOM):
                del line[: len(_BOM)]
        if line:
            self._grown(line)
        else:
            self._dispatch(events)

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._held += len(line)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")

    def _grown(self, line: bytearray) -> None:
        """Take a line that came in pieces. Its value may be an image, and is cut out at once."""
        for name in (b"data: ", b"data:"):
            if line.startswith(name):
                self._data.append(bytes(memoryview(line)[len(name) :]))
                self._held += len(line)
                return
        self._field(bytes(line))

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(SseEvent(data, self._name))
            self._data.clear()
            self._held = 0
        self._name = ""


def _alone(chunk: bytes) -> bytes | None:
    """Return the data of a chunk that is one event of one line, as most are; None for any other."""
    end = len(chunk) - (4 if chunk.endswith(b"\r\n\r\n") else 2)
    if chunk[:6] != b"data: " or chunk[end:] not in _ENDS:
        return None
    return chunk[6:end] if chunk.find(b"\n", 0, end) < 0 and chunk.find(b"\r", 0, end) < 0 else None


def encode_event(data: bytes, name: str = "") -> bytes:
    """Frame one event. `data` may hold line feeds (each becomes a `data` line), but no CR."""
    head = f"event: {name}\n".encode() if name else b""
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    return b"".join((head, b"data: ", data, b"\n\n"))


def write_event(value: object, name: str = "") -> bytes:
    """Frame one event whose data is a value's JSON; a blob in it is copied once."""
    head = f"event: {name}\ndata: ".encode() if name else b"data: "
    out = written(value, head, b"\n\n")
    if out.count(b"\n") == head.count(b"\n") + 2:
        return out
    return encode_event(written(value), name)  # JSON of somebody else's making has lines


def encode_comment(text: str = "") -> bytes:
    """Frame a comment, which clients skip: a sign of life. `text` is one line."""
    return f": {text}\n\n".encode()
