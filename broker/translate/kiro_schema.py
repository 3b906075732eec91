"""Tool schemas as Kiro takes them.

Owns: `clean_schema`. It must only ever see a schema: a property may be called like any keyword.

Reported by other clients, and not documented: it refuses a request ("Improperly formed request") whose schemas hold `additionalProperties`, or a `required`
that lists nothing. Both are left out; nothing else is changed.
"""

from collections.abc import Mapping
from typing import Final

_MAX_DEPTH: Final = 48  # Python's own stack ends at 1000 frames, and what is sent is written by a stack too.
_OF_SCHEMAS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SCHEMAS: Final = frozenset({
    "items", "prefixItems", "contains", "not", "if", "then", "else", "allOf", "anyOf", "oneOf", "propertyNames", "unevaluatedItems",
})  # fmt: skip


def clean_schema(schema: Mapping[str, object] | None) -> dict[str, object]:
    """Return the schema of an object; no schema is an object without properties."""
    return _members(schema or {}, 0) | {"type": "object"}


def _clean(schema: object, depth: int) -> object:
    if isinstance(schema, list):
        return [_clean(each, depth) for each in schema]
    return _members(schema, depth) if isinstance(schema, Mapping) and depth < _MAX_DEPTH else schema


def _members(schema: Mapping[str, object], depth: int) -> dict[str, object]:
    return {key: _member(key, value, depth + 1) for key, value in schema.items() if not _refused(key, value)}


def _member(key: str, value: object, depth: int) -> object:
    if key in _OF_SCHEMAS and isinstance(value, Mapping):
        return {name: _clean(each, depth) for name, each in value.items()}
    return _clean(value, depth) if key in _SCHEMAS else value


def _refused(key: str, value: object) -> bool:
    return key == "additionalProperties" or (key == "required" and not value)
