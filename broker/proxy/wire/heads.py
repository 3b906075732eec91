"""Message heads as values: what a request must look like to be served, and how heads are written.

Owns: the rules of RFC 9112 that llhttp leaves to its user (Host, request target, transfer coding) and the bytes of every head we send.
Pure; it must never see a socket.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeVar, cast

import msgspec

T = TypeVar("T")
Headers = list[tuple[bytes, bytes]]
"""Names in lower case, values without surrounding white space, in the order they came."""

MAX_TARGET_BYTES: Final = 8192
_BODILESS: Final = frozenset({204, 304})
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES: Final = {code: b"HTTP/1.1 %d %s\r\n" % (code, _REASONS.get(code, b"")) for code in range(100, 600)}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestHead(msgspec.Struct, frozen=True):
    """A request's head, checked. `path` and `query` are as sent, not decoded; `path` starts with `/` (or is `*` for OPTIONS).

    `length` is the Content-Length; None for a chunked body and for none. `headers` are as `Headers` says. `made` is what was worked out of the head, by
    whoever did; a client that sends the same head again finds it there, whatever the length.
    """

    method: str
    path: str
    query: str
    headers: Headers
    http11: bool = True
    keep_alive: bool = True
    length: int | None = None
    chunked: bool = False
    expects_continue: bool = False
    made: dict[object, object] = {}

    def derived(self, make: Callable[["RequestHead"], T]) -> T:
        """Return what `make` makes of this head, worked out once; it must look at nothing but the head, and not at its length."""
        if make not in self.made:
            self.made[make] = make(self)
        return cast("T", self.made[make])

    def get(self, name: bytes) -> bytes | None:
        """Return the first header of that (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def has_body(self) -> bool:
        """Whether bytes follow the head."""
        return self.chunked or bool(self.length)


class ResponseHead(msgspec.Struct, frozen=True):
    """A response's head. `length` is None where the body is chunked or ends with the connection."""

    status: int
    headers: Headers
    length: int | None = None

    def get(self, name: bytes) -> bytes | None:
        """Return the first header of that (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class HeadError(Exception):
    """A request we don't serve: the status to answer with and one sentence."""

    def __init__(self, status: int, text: str) -> None:
        """Carry both."""
        super().__init__(text)
        self.status = status
        self.text = text


def check_request(method: bytes, target: bytes, headers: Headers, version: str) -> RequestHead:
    """Judge a head that llhttp accepted.

    Raises:
        HeadError: HTTP other than 1.0 and 1.1, CONNECT, upgrades, a missing or repeated Host (RFC 9112 section 3.2), transfer codings other
            than one `chunked` (6.1; and any with HTTP/1.0), targets that are neither origin form nor absolute form for the same host,
            fragments, unknown expectations.
    """
    if version not in ("1.1", "1.0"):
        raise HeadError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    http11 = version == "1.1"
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _WATCHED:
            # Repeated Connection headers are one list (RFC 9110 section 5.3); the others may come once.
            if name in found and name != b"connection":
                raise HeadError(400, f"more than one {name.decode()} header")
            found[name] = found[name] + b"," + value if name in found else value
    host = found.get(b"host")
    if host is None and http11:
        raise HeadError(400, "no Host header")
    if b"upgrade" in found:
        raise HeadError(501, "there is nothing to upgrade to")
    path, _, query = _target(method, target, host).partition("?")
    length = found.get(b"content-length")
    chunked = _is_chunked(found.get(b"transfer-encoding"), http11=http11)
    if chunked and length is not None:
        raise HeadError(400, "a body has a length or is chunked, not both")
    return RequestHead(
        method.decode(),
        path,
        query,
        headers,
        http11,
        http11 and b"close" not in _tokens(found.get(b"connection", b"")),
        None if length is None else int(length),
        chunked,
        _expects_continue(found.get(b"expect"), http11=http11),
    )


_WATCHED: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"})


def response_head(status: int, headers: Headers, *, length: int | None, chunked: bool, keep_alive: bool) -> bytes:
    """Write a response's head; framing headers are ours, so `headers` must hold none.

    Raises:
        ValueError: a header name or value holds a byte that would end it.
    """
    return begun_head(status, lines(headers), length=length, chunked=chunked, keep_alive=keep_alive)


def begun_head(status: int, fields: bytes, *, length: int | None, chunked: bool, keep_alive: bool) -> bytes:
    """Write a response's head, as `response_head` does; `fields` are what `lines` made of its headers."""
    framing = b""
    if status not in _BODILESS:
        if chunked:
            framing = b"transfer-encoding: chunked\r\n"
        elif length is not None:
            framing = b"content-length: %d\r\n" % length
    end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    return b"".join((_STATUS_LINES[status], fields, framing, end))


def whole_head(status: int, fields: bytes, length: int, *, keep_alive: bool) -> bytes:
    """Write the head of a response that has a body of a length; `fields` are what `lines` made of its headers."""
    end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    return b"%b%bcontent-length: %d\r\n%b" % (_STATUS_LINES[status], fields, length, end)


def request_head(method: bytes, target: bytes, host: bytes, headers: Headers, length: int | None) -> bytes:
    """Write a request's head for an upstream; raises as `response_head` does. `length` None means no body and no header that names it."""
    begun = without_length(method, target, host, headers)
    return begun + b"\r\n" if length is None else with_length(begun, length)


def with_length(begun: bytes, length: int) -> bytes:
    """Finish a head that `without_length` began."""
    return b"%bcontent-length: %d\r\n\r\n" % (begun, length)


def without_length(method: bytes, target: bytes, host: bytes, headers: Headers) -> bytes:
    """Begin a request's head: all but the length of its body and the end. Raises as `response_head` does."""
    if len(target.translate(None, _NO_TARGET)) != len(target):
        raise ValueError("a request target with a space or control character")
    return b"".join((method, b" ", target, b" HTTP/1.1\r\nhost: ", host, b"\r\n", lines(headers)))


def bodiless(method: str, status: int) -> bool:
    """Tell whether a response has no body whatever its headers say (RFC 9112 section 6.3)."""
    return method == "HEAD" or status in _BODILESS or status < 200


def chunk(data: bytes) -> bytes:
    """Return the line that opens a chunk of `data`; the data and an end of line follow it."""
    return b"%x\r\n" % len(data)


LAST_CHUNK: Final = b"0\r\n\r\n"


def lines(headers: Headers) -> bytes:
    """Write header fields. Raises as `response_head` does."""
    parts: list[bytes] = []
    for name, value in headers:
        if name not in _SEEN and not _is_token(name):
            raise ValueError("a header whose name is none")
        parts += (name, b": ", value, b"\r\n")
    text = b"".join(parts)
    if text.count(b"\n") != len(headers) or text.count(b"\r") != len(headers) or b"\0" in text:
        raise ValueError("a header that would break the head")
    return text


def _is_token(name: bytes) -> bool:
    good = bool(name) and not name.translate(None, _TOKEN)
    if good and len(name) <= _SEEN_BYTES:
        if len(_SEEN) >= _SEEN_NAMES:
            _SEEN.clear()
        _SEEN.add(name)
    return good


_NO_TARGET: Final = bytes(range(0x21)) + b"\x7f"
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SEEN: Final[set[bytes]] = set()  # names that are good; others choose them, so there are not many and none is long
_SEEN_NAMES: Final = 1024
_SEEN_BYTES: Final = 64


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip().lower() for token in value.split(b",")]


