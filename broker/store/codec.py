"""Auth files as text: reading one, and writing it back with nothing changed but what was meant to change.

Owns: `parse`, `render`, `encode`, `same` and the typed faults of a file. A file is rewritten by editing its text: a member whose value is the
same keeps its bytes, so that numbers no float holds, key order, indentation, escapes and doubled keys survive. Pure.
It must never put content of a file into a message.
"""

import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NoReturn

import msgspec

MAX_BYTES = 1 << 20  # an auth file has 2 to 10 KiB; a larger one is not one

_MAX_DEPTH = 100  # vendors nest three deep; far below the interpreter's recursion limit
_MAX_INT_DIGITS = 4000  # CPython refuses to convert more than 4300 by default
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u(?!00[0-7])[0-9a-fA-F]{4}")
_CUT_NUMBER = re.compile(r"-|\.|[eE][+-]?")
_DECODER = msgspec.json.Decoder()  # holds no state between calls
_SMALL = 1 << 53
_LITERALS = ("true", "false", "null")


class FaultKind(StrEnum):
    """Why a file gives no account."""

    EMPTY = "empty"
    HALF = "half"
    NOT_JSON = "not-json"
    NOT_OBJECT = "not-object"
    TOO_BIG = "too-big"
    NO_TYPE = "no-type"
    UNKNOWN_TYPE = "unknown-type"
    BAD_FIELDS = "bad-fields"
    NOT_REGULAR = "not-regular"
    FOREIGN_OWNER = "foreign-owner"
    UNREADABLE = "unreadable"
    SEALED = "sealed"
    TAMPERED = "tampered"
    ROLLED_BACK = "rolled-back"


