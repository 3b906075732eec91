"""The model's name in an answer that passes untouched, put back to what the client asked for.

Owns: finding the name in the answers and events of OpenAI's and Anthropic's dialects, and replacing it in place. Every other byte stays as it is; what is not
understood passes.
"""

from typing import Final

import msgspec

from broker.model.errors import BrokerError
from broker.translate.passage import with_members, with_model

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_HOLDERS: Final = ("message", "response")  # Anthropic's message_start, Responses' events
_FIELD: Final = b'"model"'


def renamed(data: bytes, name: str) -> bytes:
    """Return an answer, or one event's data, with `name` as its model; as it is where it names none."""
    if _FIELD not in data:
        return data
    try:
        return _renamed(data, name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BrokerError):
        return data


def _renamed(data: bytes, name: str) -> bytes:
    members = _MEMBERS.decode(data)
    if "model" in members:
        return with_model(data, name)
    for holder in _HOLDERS:
        inner = bytes(members.get(holder, b""))
        if inner.startswith(b"{") and "model" in _MEMBERS.decode(inner):
            return with_members(data, {holder: with_model(inner, name)})
    return data


class Rewriting:
    """A whole answer."""

    __slots__ = ("_held", "_name")

    def __init__(self, name: str) -> None:
        """Put `name` in."""
        self._name = name
        self._held: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        """Keep `chunk`."""
        self._held.append(chunk)
        return b""

    def close(self) -> bytes:
        """Return the answer."""
        return renamed(b"".join(self._held), self._name)


class Renaming:
    """A stream of events, line by line. Lines are held until they are whole; nothing but a name is changed in them."""

    __slots__ = ("_held", "_name")

    def __init__(self, name: str) -> None:
        """Put `name` in."""
        self._name = name
        self._held: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        """Return the lines these bytes complete."""
        done, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            self._held.append(chunk)
            return b""
        text = b"".join((*self._held, done, newline))
        self._held = [rest] if rest else []
        if _FIELD not in text:
            return text
        return b"".join(self._line(line) for line in text.splitlines(keepends=True))

    def close(self) -> bytes:
        """Return what came without an end of line."""
        text, self._held = b"".join(self._held), []
        return self._line(text)

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:") or _FIELD not in line:
            return line
        body = line[5:].rstrip(b"\r\n")
        return b"data:" + renamed(body, self._name) + line[5 + len(body) :]