def _is_chunked(coding: bytes | None, *, http11: bool) -> bool:
    if coding is None:
        return False
    if not http11:
        raise HeadError(400, "Transfer-Encoding does not exist in HTTP/1.0")
    if coding.lower() != b"chunked":
        raise HeadError(501, "the only transfer coding understood is chunked")
    return True


def _expects_continue(expectation: bytes | None, *, http11: bool) -> bool:
    if expectation is None:
        return False
    if expectation.lower() != b"100-continue":
        raise HeadError(417, "the only expectation understood is 100-continue")
    return http11  # RFC 9110 section 10.1.1: ignored in HTTP/1.0


def _target(method: bytes, target: bytes, host: bytes | None) -> str:
    if len(target) > MAX_TARGET_BYTES:
        raise HeadError(414, f"the request target is longer than {MAX_TARGET_BYTES} bytes")
    if b"#" in target:
        raise HeadError(400, "a request target has no fragment")
    if target.startswith(b"/"):
        return target.decode("ascii")
    if method == b"CONNECT":
        raise HeadError(501, "this is not a tunnel")
    if target == b"*" and method == b"OPTIONS":
        return "*"
    authority, slash, rest = target[7:].partition(b"/")
    if target[:7].lower() != b"http://" or not slash:
        raise HeadError(400, "not a request target")
    if authority != host:
        raise HeadError(400, "the host of the target is not the host of the request")
    return "/" + rest.decode("ascii")
