"""The neutral model: values that cannot change, and ids that follow from what is given."""

import pytest

from broker.translate.ir import Ids, Text, Usage


def test_values_do_not_change():
    text = Text("a")
    with pytest.raises(AttributeError):
        text.text = "b"


def test_total_is_prompt_and_completion():
    assert Usage(prompt=3, completion=4, reasoning=2, cached=1).total == 7


def test_call_ids_are_the_same_on_every_run_and_short_enough():
    ids = Ids("x" * 200, 1)
    assert ids.call(0) == Ids("x" * 200, 9).call(0) != ids.call(1)
    assert len(ids.call(999)) <= 64
