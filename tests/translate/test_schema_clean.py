"""Tool schemas are brought to the part of JSON Schema Gemini takes, and told in words where that is not enough."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.schema_clean import clean_schema


def prop(schema, **root):
    """Clean a schema as the one property of an object."""
    return clean_schema({"type": "object", "properties": {"p": schema}, **root})["properties"]["p"]


@pytest.mark.parametrize("empty", [None, {}, {"type": "object"}, {"type": "object", "properties": 5}])
def test_no_parameters_are_an_object_without_properties(empty):
    assert clean_schema(empty) == {"type": "object", "properties": {}}


def test_parameters_that_are_no_object_are_put_into_one():
    assert clean_schema({"type": "string"}) == {"type": "object", "properties": {"value": {"type": "string"}}}


def test_a_tool_as_agents_send_it():
    cleaned = clean_schema(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Run",
            "type": "object",
            "properties": {
                "command": {"type": "string", "description": "What to run", "minLength": 1, "pattern": "^x"},
                "timeout": {"type": "integer", "minimum": -5, "exclusiveMinimum": 0, "maximum": 9, "default": 3},
                "tags": {
                    "type": "array",
                    "items": {"type": "string", "x-order": 1},
                    "maxItems": 3,
                    "uniqueItems": True,
                },
            },
            "required": ["command", "command", "gone", 7],
            "additionalProperties": False,
        }
    )
    assert cleaned == {
        "type": "object",
        "properties": {
            "command": {"type": "string", "description": "What to run (minLength: 1, pattern: ^x)"},
            "timeout": {
                "type": "integer",
                "minimum": -5,
                "maximum": 9,
                "description": "(exclusiveMinimum: 0, default: 3)",
            },
            "tags": {"type": "array", "items": {"type": "string"}, "description": "(maxItems: 3, uniqueItems: true)"},
        },
        "required": ["command"],
    }


KEYWORDS = [
    "$ref",
    "type",
    "properties",
    "required",
    "enum",
    "const",
    "default",
    "format",
    "title",
    "allOf",
    "if",
    "x-y",
    "$schema",
]


def test_a_property_called_like_a_keyword_is_kept():
    cleaned = clean_schema({"properties": {name: {"type": "string"} for name in KEYWORDS}, "required": KEYWORDS})
    assert cleaned == {
        "type": "object",
        "properties": {name: {"type": "string"} for name in KEYWORDS},
        "required": KEYWORDS,
    }


def test_const_and_enum_become_texts():
    assert prop({"const": 3}) == {"type": "string", "enum": ["3"]}
    assert prop({"type": "integer", "enum": [1, True, "a", "a"]}) == {"type": "string", "enum": ["1", "true", "a"]}
    assert prop({"type": "string", "enum": "broken"}) == {"type": "string"}
    assert prop({"enum": [None]}) == {}


@pytest.mark.parametrize(
    "optional",
    [
        {"type": ["string", "null"]},
        {"type": "string", "nullable": True},
        {"enum": ["a", None]},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"oneOf": [{"type": "string"}, {"const": None}]},
        {"anyOf": [{"anyOf": [{"type": "string"}, {"enum": [None]}]}]},
    ],
)
def test_what_may_be_null_is_not_required(optional):
    cleaned = clean_schema({"properties": {"p": optional, "q": {"type": "string"}}, "required": ["p", "q"]})
    assert cleaned["required"] == ["q"]
    assert cleaned["properties"]["p"]["type"] == "string"


def test_lists_of_types():
    assert prop({"type": ["integer", "string"]}) == {"type": "integer", "description": "(type: integer or string)"}
    assert prop({"type": ["null"]}) == {}


def test_the_richest_branch_is_chosen_and_the_node_has_the_last_word():
    chosen = prop(
        {
            "description": "Outer",
            "anyOf": [
                {"type": "string"},
                {"description": "Inner", "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"type": "array", "items": {"type": "string"}},
                "broken",
            ],
        }
    )
    assert chosen == {
        "description": "Outer",
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
    }
    assert prop({"anyOf": [{}, {"enum": ["a"]}]}) == {"type": "string", "enum": ["a"]}
    assert prop({"type": "string", "anyOf": [{"type": "null"}]}) == {"type": "string"}
    assert prop({"type": "string", "oneOf": "broken"}) == {"type": "string"}


def test_sums_and_conditions_are_merged():
    cleaned = clean_schema(
        {
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "allOf": [
                {"properties": {"b": {"type": "string"}, "a": {"type": "integer"}}, "required": ["b"]},
                {
                    "if": {"properties": {"a": {"const": "x"}}, "required": ["a"]},
                    "then": {"properties": {"c": {}}, "required": ["c"]},
                },
            ],
            "else": {"required": ["z"]},
        }
    )
    assert cleaned["properties"] == {"a": {"type": "string"}, "b": {"type": "string"}, "c": {}}
    assert sorted(cleaned["required"]) == ["a", "b"]


def test_references_are_written_out():
    cleaned = clean_schema(
        {
            "properties": {
                "to": {"$ref": "#/$defs/a~1b", "description": "Where"},
                "all": {"allOf": [{"$ref": "#/$defs/N"}]},
            },
            "$defs": {
                "a/b": {"$ref": "#/$defs/N"},
                "N": {"type": "object", "description": "N", "properties": {"x": {"type": "number"}}},
            },
        }
    )
    inner = {"type": "object", "properties": {"x": {"type": "number"}}}
    assert cleaned["properties"] == {"to": {"description": "Where", **inner}, "all": {"description": "N", **inner}}


def test_a_cycle_ends_in_words():
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/Node", "description": "More"}, "v": {"type": "string"}},
    }
    cleaned = prop({"$ref": "#/$defs/Node"}, **{"$defs": {"Node": node}})
    assert cleaned["properties"]["next"] == {"type": "object", "description": "More (see: Node)"}
    assert prop({"$ref": "#"})["properties"]["p"] == {"type": "object", "description": "See: #"}


@pytest.mark.parametrize("ref", ["#/$defs/Gone", "https://example.com/s.json", 5, "#/type/deeper"])
def test_a_reference_to_nothing_is_told_in_words(ref):
    found = prop({"$ref": ref})
    assert found["type"] == "object"
    assert found["description"].startswith("See: ")


def test_what_doubles_at_each_step_is_cut():
    defs = {
        f"d{i}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{i + 1}"} for k in "abcd"}} for i in range(30)
    }
    assert len(json.dumps(clean_schema({"$ref": "#/$defs/d0", "$defs": defs}))) < 1_000_000


def test_endless_depth_is_cut():
    schema = {}
    for _ in range(400):
        schema = {"type": "array", "items": schema}
    assert len(json.dumps(clean_schema({"properties": {"p": schema}}))) < 5000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "anyOf",
                    "oneOf",
                    "allOf",
                    "enum",
                    "const",
                    "$ref",
                    "if",
                    "then",
                    "required",
                    "nullable",
                    "default",
                    "description",
                ]
            )
            | st.text(max_size=3),
            inner | st.sampled_from(["object", "array", "string", "null", "#", "#/properties/a"]),
            max_size=5,
        )
    ),
    max_leaves=25,
)
_ALLOWED = {"type", "description", "minimum", "maximum", "properties", "required", "items", "enum"}


def check(node):
    assert set(node) <= _ALLOWED
    assert set(node.get("required", [])) <= set(node.get("properties", {}))
    for child in [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]:
        check(child)


@given(
    st.dictionaries(
        st.sampled_from(["properties", "anyOf", "allOf", "$ref", "required", "type", "if"]), _JSON, max_size=4
    )
)
def test_nonsense_comes_out_clean(schema):
    before = json.dumps(schema)
    cleaned = clean_schema(schema)
    assert cleaned["type"] == "object"
    check(cleaned)
    assert json.dumps(schema) == before
