"""Cleaned schemas, remembered: an agent sends the same sixty tools with each request, and cleaning them cost more than all else in it.

Owns: `SchemaMemory`, by the schemas' own JSON, those that were not used for longest out first. What it keeps says what tools can do, not what is done with
them; it is small, and never leaves the process.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import msgspec

from broker.translate.schema_clean import clean_schema

MOST: Final = 2 * 1024 * 1024
"""Bytes kept, of schemas and what became of them: some twenty agents' tools."""

_EACH: Final = 300  # what one takes beside them: else thousands of tiny ones would take seven times as much

_JSON: Final = msgspec.json.Encoder()


class SchemaMemory:
    """A schema's JSON -> that of `clean_schema`, bounded."""

    __slots__ = ("_kept", "_most", "_size")

    def __init__(self, most: int = MOST) -> None:
        """Keep at most so many bytes."""
        self._most = most
        self._size = 0
        self._kept: OrderedDict[bytes, msgspec.Raw] = OrderedDict()

    def cleaned(self, schema: Mapping[str, object] | None) -> msgspec.Raw:
        """Return the JSON of `clean_schema(schema)`, as a part of what is written."""
        try:
            text = _JSON.encode(schema)
        except RecursionError:  # deeper than it may be, it is cut
            return msgspec.Raw(_JSON.encode(clean_schema(schema)))
        known = self._kept.get(text)
        if known is not None:
            self._kept.move_to_end(text)
            return known
        made = self._kept[text] = msgspec.Raw(_JSON.encode(clean_schema(schema)))
        self._size += _bytes(text, made)
        while self._size > self._most:
            self._size -= _bytes(*self._kept.popitem(last=False))
        return made

    def __len__(self) -> int:
        return len(self._kept)


KNOWN: Final = SchemaMemory()
"""What this process has cleaned."""


def _bytes(text: bytes, made: msgspec.Raw) -> int:
    return len(text) + len(memoryview(made)) + _EACH
