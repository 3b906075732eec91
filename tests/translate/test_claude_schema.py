from hypothesis import given
from hypothesis import strategies as st

from broker.translate.claude_schema import output_schema


def test_every_object_is_closed_and_what_has_no_keyword_is_said():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "title": "T",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1, "description": "how many"},
            "day": {"type": "string", "format": "date"},
            "odd": {"type": "string", "format": "int32", "pattern": "^a"},
            "list": {"type": "array", "items": {"type": "object", "properties": {}}, "minItems": 1, "maxItems": 3},
            "more": {"type": "array", "minItems": 2, "items": True},
            "either": {"oneOf": [{"type": "object"}, {"$ref": "#/$defs/x"}]},
            "all": {"allOf": [{"type": "object"}], "anyOf": [{"const": 1}]},
            "word": {"type": "string", "enum": ["a"]},
        },
        "required": ["day"],
        "additionalProperties": True,
        "$defs": {"x": {"type": "object", "properties": {"y": {"type": "null"}}}},
    }
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    assert output_schema(schema) == {
        "type": "object",
        "title": "T",
        "properties": {
            "minimum": {"type": "integer", "description": "how many\n\n{minimum: 1}"},
            "day": {"type": "string", "format": "date"},
            "odd": {"type": "string", "description": '{format: "int32", pattern: "^a"}'},
            "list": {"type": "array", "items": closed, "minItems": 1, "description": "{maxItems: 3}"},
            "more": {"type": "array", "items": True, "description": "{minItems: 2}"},
            "either": {"anyOf": [closed, {"$ref": "#/$defs/x"}]},
            "all": {"allOf": [closed], "anyOf": [{"const": 1}]},
            "word": {"type": "string", "enum": ["a"]},
        },
        "required": ["day"],
        "additionalProperties": False,
        "$defs": {"x": {"type": "object", "properties": {"y": {"type": "null"}}, "additionalProperties": False}},
    }


def test_several_types_are_a_choice():
    assert output_schema({"type": ["object", "null"], "properties": {"a": {}}, "description": "d"}) == {
        "description": "d",
        "anyOf": [
            {"type": "object", "properties": {"a": {}}, "additionalProperties": False},
            {"type": "null"},
        ],
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "items", "anyOf", "properties", "format", "minItems", "enum", "$defs"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    ).map(lambda value: value if isinstance(value, dict) else {"items": value})
)
def test_no_schema_makes_it_raise_and_it_stays_as_it_was(schema):
    before = repr(schema)
    output_schema(schema)
    assert repr(schema) == before


def test_what_is_too_deep_is_cut():
    schema = {}
    for _ in range(900):
        schema = {"type": "array", "items": schema}
    told = output_schema(schema)
    for _ in range(101):
        assert told["type"] == "array"
        told = told["items"]
    assert told == {}
