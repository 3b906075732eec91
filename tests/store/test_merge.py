import pytest

from broker.store.merge import Contested, deep_merge, three_way
from broker.store.table import Place


def test_deep_merge_keeps_what_is_not_mentioned() -> None:
    old = {"a": 1, "o": {"x": 1, "y": 2}, "p": {"x": 1}}
    assert deep_merge(old, {"b": 2, "o": {"y": 3}, "p": 7}) == {"a": 1, "b": 2, "o": {"x": 1, "y": 3}, "p": 7}
    assert old == {"a": 1, "o": {"x": 1, "y": 2}, "p": {"x": 1}}


@pytest.mark.parametrize(
    ("base", "theirs", "now", "made"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2}),  # added
        ({"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}),  # changed
        ({"a": 1}, {}, {"a": 1, "c": 3}, {"c": 3}),  # removed
        ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 3}),  # changed by both: the present counts
        ({"a": 1}, {}, {"a": 3}, {"a": 3}),
        ({"a": 1}, {"a": 1}, {"a": 3}, {"a": 3}),  # not theirs
        ({}, {"b": 2}, {"b": 2}, {"b": 2}),  # already there
        ({"a": 1}, {"a": True}, {"a": 1}, {"a": True}),  # equal in Python, not in JSON
        ({"o": {"x": 1, "y": 1}}, {"o": {"x": 2, "y": 1}}, {"o": {"x": 1, "y": 5}}, {"o": {"x": 2, "y": 5}}),
        ({"o": {"x": 1}}, {"o": {"x": 2}}, {"o": 7}, {"o": 7}),
    ],
)
def test_three_way(
    base: dict[str, object], theirs: dict[str, object], now: dict[str, object], made: dict[str, object]
) -> None:
    assert three_way(base, theirs, now) == made
    assert three_way(base, theirs, theirs) == theirs


def test_contested_writes_are_remembered_for_a_while() -> None:
    place, contested = Place(0, "a.json"), Contested(1.0)
    assert contested.merged(place, {"a": 1}, 0.0) == {"a": 1}
    contested.note(place, {"a": 1}, {"a": 1, "b": 2}, 5.0)
    contested.note(place, {"a": 1}, {"a": 1, "c": 3}, 5.5)
    assert contested.merged(place, {"a": 1}, 5.9) == {"a": 1, "b": 2, "c": 3}
    assert contested.merged(place.flipped, {"a": 1}, 5.9) == {"a": 1}
    assert contested.merged(place, {"a": 1}, 6.1) == {"a": 1, "c": 3}
    assert contested.merged(place, {"a": 1}, 9.0) == {"a": 1}
