"""Secrets, masked in what is written of a request.

Owns: which headers hold credentials, and the ways one may be spelt in a body. Three nets lie one under the other: headers and query parameters by their
names; the very keys and tokens this request was made with, wherever they stand; and what `observe.redact` takes for a credential. Pure. It may hide too much
and must never hide too little.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, quote

from broker.model.secret import Secret
from broker.observe.redact import MASK, redact_traffic
from broker.proxy.reqlog.capture import Captured
from broker.proxy.reqlog.cutting import beginning, cut, cut_form, ending, marker

Headers = list[tuple[bytes, bytes]]

_HIDDEN: Final = MASK.encode()
# Not the `tokens` of rate limits.
_SECRET_HEADER: Final = re.compile(
    rb"auth|cookie|secret|password|credential|api-?key|(?:^|-)key$|(?:^|[-_])token$|csrf|assertion", re.IGNORECASE
)
_SECRET_PARAMETER: Final = re.compile(
    r"(?:^|[-_])(?:key|token|secret|password|auth|code|state|sig|signature)$|api_?key", re.IGNORECASE
)
_FORM: Final = re.compile(rb"--[^\r\n]{1,70}(?=\r\n)")  # RFC 2046 section 5.1.1
_MIN_SECRET: Final = 6  # shorter ones would hide half of every text
_PIECE: Final = 16_384
"""Bytes that are looked through at a time: the interpreter's lock is held for as long, some milliseconds."""


def secret_header(name: bytes) -> bool:
    """Tell whether a header's value is a credential, by its name."""
    return _SECRET_HEADER.search(name) is not None


def credentials(headers: Headers, query: str = "") -> Iterator[Secret]:
    """Yield the credentials in a head: values of such headers, without the scheme, and of such query parameters."""
    for name, value in headers:
        if secret_header(name):
            text = value.decode("latin-1")
            yield Secret(text)
            scheme, _, rest = text.partition(" ")
            if rest and scheme.isalpha():
                yield Secret(rest.strip())
    for name_, value_ in parse_qsl(query):
        if _SECRET_PARAMETER.search(name_):
            yield Secret(value_)


class Mask:
    """Hides the secrets of one request."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        """Hide these, in every spelling, and what looks like a credential."""
        found = {each for secret in secrets for each in _spellings(secret.reveal())}
        self._exact = sorted(found, key=len, reverse=True)

    def head(self, first: bytes, headers: Headers) -> bytes:
        """Return a head as text: the first line, then the headers, then an empty line."""
        lines = [first, *(name + b": " + (_HIDDEN if secret_header(name) else value) for name, value in headers)]
        return self.text(b"\n".join(line.replace(b"\n", b" ") for line in lines)) + b"\n\n"

    def text(self, data: bytes) -> bytes:
        """Return a text with the secrets in it masked; all other bytes stay as they are."""
        return b"".join(_redacted(piece) for piece in _pieces(self._plain(data)))

    def body(self, body: Captured, max_string_bytes: int) -> bytes:
        """Return a body as it is written: secrets masked, long strings cut, and a marker in the place of what was not kept."""
        head, tail = self._plain(body.head), self._plain(body.tail)
        left = body.left
        if left:
            # A secret that lies across the edge is only known by its half.
            left += len(head) + len(tail)
            head, tail = ending(self._without_start_of_one(head)), beginning(self._without_end_of_one(tail))
            left -= len(head) + len(tail)
        form = _FORM.match(head)
        if form is not None:
            head, tail = (cut_form(part, form[0], max_string_bytes) for part in (head, tail))
        else:
            head, tail = cut(head, max_string_bytes), cut(tail, max_string_bytes)
        head, tail = (b"".join(_redacted(piece) for piece in _pieces(part)) for part in (head, tail))
        return head + marker(left) + tail

    def _plain(self, data: bytes) -> bytes:
        for secret in self._exact:
            data = data.replace(secret, _HIDDEN)
        return data

    def _without_start_of_one(self, head: bytes) -> bytes:
        longest = max((_overlap(head, secret) for secret in self._exact), default=0)
        return head[: len(head) - longest]

    def _without_end_of_one(self, tail: bytes) -> bytes:
        longest = max((_overlap(secret, tail) for secret in self._exact), default=0)
        return tail[longest:]


def _overlap(before: bytes, after: bytes) -> int:
    """Return how many bytes at the end of `before` are the beginning of `after`."""
    most = min(len(before), len(after))
    return next((length for length in range(most, 0, -1) if before.endswith(after[:length])), 0)


def _spellings(text: str) -> Iterator[bytes]:
    """Yield a secret as it stands in headers, in JSON, in JSON within JSON, and in URLs."""
    if len(text) < _MIN_SECRET:
        return
    within = json.dumps(text)[1:-1]
    for spelt in (
        text,
        quote(text, safe=""),
        quote(text),
        within,
        within.replace("/", "\\/"),
        json.dumps(within)[1:-1],
    ):
        yield spelt.encode("utf-8", "surrogateescape")


def _pieces(data: bytes, size: int = _PIECE) -> Iterator[bytes]:
    """Cut a text where nothing that is looked for goes on: before a name in JSON, else at the end of a line."""
    at = 0
    while len(data) - at > size:
        within = (at + 1, at + size)
        end = max(data.rfind(b',"', *within), at)
        if end == at:
            end = max(data.rfind(b"\n", *within), at)
        if end == at:
            end = at + (len(ending(data[at : at + size])) or size)
        yield data[at:end]
        at = end
    yield data[at:]


def _redacted(data: bytes) -> bytes:
    # Latin-1 has a character for each byte: whatever is not masked comes out as it went in.
    return redact_traffic(data.decode("latin-1")).encode("latin-1")
