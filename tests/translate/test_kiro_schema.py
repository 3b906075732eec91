from broker.translate.kiro_schema import clean_schema


def test_no_schema_is_an_object_without_properties():
    assert clean_schema(None) == {"type": "object"}
    assert clean_schema({"properties": {}}) == {"properties": {}, "type": "object"}
    assert clean_schema({"type": "string"}) == {"type": "object"}


def test_what_is_refused_is_left_out_wherever_a_schema_stands():
    bad = {"type": "object", "required": [], "additionalProperties": False}
    good = {"type": "object"}
    schema = {
        **bad,
        "properties": {"a": {**bad, "items": bad}, "b": {"anyOf": [bad, {"required": ["x"]}]}},
        "$defs": {"d": bad},
    }
    assert clean_schema(schema) == {
        **good,
        "properties": {"a": {**good, "items": good}, "b": {"anyOf": [good, {"required": ["x"]}]}},
        "$defs": {"d": good},
    }


def test_what_is_no_keyword_stays():
    schema = {
        "type": "object",
        "properties": {"required": {"type": "array"}, "additionalProperties": {"type": "string"}},
        "required": ["required"],
        "default": {"required": [], "additionalProperties": 1},
        "enum": [{"required": []}],
        "items": True,
        "not": "odd",
    }
    before = repr(schema)
    assert clean_schema(schema) == schema
    assert repr(schema) == before
    odd = {"type": "object", "properties": ["a list"]}
    assert clean_schema(odd) == odd


def test_depth_has_an_end():
    deep = {"additionalProperties": True}
    for _ in range(500):
        deep = {"items": deep}
    assert clean_schema(deep)["type"] == "object"
