"""Cleaned schemas are remembered by what they say, as far as there is room."""

import tracemalloc

import msgspec
import pytest

from broker.translate.schema_clean import clean_schema
from broker.translate.schema_memory import SchemaMemory


def schema(name, size=0):
    return {"type": "object", "properties": {name: {"type": "string", "pattern": "x" * size}}, "required": [name]}


@pytest.mark.parametrize("given", [None, {}, schema("a"), {"type": "string"}])
def test_what_is_remembered_is_what_cleaning_gives(given):
    memory = SchemaMemory()
    first, again = memory.cleaned(given), memory.cleaned(given)
    assert msgspec.json.decode(bytes(first)) == clean_schema(given)
    assert again is first
    assert len(memory) == 1


def test_a_schema_that_says_something_else_is_another():
    memory = SchemaMemory()
    assert bytes(memory.cleaned(schema("a"))) != bytes(memory.cleaned(schema("b")))
    assert len(memory) == 2


def test_a_schema_that_was_changed_is_cleaned_anew():
    memory, given = SchemaMemory(), schema("a")
    before = memory.cleaned(given)
    given["properties"]["b"] = {"type": "integer"}
    assert (
        msgspec.json.decode(bytes(memory.cleaned(given))) == clean_schema(given) != msgspec.json.decode(bytes(before))
    )


def test_what_was_not_used_for_longest_goes_first():
    memory = SchemaMemory(most=1800)
    one, two = schema("a", 150), schema("b", 150)
    first = memory.cleaned(one)
    second = memory.cleaned(two)
    assert memory.cleaned(one) is first
    memory.cleaned(schema("c", 150))
    assert len(memory) == 2
    assert memory.cleaned(one) is first
    assert memory.cleaned(two) is not second


def test_what_is_larger_than_all_the_room_is_not_kept():
    memory = SchemaMemory(most=100)
    assert msgspec.json.decode(bytes(memory.cleaned(schema("a", 199)))) == clean_schema(schema("a", 199))
    assert len(memory) == 0


def test_tiny_ones_take_no_more_room_than_there_is():
    memory = SchemaMemory(most=200_000)
    tracemalloc.start()
    try:
        for number in range(5000):
            memory.cleaned({"title": number})
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 1.5 * 200_000


def test_what_is_nested_too_deeply_to_be_written_is_cut():
    given = {}
    for _ in range(5000):
        given = {"type": "array", "items": given}
    memory = SchemaMemory()
    assert msgspec.json.decode(bytes(memory.cleaned(given)))["type"] == "object"
    assert len(memory) == 0
