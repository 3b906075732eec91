from enum import StrEnum
from typing import Literal

import msgspec
import pytest

from broker.settings.checks import Fault
from broker.settings.shape import read


class Word(StrEnum):
    YES = "yes"
    NO = "no"


class Inner(msgspec.Struct, frozen=True):
    number: int
    words: tuple[str, ...] = ()
    chosen: tuple[Word, ...] = ()
    either: int | Literal["this", "that"] | None = None


class Outer(msgspec.Struct, frozen=True):
    plain: float = 1.0
    one: Inner = Inner(0)
    named: dict[str, Inner] = {}
    listed: tuple[Inner, ...] = ()
    made: complex = 0j


def hook(kind: type, value: object) -> object:
    if kind is complex and isinstance(value, str):
        return complex(value)
    raise ValueError("Expected `str`")


def test_tables_of_every_form_are_read() -> None:
    tree = {
        "plain": 2, "one": {"number": 1}, "named": {"x.y": {"number": 2, "words": ["a"]}}, "listed": [{"number": 3}], "made": "1j",
    }  # fmt: skip
    assert read(tree, Outer, hook) == (Outer(2.0, Inner(1), {"x.y": Inner(2, ("a",))}, (Inner(3),), 1j), ())


@pytest.mark.parametrize(
    ("tree", "key", "said"),
    [
        ({"plain": "x"}, ("plain",), "expected `float`, got `str`"),
        ({"plian": 1}, ("plian",), "did you mean plain?"),
        ({"number": 1}, ("number",), "[one] has one"),
        ({"zzz": 1}, ("zzz",), "there are: plain, one, named, listed, made"),
        ({"one": 1}, ("one",), "must be a table"),
        ({"one": {}}, ("one", "number"), "is missing"),
        ({"one": {"number": 1, "words": ["a", 2]}}, ("one", "words", "1"), "expected `str`, got `int`"),
        ({"named": 1}, ("named",), "must be a table"),
        ({"named": {"a.b": {"number": True}}}, ("named", "a.b", "number"), "expected `int`, got `bool`"),
        ({"listed": 1}, ("listed",), "expected `array`, got `int`"),
        ({"listed": [{"number": 1}, {"numbr": 1, "number": 1}]}, ("listed", "1", "numbr"), "did you mean number?"),
        ({"made": 1}, ("made",), "expected `str`"),
        ({"one": {"number": 1, "chosen": ["yse"]}}, ("one", "chosen", "0"), "enum value 'yse'; there are: no, yes"),
        ({"one": {"number": 1, "either": "x"}}, ("one", "either"), "invalid enum value 'x'; there are: that, this"),
    ],
)
def test_a_fault_has_its_key(tree: dict[str, object], key: tuple[str, ...], said: str) -> None:
    made, faults = read(tree, Outer, hook)
    assert made is None
    assert [fault.key for fault in faults] == [key]
    assert said in faults[0].text


def test_no_fault_hides_another() -> None:
    made, faults = read({"plain": "x", "one": {"word": 1}, "named": {"a": 3}}, Outer, hook)
    assert made is None
    assert {fault.key for fault in faults} == {("plain",), ("one", "word"), ("one", "number"), ("named", "a")}
    assert all(isinstance(fault, Fault) for fault in faults)
