"""What is written of one request.

Owns: the parts of a request as values, the name of its folder, and the text of each file in it. Pure. No text may leave it unmasked.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import msgspec

from broker.model.secret import Secret
from broker.proxy.reqlog.capture import Captured
from broker.proxy.reqlog.cutting import marker
from broker.proxy.reqlog.masking import Headers, Mask, credentials
from broker.translate.codecs import Dialect

DIRECTORY: Final = "request-log"
"""Where the config names no directory: this one, in the proxy's state directory."""

SUMMARY: Final = "summary.json"
LEFT: Final = 499
"""The status of a request whose client left."""

_NAME: Final = re.compile(r"(\d{8}T\d{6}\.\d{3})Z-([\w-]{1,64})-(\d{3})")
_TIME: Final = "%Y%m%dT%H%M%S"
_PHRASES: Final = {each.value: each.phrase.encode() for each in HTTPStatus}


class Try(msgspec.Struct, frozen=True):
    """One request to an upstream, and what came of it.

    `account` is its name in logs. Times are seconds since the client's request began; `status` is None where no answer began, `first` where no byte of
    its body came.
    """

    number: int
    account: str
    provider: str
    kind: str
    dialect: Dialect
    model: str
    url: str
    token: Secret | None
    head: bytes
    body: Captured
    sent: float
    ended: float
    status: int | None = None
    headers: Headers = []
    answer: Captured = Captured(b"")
    first: float | None = None


class Entry(msgspec.Struct, frozen=True):
    """One client's request from its first byte to its end.

    `began` is a wall-clock time, `seconds` and `first` count from it; `model` and `key` are what was asked for, and the name of the key that opened.
    `left_out` attempts are missing among `tries`. `told` is the head of the client's answer, None where it got none. `secrets` are
    those that everybody who asks may know.
    """

    id: str
    began: float
    seconds: float
    route: str
    method: str
    path: str
    query: str
    headers: Headers
    body: Captured
    status: int
    cut: bool
    model: str | None = None
    key: str | None = None
    told: tuple[int, Headers] | None = None
    answer: Captured = Captured(b"")
    first: float | None = None
    tries: tuple[Try, ...] = ()
    left_out: int = 0
    secrets: tuple[Secret, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of bodies it holds."""
        return self.body.size + self.answer.size + sum(each.body.size + each.answer.size for each in self.tries)

    @property
    def failed(self) -> bool:
        """Whether the client did not get what it asked for."""
        return self.cut or self.status >= 400


def folder_name(began: float, request_id: str, status: int) -> str:
    """Return `20261121T192358.123Z-ID-200`: in the order of time, and readable."""
    moment = datetime.fromtimestamp(began, UTC)
    return f"{moment.strftime(_TIME)}.{moment.microsecond // 1000:03}Z-{request_id}-{status:03}"


def began_at(name: str) -> float | None:
    """Return when the request of a folder began; None for what is no folder of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    seconds, _, thousandths = found[1].partition(".")
    try:
        moment = datetime.strptime(seconds, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp() + int(thousandths) / 1000


def files(entry: Entry, max_string_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and text of each file of a request."""
    mask = Mask(_secrets(entry))

    def message(first: bytes, headers: Headers, body: Captured) -> bytes:
        return mask.head(first, headers) + (
            # What is packed cannot be looked through.
            marker(body.total) if _packed(headers) else mask.body(body, max_string_bytes)
        )

    query = f"?{entry.query}" if entry.query else ""
    first = f"{entry.method} {entry.path}{query} HTTP/1.1".encode("utf-8", "surrogateescape")
    yield "client-request", message(first, entry.headers, entry.body)
    for each in entry.tries:
        yield f"upstream-request-{each.number}", message(*_parsed(each.head), each.body)
        if each.status is not None:
            yield f"upstream-response-{each.number}", message(_status(each.status), each.headers, each.answer)
    if entry.told is not None:
        status, headers = entry.told
        yield "client-response", message(_status(status), headers, entry.answer)
    yield SUMMARY, mask.text(_summary(entry))


def _secrets(entry: Entry) -> Iterator[Secret]:
    yield from entry.secrets
    yield from credentials(entry.headers, entry.query)
    yield from credentials(entry.told[1] if entry.told is not None else [])
    for each in entry.tries:
        if each.token is not None:
            yield each.token
        first, headers = _parsed(each.head)
        yield from credentials(headers, first.decode("latin-1").partition("?")[2].partition(" ")[0])
        yield from credentials(each.headers)


def _parsed(head: bytes) -> tuple[bytes, Headers]:
    first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    parted = (line.partition(b": ") for line in lines)
    return first, [(name, value) for name, _, value in parted]


def _packed(headers: Headers) -> bool:
    return any(name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in headers)


def _status(status: int) -> bytes:
    return b"HTTP/1.1 %d %s" % (status, _PHRASES.get(status, b""))


def _summary(entry: Entry) -> bytes:
    told = {
        "id": entry.id,
        "began": datetime.fromtimestamp(entry.began, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "seconds": round(entry.seconds, 3),
        "first_byte_seconds": _rounded(entry.first),
        "method": entry.method,
        "path": entry.path,
        "route": entry.route,
        "model": entry.model,
        "opened_by": entry.key,
        "status": entry.status,
        "outcome": _outcome(entry),
        "request_bytes": entry.body.total,
        "response_bytes": entry.answer.total,
        "attempts": [_attempt(each) for each in entry.tries],
        "attempts_left_out": entry.left_out,
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def _outcome(entry: Entry) -> str:
    if entry.status == LEFT:
        return "client left"
    if entry.cut:
        return "cut"
    return "refused" if entry.failed else "ok"


def _attempt(each: Try) -> dict[str, object]:
    return {
        "number": each.number,
        "account": each.account,
        "provider": each.provider,
        "upstream": each.kind,
        "dialect": each.dialect,
        "model": each.model,
        "url": each.url,
        "status": each.status,
        "began_seconds": round(each.sent, 3),
        "seconds": round(each.ended - each.sent, 3),
        "first_byte_seconds": None if each.first is None else round(each.first - each.sent, 3),
        "request_bytes": each.body.total,
        "response_bytes": each.answer.total,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
