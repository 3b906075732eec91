"""How hard to think: reading wishes, and fitting them to a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.effort import (
    Thinking,
    ThinkingClass,
    ThinkingLimits,
    fit,
    level_of,
    of_budget,
    parse_effort,
    split_suffix,
)
from broker.translate.ir import Effort, Reasoning

BUDGET = ThinkingLimits(ThinkingClass.BUDGET, 128, 32768)
FREE = ThinkingLimits(ThinkingClass.BUDGET, 0, 24576, off=True, dynamic=True)
LEVEL = ThinkingLimits(ThinkingClass.LEVEL, levels=(Effort.LOW, Effort.HIGH))
DYNAMIC = ThinkingLimits(
    ThinkingClass.LEVEL, dynamic=True, levels=(Effort.MINIMAL, Effort.LOW, Effort.MEDIUM, Effort.HIGH)
)


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("gemini-2.5-pro", ("gemini-2.5-pro", None)),
        ("gemini-2.5-pro(8192)", ("gemini-2.5-pro", Reasoning(budget=8192))),
        ("gemini-2.5-pro (High)", ("gemini-2.5-pro", Reasoning(effort=Effort.HIGH))),
        ("m(none)", ("m", Reasoning(effort=Effort.NONE))),
        ("m(0)", ("m", Reasoning(effort=Effort.NONE))),
        ("m(auto)", ("m", Reasoning(effort=Effort.AUTO))),
        ("m(-1)", ("m", Reasoning(effort=Effort.AUTO))),
        ("m(preview)", ("m(preview)", None)),
        ("m()", ("m()", None)),
        ("m(1234567890)", ("m(1234567890)", None)),
        ("m(²)", ("m(²)", None)),
        ("(high)", ("(high)", None)),
    ],
)
def test_the_suffix(model, parts):
    assert split_suffix(model) == parts


def test_budgets_have_one_form():
    assert of_budget(5) == Reasoning(budget=5)
    assert of_budget(0) == parse_effort(" NONE ")


@pytest.mark.parametrize(
    ("tokens", "level"),
    [
        (1, Effort.MINIMAL),
        (512, Effort.MINIMAL),
        (513, Effort.LOW),
        (1024, Effort.LOW),
        (8192, Effort.MEDIUM),
        (24576, Effort.HIGH),
        (24577, Effort.XHIGH),
    ],
)
def test_thresholds(tokens, level):
    assert level_of(tokens) is level


@pytest.mark.parametrize(
    ("wish", "limits", "fitted"),
    [
        (Reasoning(effort=Effort.HIGH), ThinkingLimits(), None),
        (Reasoning(), BUDGET, None),
        (Reasoning(effort=Effort.LOW), BUDGET, Thinking(budget=1024)),
        (Reasoning(effort=Effort.MEDIUM), BUDGET, Thinking(budget=8192)),
        (Reasoning(effort=Effort.MAX), BUDGET, Thinking(budget=32768)),
        (Reasoning(budget=7), BUDGET, Thinking(budget=128)),
        (Reasoning(effort=Effort.NONE), BUDGET, Thinking(budget=128)),
        (Reasoning(effort=Effort.AUTO), BUDGET, Thinking(budget=(128 + 32768) // 2)),
        (Reasoning(effort=Effort.NONE), FREE, Thinking(budget=0)),
        (Reasoning(effort=Effort.AUTO), FREE, Thinking(budget=-1)),
        (Reasoning(effort=Effort.XHIGH), FREE, Thinking(budget=24576)),
        (Reasoning(effort=Effort.HIGH), LEVEL, Thinking(level=Effort.HIGH)),
        (Reasoning(effort=Effort.MEDIUM), LEVEL, Thinking(level=Effort.LOW)),  # a tie goes to the lower
        (Reasoning(effort=Effort.NONE), LEVEL, Thinking(level=Effort.LOW)),
        (Reasoning(effort=Effort.AUTO), LEVEL, Thinking(level=Effort.LOW)),  # the middle, the lower one
        (Reasoning(budget=30000), LEVEL, Thinking(level=Effort.HIGH)),
        (Reasoning(effort=Effort.AUTO), DYNAMIC, Thinking(budget=-1)),
        (Reasoning(effort=Effort.NONE), DYNAMIC, Thinking(level=Effort.MINIMAL)),
    ],
)
def test_fitting(wish, limits, fitted):
    assert fit(wish, limits) == fitted


@given(st.integers(-5, 200_000), st.sampled_from([BUDGET, FREE, LEVEL, DYNAMIC]))
def test_whatever_is_wished_fits(tokens, limits):
    fitted = fit(of_budget(tokens), limits)
    assert fitted is not None
    if fitted.budget is None:
        assert fitted.level in limits.levels
    elif fitted.budget > 0:
        assert limits.low <= fitted.budget <= limits.high
    else:
        assert limits.off if fitted.budget == 0 else limits.dynamic
