"""A client's body on its way to an upstream of the same dialect.

Owns: reading the two fields a proxy must know of any JSON request, and changing the model's name, other members, or elements of a list, in place. Every other
byte stays as it is: order, spaces, notation of numbers, fields of next year. It must never know a dialect.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from broker.translate.fields import bad_field, read


class Peeked(msgspec.Struct, frozen=True):
    """What a body says of itself."""

    model: str
    stream: bool | None = None


_PEEK: Final = msgspec.json.Decoder(Peeked)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_WHITE: Final = b" \t\r\n"
# They are walked one by one to find a place between them, and the event loop stands meanwhile. No API takes as many.
_MOST_MEMBERS: Final = 2048
_MOST_ELEMENTS: Final = 16_384
_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_OPENED: Final = re.compile(rb"[ \t\r\n]*[{\[]")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_KEY: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
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


def says(body: bytes, told: Peeked) -> bool:
    """Tell whether a body says the same of itself; one that cannot be read does not."""
    try:
        return _PEEK.decode(body) == told
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def with_model(body: bytes, model: str) -> bytes:
    """Return a body with another `model`, all else byte for byte.

    Where a body names its model twice, both are changed: readers differ in which of them counts.

    Raises:
        BrokerError: `bad_request` where it is no JSON object.
    """
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
    members = _members(body)
    named = {member.name for member in members}
    added = [(name, told) for name, told in wanted.items() if told is not None and name not in named]
    return _rewritten(body, members, lambda each: wanted.get(each.name, body[each.value : each.end]), added)


def with_member(body: bytes, name: str, change: Callable[[bytes | None], bytes | None]) -> bytes:
    """Return an object with one member changed, or the others of a list with one element changed, whose name is its index; all else byte for byte.

    `change` is told the JSON that is there, and returns what shall be, None for nothing; where the member is not there, it is asked with None for one to put at
    the end. A list is never made longer. Raises:
        BrokerError: `bad_request` where it is neither.
    """
    if _named(body, name) is None:
        new = None if is_list(body) else change(None)
        return body if new is None else with_members(body, {name: new})

    def told(member: _Member) -> bytes | None:
        text = body[member.value : member.end]
        return change(text) if member.name == name else text

    return _rewritten(body, _elements(body) if is_list(body) else _members(body), told, [])


def value_of(body: bytes, name: str) -> bytes | None:
    """Return the JSON of a member, the last of its name, or of an element by its index; None where there is none.

    Raises:
        BrokerError: `bad_request` where it is neither object nor list.
    """
    found = _named(body, name)
    return None if found is None else bytes(found)


def inserted(body: bytes, place: int, told: bytes) -> bytes:
    """Return a list with one element more, before the one at `place`, or at the end where there is none; all else byte for byte.

    Raises:
        BrokerError: `bad_request` where it is no list.
    """
    elements = _elements(body)
    if place < len(elements):
        at = elements[place].start
        return b"".join((body[:at], told, b",", body[at:]))
    at = elements[-1].end if elements else body.index(b"[") + 1
    return b"".join((body[:at], b"," if elements else b"", told, body[at:]))


def is_object(text: bytes) -> bool:
    """Tell whether a JSON text holds an object, by its first byte."""
    return text.lstrip(_WHITE)[:1] == b"{"


def is_list(text: bytes) -> bool:
    """Tell whether a JSON text holds a list, by its first byte."""
    return text.lstrip(_WHITE)[:1] == b"["


class _Member(msgspec.Struct, frozen=True):
    """A member of an object: where its key and its value begin, and where the value ends. Of a list an element, whose name is its index."""

    name: str
    start: int
    value: int
    end: int


def _rewritten(
    body: bytes,
    members: list[_Member],
    told: Callable[[_Member], bytes | None],
    added: list[tuple[str, bytes]],
) -> bytes:
    """Return a body whose members say what they are told to, or are left out, and some more at its end."""
    first = members[0].start if members else _after(_OPENED, body, 0)
    last = members[-1].end if members else first
    pieces: list[bytes] = []
    before = first
    for member in members:
        text = told(member)
        if text is not None:
            gap = body[before : member.start] if pieces else b""
            pieces.append(gap + body[member.start : member.value] + text)
        before = member.end
    for name, text in added:
        pieces.append((b"," if pieces else b"") + msgspec.json.encode(name) + b":" + text)
    return b"".join((body[:first], *pieces, body[last:]))


def _named(body: bytes, name: str) -> msgspec.Raw | None:
    """Return a member, the last of its name, or an element by its index; raises BrokerError `bad_request` where the body is neither object nor list."""
    if not is_list(body):
        return _values(body).get(name)
    elements = _listed(body)
    place = int(name) if _INDEX.fullmatch(name) else len(elements)
    return elements[place] if place < len(elements) else None


def _members(body: bytes) -> list[_Member]:
    """Return the members of an object; raises BrokerError `bad_request` where it is none, or has too many."""
    # Made bytes of once a name: of many members of one name, each would copy the last.
    values = {name: bytes(value) for name, value in _values(body).items()}
    found: list[_Member] = []
    at = _after(_SPACE, body, body.index(b"{") + 1)
    while body[at : at + 1] != b"}":
        _bounded(len(found) + 1, _MOST_MEMBERS)
        key = _KEY.match(body, at)
        assert key is not None  # the body has been read as JSON
        name: str = msgspec.json.decode(key[0].rstrip(_WHITE)[:-1])
        end = _end_of_value(body, key.end(), values[name])
        found.append(_Member(name, at, key.end(), end))
        comma = _NEXT.match(body, end)
        at = comma.end() if comma else _after(_SPACE, body, end)
    return found


def _elements(body: bytes) -> list[_Member]:
    """Return the elements of a list; raises BrokerError `bad_request` where it is none, or has too many."""
    values = _listed(body)
    found: list[_Member] = []
    at = _after(_SPACE, body, body.index(b"[") + 1)
    while body[at : at + 1] != b"]":
        end = _end_of_value(body, at, bytes(values[len(found)]))
        found.append(_Member(str(len(found)), at, at, end))
        comma = _NEXT.match(body, end)
        at = comma.end() if comma else _after(_SPACE, body, end)
    return found


def _values(body: bytes) -> dict[str, msgspec.Raw]:
    values = read(_MEMBERS, body)
    _bounded(len(values), _MOST_MEMBERS)
    return values


def _listed(body: bytes) -> list[msgspec.Raw]:
    elements = read(_LIST, body)
    _bounded(len(elements), _MOST_ELEMENTS)
    return elements


def _bounded(number: int, most: int) -> None:
    if number > most:
        bad_field("body", f"more than {most} members in an object or a list that something is to be changed in")


# Possessive, which costs an eighth: nothing is kept to go back to.
_QUOTED: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR: Final = re.compile(rb"[^,}\]\s]+")
_STEP: Final = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+', re.DOTALL)


def _end_of_value(body: bytes, at: int, likely: bytes) -> int:
    """Return where a value ends. `likely` is what the reader took for it: of members of one name it is the last, and stands for the others too."""
    first = body[at : at + 1]
    if first not in (b"{", b"[", b'"'):
        return _after(_SCALAR, body, at)
    if body.startswith(likely, at):
        return at + len(likely)  # what begins with a bracket or a quote goes on to its own end, so this is the whole
    if first == b'"':
        return _after(_QUOTED, body, at)
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