_SETTLING = frozenset({FaultKind.EMPTY, FaultKind.HALF, FaultKind.NOT_JSON})


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a file; `detail` continues the sentence "FILE ..." and holds nothing of its content."""

    kind: FaultKind
    detail: str

    @property
    def settles(self) -> bool:
        """Whether a writer at work looks like this, so that reading again soon makes sense."""
        return self.kind in _SETTLING


class Parsed(msgspec.Struct, frozen=True):
    """A file that has been read as JSON. `repeated` names keys that stand twice in one object: the last one counts (as in Go and JavaScript).

    The values are made of the text anew each time they are asked for: that takes microseconds, and kept for every account they would take as much memory as
    its text and its record together.
    """

    text: str
    repeated: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, object]:
        """The values."""
        made = _parse_text(self.text)
        assert not isinstance(made, Fault)  # it was read once
        return made[1]

    def __repr__(self) -> str:
        # The text holds tokens.
        return f"Parsed(repeated={self.repeated!r})"


Both = tuple[Parsed, dict[str, object]]


def parse(data: bytes) -> Parsed | Fault:
    """Read the bytes of an auth file. Never raises.

    A byte order mark is kept as part of the text. `NaN` and `Infinity` are refused: no other program reads them (RFC 8259 section 6).
    """
    found = read(data)
    return found if isinstance(found, Fault) else found[0]


def read(data: bytes) -> Both | Fault:
    """Read the bytes of an auth file, and return its values too. Never raises."""
    found = _read_object(data)
    if isinstance(found, Fault):
        return found
    kind = found[1].get("type")
    if not isinstance(kind, str) or not kind:
        return Fault(FaultKind.NO_TYPE, 'has no "type", so it belongs to no provider')
    return found


def parse_object(data: bytes) -> Parsed | Fault:
    """Read the bytes of any file that is a JSON object, as `parse` does. Never raises."""
    found = _read_object(data)
    return found if isinstance(found, Fault) else found[0]


def _read_object(data: bytes) -> Both | Fault:
    if len(data) > MAX_BYTES:
        return Fault(FaultKind.TOO_BIG, f"is larger than {MAX_BYTES} bytes")
    if not data.strip(b" \t\r\n\0"):
        return Fault(FaultKind.EMPTY, "is empty")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return Fault(FaultKind.HALF, "ends in the middle of a character")
        return Fault(FaultKind.NOT_JSON, f"is not UTF-8 at byte {error.start}")
    return _parse_text(text)


def render(parsed: Parsed, document: Mapping[str, object]) -> bytes:
    """Return the file's text with `document` in place of `parsed.document`, everything that is equal left byte for byte.

    New members are appended in the style of the object they join. Raises ValueError where `document` holds what JSON cannot.
    """
    start, old = _start(parsed.text), parsed.document
    if same(old, document):
        return parsed.text.encode()
    style = _style(parsed.text, start)
    return _apply(parsed.text, _edits(parsed.text, start, old, document, style)).encode()


def encode(document: Mapping[str, object]) -> bytes:
    """Return the text of a new file: two-space indent and a final newline, as CLIProxyAPI writes most of its files."""
    return (_Style("\n  ", ": ", "  ", ascii=False).text(dict(document), "\n") + "\n").encode()


def same(old: object, new: object) -> bool:
    """Tell whether two values have the same JSON text: unlike `==`, 1 is neither 1.0 nor true, and -0.0 is not 0.0."""
    if old is new:
        return True
    if isinstance(old, dict) and isinstance(new, Mapping):
        return old.keys() == new.keys() and all(same(value, new[key]) for key, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same, old, new))
    if type(old) is not type(new):
        return False
    return repr(old) == repr(new) if isinstance(old, float) else old == new


# --- reading ---


def _parse_text(text: str) -> Both | Fault:
    found = _plainly(text)
    if found is not None:
        return Parsed(text), found
    if _too_deep(text):
        return Fault(FaultKind.NOT_JSON, f"is nested deeper than {_MAX_DEPTH} levels")
    repeated: list[str] = []

    def pairs(members: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(members)
        if len(made) < len(members):
            keys = [key for key, _ in members]
            repeated.extend(dict.fromkeys(key for key in keys if keys.count(key) > 1))
        return made

    decoder = json.JSONDecoder(object_pairs_hook=pairs, parse_int=_integer, parse_constant=_refuse)
    try:
        value = decoder.decode(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        return _syntax_fault(error)
    if not isinstance(value, dict):
        return Fault(FaultKind.NOT_OBJECT, "is JSON, but not an object")
    return Parsed(text, tuple(key for key in repeated if key.isprintable() and len(key) <= 60)), value


def _plainly(text: str) -> dict[str, object] | None:
    """Return an object as the careful way below reads it, in a tenth of the time; None where that way is needed.

    Text with a backslash may hold lone surrogates, and quotes that are none; a number may be read otherwise by one reader than by another. What is left are
    objects of strings, literals and small integers, in which every quote belongs to a key or a value: fewer of them than there are quotes means a key that
    stands twice.
    """
    if "\\" in text:
        return None
    try:
        found = _DECODER.decode(text)
    except (ValueError, RecursionError):  # DecodeError is a ValueError
        return None
    return found if isinstance(found, dict) and 2 * _strings(found) == text.count('"') else None


def _strings(value: object, depth: int = 1) -> float:
    """Return how many strings an object or list holds, keys too; none that could be counted where it holds a number that is not small, or is nested too deep.

    Of what else there is in one: 0 for a small number.
    """
    if not isinstance(value, dict | list):
        return 0 if isinstance(value, int) and -_SMALL < value < _SMALL else math.nan
    if depth > _MAX_DEPTH:
        return math.nan
    count: float = 0
    if isinstance(value, dict):
        count = len(value)
        value = value.values()
    for each in value:
        if isinstance(each, str):
            count += 1
        elif each is not False and each is not True and each is not None:
            count += _strings(each, depth + 1)
    return count


def _too_deep(text: str) -> bool:
    if text.count("{") + text.count("[") <= _MAX_DEPTH:
        return False
    depth = 0
    for char in _STRING.sub("", text):
        if char in "{[":
            depth += 1
            if depth > _MAX_DEPTH:
                return True
        elif char in "}]":
            depth -= 1
    return False


def _integer(text: str) -> int | float:
    # As a value it only has to be the same each time it is read; its text is what is kept.
    return int(text) if len(text) <= _MAX_INT_DIGITS else float(text)


def _refuse(word: str) -> NoReturn:
    raise json.JSONDecodeError(f"{word} is not JSON", "", 0)


def _syntax_fault(error: json.JSONDecodeError) -> Fault:
    rest = error.doc[error.pos :].rstrip()
    cut_word = any(word.startswith(rest) for word in _LITERALS)
    cut_escape = "escape" in error.msg and len(rest) < 6
    cut_number = _CUT_NUMBER.fullmatch(rest) is not None
    if error.doc and (cut_word or cut_escape or cut_number or error.msg.startswith("Unterminated")):
        return Fault(FaultKind.HALF, "ends in the middle: it is half written")
    return Fault(FaultKind.NOT_JSON, f"is not JSON (line {error.lineno}, column {error.colno})")


# --- writing ---

_Edit = tuple[int, int, str]
_PLAIN = json.JSONDecoder(parse_int=_integer)


class _Style(msgspec.Struct, frozen=True):
    """How one object is laid out: what stands before a member, between key and value, and one step of indentation."""

    lead: str
    colon: str
    unit: str
    ascii: bool

    def text(self, value: object, newline: str) -> str:
        """Return `value` as JSON; `newline` begins the lines of the object it stands in."""
        multiline = "\n" in self.lead
        made = json.dumps(
            value,
            ensure_ascii=self.ascii,
            allow_nan=False,
            indent=self.unit if multiline else None,
            separators=(",", self.colon) if multiline else ("," + self.lead, self.colon),
        )
        if multiline:
            made = made.replace("\n", newline)
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", made)

    def key(self, key: str) -> str:
        return self.text(key, "")


class _Member(msgspec.Struct, frozen=True):
    key: str
    start: int
    key_end: int
    value_at: int
    end: int


def _start(text: str) -> int:
    return _skip(text, 1 if text.startswith("\ufeff") else 0)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _members(text: str, at: int) -> tuple[list[_Member], int]:
    # `text` has been read as JSON before, so its grammar needs no checking here.
    members: list[_Member] = []
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, key_end = _PLAIN.raw_decode(text, at)
        value_at = _skip(text, _skip(text, key_end) + 1)
        _, end = _PLAIN.raw_decode(text, value_at)
        members.append(_Member(key, at, key_end, value_at, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return members, at


def _style(text: str, at: int) -> _Style:
    members, _ = _members(text, at)
    lead = _lead(text, at, members)
    unit = lead.rpartition("\n")[2] if "\n" in lead else ""
    return _Style(lead, _colon(text, members), unit, text.isascii() and _ESCAPED.search(text) is not None)


def _lead(text: str, at: int, members: list[_Member]) -> str:
    if len(members) > 1:
        return text[members[0].end : members[1].start].partition(",")[2]
    return text[at + 1 : members[0].start] if members else ""


def _colon(text: str, members: list[_Member]) -> str:
    return text[members[0].key_end : members[0].value_at] if members else ": "


def _edits(text: str, at: int, old: Mapping[str, object], new: Mapping[str, object], outer: _Style) -> list[_Edit]:
    members, close = _members(text, at)
    kept = [member for member in members if member.key in new]
    newline = "\n" + text[:close].rpartition("\n")[2] if "\n" in text[at:close] else outer.lead
    if not kept:
        return [(at, close + 1, outer.text(dict(new), newline))]
    style = _Style(_lead(text, at, members), _colon(text, members), outer.unit, outer.ascii)
    edits = _removals(members, new)
    counting = {member.key: member for member in members}
    for key, member in counting.items():
        if key in new and not same(old[key], new[key]):
            edits += _change(text, member, old[key], new[key], style)
    added = "".join(
        f",{style.lead}{style.key(key)}{style.colon}{style.text(value, style.lead)}"
        for key, value in new.items()
        if key not in counting
    )
    edits.append((kept[-1].end, members[-1].end, added))
    return edits


def _removals(members: list[_Member], new: Mapping[str, object]) -> list[_Edit]:
    # A member goes with the comma after it; those at the end go in one piece with the comma before them (the caller's last edit).
    last_kept = max(index for index, member in enumerate(members) if member.key in new)
    return [
        (member.start, members[index + 1].start, "")
        for index, member in enumerate(members[:last_kept])
        if member.key not in new
    ]


def _change(text: str, member: _Member, old: object, new: object, style: _Style) -> list[_Edit]:
    if isinstance(old, dict) and isinstance(new, Mapping) and old and new:
        return _edits(text, member.value_at, old, new, style)
    return [(member.value_at, member.end, style.text(new, style.lead))]


def _apply(text: str, edits: list[_Edit]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end, replacement in sorted(edits, key=lambda edit: edit[:2]):
        pieces += (text[at:start], replacement)
        at = end
    return "".join((*pieces, text[at:]))
