"""The neutral model: values that cannot change."""

import pytest

from broker.translate.ir import Text, Usage


def test_values_do_not_change():
    text = Text("a")
    with pytest.raises(AttributeError):
        text.text = "b"


def test_total_is_prompt_and_completion():
    assert Usage(prompt=3, completion=4, reasoning=2, cached=1).total == 7
