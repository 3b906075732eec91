"""A second reader of HTTP/1.1, written from RFC 9112 alone and kind to nobody: what it and llhttp make of the same bytes must be the same.

Whatever has two readings is an end of reading here: both lengths, a repeated length, a length that is no plain number, white space where none belongs, a
bare CR or LF, a fold, a control character. `requests` and `answers` read all there is, and say how it ended.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/1\.([01])" % _TOKEN)
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_FIELD = re.compile(
    rb"(%b):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?)?)[ \t]*" % _TOKEN
)
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
# A value of no letters is forgiven: where the line ends is not in doubt, and what it says is dropped.
_CHUNK = re.compile(rb"0*([0-9A-Fa-f]{0,16})((?:;%b(?:=(?:%b|%b)?)?)*)" % (_TOKEN, _TOKEN, _QUOTED))
_DIGITS = re.compile(rb"[0-9]{1,19}")


class FramingError(Exception):
    """No HTTP/1.1 of one reading."""


class UnfinishedError(Exception):
    """So far it is, but it has no end yet."""


@dataclass
class Message:
    """`first` are the parts of the first line; `body` is None where it has no end yet."""

    first: tuple[bytes, ...]
    fields: list[tuple[bytes, bytes]]
    body: bytes | None = None
    to_the_end: bool = False
    """The body of an answer that ends with the connection."""

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name.encode()]

    @property
    def closes(self) -> bool:
        named = {token.strip().lower() for value in self.all("connection") for token in value.split(b",")}
        return b"close" in named or self.to_the_end

    @property
    def status(self) -> int:
        return int(self.first[1])


@dataclass
class Reading:
    """`rest` is what follows the last message that was read whole; `fault` why it could not be read, if it could not."""

    messages: list[Message] = field(default_factory=list)
    rest: bytes = b""
    fault: str | None = None

    @property
    def whole(self) -> list[Message]:
        return [each for each in self.messages if each.body is not None]

    @property
    def exact(self) -> bool:
        """Whether the bytes were messages and nothing else."""
        return not self.rest and self.fault is None and self.whole == self.messages


def requests(data: bytes, *, lenient: bool = False) -> Reading:
    """Read requests. `lenient` allows what RFC 9112 lets a server forgive, as it has one reading: empty lines before a request, several spaces in its line."""
    reading = Reading()
    while data and reading.fault is None:
        start = data.lstrip(b"\r\n") if lenient else data
        if not start:
            data = b""
            break
        data = _one(reading, start, lambda head: _request(head, lenient), False)
        if data == start:
            break
    reading.rest = data
    return reading


def answers(data: bytes, methods: Sequence[str] = (), *, closed: bool = False, lenient: bool = False) -> Reading:
    """Read answers; 1xx are left out. `methods` are those of the requests, GET where there are no more; `closed` says that no more bytes will come.

    `lenient` forgives empty lines before an answer.
    """
    reading = Reading()
    final = 0
    while data and reading.fault is None:
        if lenient and not (data := data.lstrip(b"\r\n")):
            break
        method = methods[final] if final < len(methods) else "GET"
        before = len(reading.messages)
        rest = _one(reading, data, lambda head, method=method: _status(head, method), closed)  # type: ignore[misc]
        if len(reading.messages) > before:
            last = reading.messages[-1]
            if last.body is not None and last.status < 200:
                reading.messages.pop()
            else:
                final += 1
            if last.body is not None and last.to_the_end:
                rest = b""
        if rest == data:
            break
        data = rest
    reading.rest = data
    return reading


def _one(reading: Reading, data: bytes, judge, closed: bool) -> bytes:  # type: ignore[no-untyped-def]
    """Read one message into `reading`; return what follows, or all of it where it has no end."""
    try:
        head, at = _head(data)
        message, length = judge(head)
        reading.messages.append(message)
        if length is None:
            message.to_the_end = True
            if closed:
                message.body = data[at:]
                return b""
            raise UnfinishedError
        if length < 0:
            body, at = _chunks(data, at)
        else:
            if len(data) - at < length:
                raise UnfinishedError
            body, at = data[at : at + length], at + length
        message.body = body
        return data[at:]
    except FramingError as error:
        reading.fault = str(error)
    except UnfinishedError:
        if closed:
            reading.fault = "it ended in the middle"
    return data


def _head(data: bytes) -> tuple[list[bytes], int]:
    end = data.find(b"\r\n\r\n")
    lines = (data if end < 0 else data[:end]).split(b"\r\n")
    checked = lines[:-1] if end < 0 else lines
    if any(b"\n" in line or b"\r" in line for line in checked):
        raise FramingError("a bare CR or LF")
    if end < 0:
        raise UnfinishedError
    return lines, end + 4


def _request(head: list[bytes], lenient: bool) -> tuple[Message, int | None]:
    line = re.sub(rb" +", b" ", head[0]) if lenient else head[0]
    found = _REQUEST.fullmatch(line)
    if found is None:
        raise FramingError("no request line")
    message = Message((found[1], found[2], found[3]), _fields(head[1:]))
    hosts = len(message.all("host"))
    if hosts > 1 or (hosts == 0 and found[3] == b"1"):
        raise FramingError("no one Host")
    length = _length(message, found[3])
    return message, 0 if length is None else length


def _status(head: list[bytes], method: str) -> tuple[Message, int | None]:
    found = _STATUS.fullmatch(head[0])
    if found is None:
        raise FramingError("no status line")
    message = Message((found[1], found[2]), _fields(head[1:]))
    length = _length(message, found[1])
    status = int(found[2])
    if method == "HEAD" or status < 200 or status in (204, 304):
        return message, 0
    return message, length


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    out = []
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise FramingError("a field that is none")
        out.append((found[1], found[2]))
    return out


def _length(message: Message, minor: bytes) -> int | None:
    """Return the length; -1 for chunked, None where nothing tells it."""
    lengths, codings = message.all("content-length"), message.all("transfer-encoding")
    if codings:
        if lengths or minor == b"0" or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise FramingError("a coding other than one chunked, or a length beside it")
        return -1
    if not lengths:
        return None
    if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise FramingError("no one plain length")
    return int(lengths[0])


def _chunks(data: bytes, at: int) -> tuple[bytes, int]:
    out = []
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            raise UnfinishedError
        found = _CHUNK.fullmatch(data, at, end)
        if found is None or end == at or data[at : at + 1] == b";":
            raise FramingError("no size of a chunk")
        size = int(found[1] or b"0", 16)
        at = end + 2
        if size == 0:
            return b"".join(out), _trailers(data, at)
        ending = data[at + size : at + size + 2]
        if not b"\r\n".startswith(ending):
            raise FramingError("a chunk that ends elsewhere")
        if len(ending) < 2:
            raise UnfinishedError
        out.append(data[at : at + size])
        at += size + 2


def _trailers(data: bytes, at: int) -> int:
    if data.startswith(b"\r\n", at):
        return at + 2
    lines, end = _head(data[at:])
    for name, _ in _fields(lines):
        if name.lower() in (b"content-length", b"transfer-encoding"):
            raise FramingError("framing in a trailer")
    return at + end
