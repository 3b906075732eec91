"""A client's body on its way to an upstream of the same dialect.

Owns: reading the two fields a proxy must know of any JSON request, and changing the model's name, or other members, in place. Every other byte stays as it is:
order, spaces, notation of numbers, fields of next year. It must never know a dialect.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from broker.translate.fields import bad_field, read


class Peeked(msgspec.Struct, frozen=True):
    """What a body says of itself."""

    model: str
    stream: bool | None = None


_PEEK: Final = msgspec.json.Decoder(Peeked)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_KEY: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_NEXT: Final = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")


def peek(body: bytes) -> Peeked:
    """Read model and streaming of a body.

    Raises:
        BrokerError: `bad_request` naming the field.
    """
    found = read(_PEEK, body)
    if not found.model.strip():
        bad_field("model", "must not be empty")
    return found


def with_model(body: bytes, model: str) -> bytes:
    """Return a body with another `model`, all else byte for byte.

    Where a body names its model twice, both are changed: readers differ in which of them counts.

    Raises:
        BrokerError: `bad_request` where it is no JSON object.
    """
    read(_MEMBERS, body)
    pieces: list[bytes] = []
    kept = 0
    for member in _members(body):
        if member.name == "model":
            pieces += (body[kept : member.value], msgspec.json.encode(model))
            kept = member.end
    return b"".join((*pieces, body[kept:]))


def with_members(body: bytes, wanted: Mapping[str, bytes | None]) -> bytes:
    """Return a body with these members: each replaced in place or put at the end, or left out where its JSON is None; all else byte for byte.

    Raises:
        BrokerError: `bad_request` where it is no JSON object.
    """
    read(_MEMBERS, body)
    members = _members(body)
    first = members[0].start if members else body.index(b"{") + 1
    last = members[-1].end if members else first
    pieces: list[bytes] = []
    before = first
    for member in members:
        told = wanted.get(member.name, body[member.value : member.end])
        if told is not None:
            gap = body[before : member.start] if pieces else b""
            pieces.append(gap + body[member.start : member.value] + told)
        before = member.end
    named = {member.name for member in members}
    added = (
        msgspec.json.encode(name) + b":" + told
        for name, told in wanted.items()
        if told is not None and name not in named
    )
    for member_text in added:
        pieces.append((b"," if pieces else b"") + member_text)
    return b"".join((body[:first], *pieces, body[last:]))


class _Member(msgspec.Struct, frozen=True):
    """A member of an object: where its key and its value begin, and where the value ends."""

    name: str
    start: int
    value: int
    end: int


def _members(body: bytes) -> list[_Member]:
    """Return the members of an object that is known to be valid."""
    found: list[_Member] = []
    at = _after(_SPACE, body, body.index(b"{") + 1)
    while body[at : at + 1] != b"}":
        key = _KEY.match(body, at)
        assert key is not None  # the body has been read as JSON
        name: str = msgspec.json.decode(key[0].rstrip(b" \t\r\n")[:-1])
        end = _end_of_value(body, key.end())
        found.append(_Member(name, at, key.end(), end))
        comma = _NEXT.match(body, end)
        at = comma.end() if comma else _after(_SPACE, body, end)
    return found


_QUOTED: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALAR: Final = re.compile(rb"[^,}\]\s]+")
_STEP: Final = re.compile(rb'[^"\[\]{}]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^"\[\]{}]*)*', re.DOTALL)


def _end_of_value(body: bytes, at: int) -> int:
    first = body[at : at + 1]
    if first not in (b"{", b"["):
        return _after(_QUOTED if first == b'"' else _SCALAR, body, at)
    depth = 0
    while True:
        depth += 1 if body[at] in b"{[" else -1
        at += 1
        if not depth:
            return at
        at = _after(_STEP, body, at)


def _after(pattern: re.Pattern[bytes], body: bytes, at: int) -> int:
    found = pattern.match(body, at)
    assert found is not None  # the body has been read as JSON
    return found.end()
