"""On which line of a TOML text each key stands.

Owns: `lines_of`, a walk over the text of a document that `tomllib` has accepted; `tomllib` itself gives values without places. Pure. It must never judge
the text, and reads of values only as much as it takes to find their end and the keys inside them.
"""

import contextlib
import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, NoReturn

Key = tuple[str, ...]
"""The way to a value through the tables; an element of an array goes by its number, from 0."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
# Up to two quotation marks may stand right before the three that end the text.
_STRING: Final = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"{1,2}(?!"))*"{3,5}|\'\'\'(?:[^\']|\'{1,2}(?!\'))*\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
)
_PLAIN: Final = re.compile(r"[^,\]}#\n]*")
_PLACE: Final = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


def lines_of(text: str) -> dict[Key, int]:
    """Return the line, from 1, on which each key of a valid TOML document begins; that of a table is its heading's, or its first key's.

    Of a text that is none, the keys before the fault.
    """
    walk = _Walk(text.replace("\r\n", "\n"))
    with contextlib.suppress(_LostError):
        walk.run()
    return walk.lines


def line_of(key: Key, lines: Mapping[Key, int]) -> int | None:
    """Return the line of a key, or of the nearest table around it that stands in the text."""
    while key:
        if key in lines:
            return lines[key]
        key = key[:-1]
    return None


def place_of(error: tomllib.TOMLDecodeError, text: str) -> tuple[str, int, int]:
    """Take what `tomllib` says of a text it cannot read apart: what is wrong, the line and the column, from 1."""
    said = str(error)
    match = _PLACE.match(said)
    last = text.count("\n") + 1
    end = (last, len(text) - (text.rfind("\n") + 1) + 1)
    if match is None:
        return said, *end
    line, column = (int(match[2]), int(match[3])) if match[2] else end
    return match[1], line, column


class _LostError(Exception):
    """The text is not the one that `tomllib` read."""


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self.lines: dict[Key, int] = {}
        self._arrays: dict[Key, int] = {}

    def run(self) -> None:
        table: Key = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._heading()
            else:
                self._pair(table)

    def _heading(self) -> Key:
        line = self._line()
        double = self._text.startswith("[[", self._at)
        self._at += 2 if double else 1
        path: Key = ()
        parts = self._key()
        for number, part in enumerate(parts, 1):
            path = (*path, part)
            self.lines.setdefault(path, line)
            last = number == len(parts)
            if last and double:
                self._arrays[path] = self._arrays.get(path, 0) + 1
            if path in self._arrays:
                path = (*path, str(self._arrays[path] - 1))
        self._at += 2 if double else 1
        self.lines.setdefault(path, line)
        if not double:
            self.lines[path] = line
        return path

    def _pair(self, table: Key) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._walk_value(path)

    def _key(self) -> Key:
        parts = []
        while True:
            self._skip(_SPACE)
            if found := _QUOTED.match(self._text, self._at):
                parts.append(str(tomllib.loads(f"k = {found[0]}")["k"]))
                self._at = found.end()
            else:
                parts.append(self._take(_BARE) or self._lost())
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _walk_value(self, path: Key) -> None:
        if self._text.startswith("{", self._at):
            self._inside(path, "}")
        elif self._text.startswith("[", self._at):
            self._inside(path, "]")
        elif found := _STRING.match(self._text, self._at):
            self._at = found.end()
        else:
            self._skip(_PLAIN)

    def _inside(self, path: Key, end: str) -> None:
        """Go through an inline table or an array."""
        self._at += 1
        number = 0
        self._skip(_BLANK)
        while not self._text.startswith(end, self._at):
            if self._at == len(self._text):
                self._lost()
            if end == "}":
                self._pair(path)
            else:
                element = (*path, str(number))
                self.lines[element] = self._line()
                self._walk_value(element)
            number += 1
            self._skip(_BLANK)
            if self._text.startswith(",", self._at):
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        begin = self._at
        return self._text[begin : self._skip(pattern)]

    def _skip(self, pattern: re.Pattern[str]) -> int:
        if found := pattern.match(self._text, self._at):
            self._at = found.end()
        return self._at

    def _lost(self) -> NoReturn:
        raise _LostError

    def _line(self) -> int:
        return bisect_left(self._breaks, self._at) + 1
