"""Forms with files, `multipart/form-data` (RFC 7578), in memory.

Owns: taking one apart into parts that know where they lie, and changing one part's value in place, every other byte as it was. It must never write to
disk, decode a value, or be kind: whoever reads a form after this program must find the same parts in it, so what two readers may understand differently is
refused.

Written here since the libraries that read forms give copies of the values and not their places.
"""

import re
from typing import Final

from broker.translate.fields import bad_field
from broker.translate.ir import Value

MAX_PARTS: Final = 100
"""More are refused; OpenAI takes 16 images and some twenty fields."""

MAX_HEAD_BYTES: Final = 8192
"""Of one part's headers."""

_BOUNDARY: Final = re.compile(
    r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", re.ASCII
)  # RFC 2046 section 5.1.1
_PARAMETER: Final = re.compile(r';[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s;"]+)[ \t]*', re.ASCII)
_PLAIN: Final = frozenset({"7bit", "8bit", "binary"})


class Part(Value, frozen=True):
    """One part: its field's name, and where in the body its value begins and ends. `filename` and `mime` (lower case, no parameters) where it tells them."""

    name: str
    start: int
    end: int
    filename: str | None = None
    mime: str | None = None


def is_form(content_type: str | None) -> bool:
    """Tell whether a Content-Type is that of a form with files."""
    return content_type is not None and content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def split_form(body: bytes, content_type: str) -> tuple[Part, ...]:
    """Return the parts of a form in order.

    Raises:
        BrokerError: `bad_request` where it is no whole form, has too many parts, or could be read in two ways.
    """
    delimiter = b"--" + _boundary(content_type)
    if not body.startswith(delimiter):
        bad_field("body", "does not begin with the form's boundary")
    parts: list[Part] = []
    at = len(delimiter)
    while body[at : at + 2] != b"--":
        if len(parts) == MAX_PARTS:
            bad_field("body", f"the form has more than {MAX_PARTS} parts")
        part = _part(body, _line_end(body, at), b"\r\n" + delimiter)
        parts.append(part)
        at = part.end + 2 + len(delimiter)
    if body[at + 2 :].strip(b" \t\r\n"):
        bad_field("body", "something follows the end of the form")
    return tuple(parts)


def with_value(body: bytes, part: Part, value: bytes) -> bytes:
    """Return the body with another value for one of its parts, all else byte for byte."""
    return b"".join((body[: part.start], value, body[part.end :]))


def _boundary(content_type: str) -> bytes:
    _, semicolon, rest = content_type.partition(";")
    text = _parameters(semicolon + rest, "content-type").get("boundary", "")
    if not _BOUNDARY.fullmatch(text):
        bad_field("content-type", "names no boundary of the form that can be one")
    return text.encode("ascii")


def _line_end(body: bytes, at: int) -> int:
    """Return where the line of a delimiter ends; white space may stand behind it (RFC 2046)."""
    end = body.find(b"\r\n", at, at + 128)
    if end < 0 or body[at:end].strip(b" \t"):
        bad_field("body", "a line begins like the form's boundary and goes on otherwise")
    return end + 2


def _part(body: bytes, at: int, delimiter: bytes) -> Part:
    gap = body.find(b"\r\n\r\n", at, at + MAX_HEAD_BYTES)
    if gap < 0:
        bad_field("body", f"the headers of a part have no end within {MAX_HEAD_BYTES} bytes")
    start = gap + 4
    end = body.find(delimiter, start)
    if end < 0 or delimiter in body[at - 2 : gap + 2 + len(delimiter)]:
        # Neither among the headers may a boundary stand: another reader would end the part there.
        bad_field("body", "a part of the form has no end")
    headers = _headers(body[at:gap])
    kind, semicolon, rest = headers.get("content-disposition", "").partition(";")
    told = _parameters(semicolon + rest, "body")
    name = told.get("name")
    if kind.strip().lower() != "form-data" or name is None or "\\" in name or any(key.endswith("*") for key in told):
        bad_field("body", "a part of the form has no plain name")
    if headers.get("content-transfer-encoding", "binary").lower() not in _PLAIN:
        bad_field("body", "a part of the form is encoded; send it as it is")
    mime = headers.get("content-type", "").partition(";")[0].strip().lower()
    return Part(name, start, end, told.get("filename"), mime or None)


def _headers(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or name.lower() in found or "\n" in line or "\r" in line:
            bad_field("body", "a part of the form has headers that cannot be read")
        found[name.lower()] = value.strip()
    return found


def _parameters(text: str, where: str) -> dict[str, str]:
    """Return the parameters of a header, names in lower case."""
    found: dict[str, str] = {}
    at = 0
    text = text.rstrip()
    while at < len(text):
        step = _PARAMETER.match(text, at)
        if step is None or step[1].lower() in found:
            bad_field(where, "a header of the form has parameters that cannot be read")
        value = step[2]
        found[step[1].lower()] = value[1:-1] if value.startswith('"') else value
        at = step.end()
    return found
