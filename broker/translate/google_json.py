"""JSON as Google's API reads it.

Owns: the two spellings of every field, Google's `Schema` as JSON Schema, and base64 in either alphabet. It must never look into what is the client's own:
arguments of calls, answers of tools, schemas (those only when asked for one).

Source: protobuf.dev, "ProtoJSON Format"; ai.google.dev/api/caching#Schema.
"""

from collections.abc import Mapping
from typing import Final

_OWN: Final = frozenset(
    {
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseSchema",
        "responseJsonSchema",
    }
)
_STANDARD: Final = str.maketrans("-_", "+/")
_NUMBERS: Final = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_ONE: Final = frozenset({"items", "additionalProperties"})
_MANY: Final = frozenset({"anyOf", "prefixItems"})
_NAMED: Final = frozenset({"properties", "$defs"})
_RENAMED: Final = {"defs": "$defs", "ref": "$ref"}
_DROPPED: Final = frozenset({"nullable", "propertyOrdering", "example"})


def camelled(value: object) -> object:
    """Return a value with all its field names in camel case; what is the client's own stays as it is.

    Raises:
        RecursionError: where it is nested too deeply.
    """
    if isinstance(value, list):
        return [camelled(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = ((_camel(key), inner) for key, inner in value.items())
    return {name: inner if name in _OWN else camelled(inner) for name, inner in named}


def json_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """Return a `Schema` of Google's as JSON Schema: types in small letters, `nullable` as a type, numbers as numbers.

    Raises:
        RecursionError: where it is nested too deeply.
    """
    out: dict[str, object] = {}
    for key, value in schema.items():
        name = _camel(key)
        name = _RENAMED.get(name, name)
        if name not in _DROPPED:
            out[name] = _keyword(name, value)
        elif name == "example":
            out["examples"] = [value]
        elif name == "nullable" and value is True:
            out["nullable"] = True
    if out.get("type") == "type_unspecified":
        del out["type"]
    if out.get("format") == "enum":
        del out["format"]
    return _nullable(out) if out.pop("nullable", False) else out


def standard_base64(text: str) -> str:
    """Return base64 in the standard alphabet and padded; Google takes both alphabets, with padding or without."""
    if "-" in text or "_" in text:
        text = text.translate(_STANDARD)
    return text + "=" * (-len(text) % 4)


def _camel(key: str) -> str:
    if "_" not in key:
        return key
    head, *rest = key.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def _keyword(name: str, value: object) -> object:
    if name == "type":
        return [_type(each) for each in value] if isinstance(value, list) else _type(value)
    if name in _NUMBERS and isinstance(value, str) and value.isdecimal():
        return int(value)
    if name in _ONE:
        return _inner(value)
    if name in _MANY and isinstance(value, list):
        return [_inner(each) for each in value]
    if name in _NAMED and isinstance(value, dict):
        return {key: _inner(each) for key, each in value.items()}
    return value


def _type(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _inner(value: object) -> object:
    return json_schema(value) if isinstance(value, dict) else value


def _nullable(schema: dict[str, object]) -> dict[str, object]:
    kind, several, words = schema.get("type"), schema.get("anyOf"), schema.get("enum")
    if isinstance(kind, str):
        schema["type"] = [kind, "null"]
    elif isinstance(several, list):
        schema["anyOf"] = [*several, {"type": "null"}]
    if isinstance(words, list):
        schema["enum"] = [*words, None]
    return schema
