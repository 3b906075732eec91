"""Server-sent events: the framing of the push stream.

Owns: writing and reading of frames, as the HTML standard section 9.2 defines them. Pure. It must never know what the events mean.
"""

from typing import Final

import msgspec

from broker.model.errors import BrokerError, ErrorCode

__all__ = ["COMMENT", "MAX_EVENT_BYTES", "EventReader", "ServerEvent", "frame"]

COMMENT: Final = b":\n\n"
"""Keeps a silent stream alive; readers skip it."""

MAX_EVENT_BYTES: Final = 64 << 20  # a snapshot of 10,000 accounts is about 30 MB


class ServerEvent(msgspec.Struct, frozen=True):
    """One event. `id` is the last one seen, on this event or before."""

    id: str
    name: str
    data: bytes


def frame(event_id: str, name: str, data: bytes) -> bytes:
    """Write an event; `data` is one line (JSON is)."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), name.encode(), data)


class EventReader:
    """Turns bytes, cut anywhere, into events."""

    def __init__(self, *, limit: int = MAX_EVENT_BYTES) -> None:
        """Refuse events longer than `limit` bytes."""
        self._limit = limit
        self._tail = bytearray()
        self._seen = 0  # bytes of the tail known to hold no line end
        self._id = ""
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Take bytes, return the events they complete.

        Lines end with LF or CR LF; a bare CR, which the standard allows too, is never sent by the daemon and counts as part of its line.

        Raises:
            BrokerError: `too_large`.
        """
        self._tail += data
        events: list[ServerEvent] = []
        while (end := self._tail.find(b"\n", self._seen)) >= 0:
            line = bytes(self._tail[:end]).removesuffix(b"\r")
            del self._tail[: end + 1]
            self._seen = 0
            if (event := self._line(line)) is not None:
                events.append(event)
        self._seen = len(self._tail)
        if self._size + self._seen > self._limit:
            raise BrokerError(ErrorCode.TOO_LARGE, f"an event of the push stream is longer than {self._limit} bytes")
        return events

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field == b"event":
            self._name = value.decode(errors="replace")
        elif field == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        return None

    def _dispatch(self) -> ServerEvent | None:
        name, data = self._name, self._data
        self._name, self._data, self._size = "", [], 0
        return ServerEvent(self._id, name or "message", b"\n".join(data)) if data else None
