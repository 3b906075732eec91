import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.google_json import camelled, json_schema, standard_base64


def test_both_spellings_of_every_name_but_the_client_s_own():
    own = {"snake_key": [{"another_one": 1}]}
    told = camelled(
        {
            "system_instruction": {"parts": [{"inline_data": {"mime_type": "a/b"}}]},
            "contents": [{"functionCall": {"name": "f_g", "args": own}}, {"function_response": {"response": own}}],
            "tools": [{"function_declarations": [{"parameters": own, "parameters_json_schema": own}]}],
            "generation_config": {"response_schema": own, "response_json_schema": own, "top_k": 1},
        }
    )
    assert told == {
        "systemInstruction": {"parts": [{"inlineData": {"mimeType": "a/b"}}]},
        "contents": [{"functionCall": {"name": "f_g", "args": own}}, {"functionResponse": {"response": own}}],
        "tools": [{"functionDeclarations": [{"parameters": own, "parametersJsonSchema": own}]}],
        "generationConfig": {"responseSchema": own, "responseJsonSchema": own, "topK": 1},
    }


def test_a_schema_of_google_as_json_schema():
    schema = {
        "type": "OBJECT",
        "properties": {
            "any_of": {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True, "example": "a"},
            "list": {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}, "min_items": "1", "maxItems": 4},
            "either": {"any_of": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
            "what": {"type": "TYPE_UNSPECIFIED", "nullable": False, "minLength": "x"},
            "open": {"type": ["STRING", "NULL", 7], "nullable": True},
            "true": True,
        },
        "property_ordering": ["list"],
        "required": ["list"],
        "additional_properties": False,
        "prefixItems": [{"type": "NULL"}],
        "defs": {"x": {"type": "STRING"}},
        "ref": "#/$defs/x",
        "anyOf": "odd",
        "title": "T",
    }
    assert json_schema(schema) == {
        "type": "object",
        "properties": {
            "any_of": {"type": ["string", "null"], "enum": ["a", None], "examples": ["a"]},
            "list": {"type": "array", "items": {"type": "integer", "format": "int32"}, "minItems": 1, "maxItems": 4},
            "either": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
            "what": {"minLength": "x"},
            "open": {"type": ["string", "null", 7]},
            "true": True,
        },
        "required": ["list"],
        "additionalProperties": False,
        "prefixItems": [{"type": "null"}],
        "$defs": {"x": {"type": "string"}},
        "$ref": "#/$defs/x",
        "anyOf": "odd",
        "title": "T",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "items", "anyOf", "properties", "nullable", "min_items", "enum", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["type", "nullable", "anyOf", "items", "properties", "enum"]), JSON, max_size=4))
def test_no_schema_makes_it_raise_and_the_client_s_stays_as_it_was(schema):
    before = repr(schema)
    json_schema(schema)
    assert repr(schema) == before


@pytest.mark.parametrize(
    ("given", "told"), [("-_-_", "+/+/"), ("AAA", "AAA="), ("AA", "AA=="), ("AAAA", "AAAA"), ("_w==", "/w=="), ("", "")]
)
def test_base64_of_either_alphabet(given, told):
    assert standard_base64(given) == told
