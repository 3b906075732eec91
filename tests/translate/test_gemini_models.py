"""Families of Gemini models."""

import pytest

from broker.translate.effort import ThinkingClass
from broker.translate.gemini_models import gemini_model
from broker.translate.ir import Effort


@pytest.mark.parametrize(
    ("name", "kind", "low", "high", "off"),
    [
        ("gemini-2.5-pro", ThinkingClass.BUDGET, 128, 32768, False),
        ("models/gemini-2.5-pro-preview-06-05", ThinkingClass.BUDGET, 128, 32768, False),
        ("gemini-2.5-flash", ThinkingClass.BUDGET, 0, 24576, True),
        ("gemini-2.5-flash-lite", ThinkingClass.BUDGET, 512, 24576, True),
        ("gemini-2.5-flash-image", ThinkingClass.NONE, 0, 0, False),
        ("gemini-2.0-flash", ThinkingClass.NONE, 0, 0, False),
        ("gemini-flash-latest", ThinkingClass.BUDGET, 0, 24576, True),
        ("something-else", ThinkingClass.NONE, 0, 0, False),
    ],
)
def test_budgets(name, kind, low, high, off):
    limits = gemini_model(name).thinking
    assert (limits.kind, limits.low, limits.high, limits.off) == (kind, low, high, off)


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("gemini-3-pro-preview", (Effort.LOW, Effort.HIGH)),
        ("gemini-3-pro-image-preview", (Effort.LOW, Effort.HIGH)),
        ("gemini-3.1-pro-preview", (Effort.LOW, Effort.MEDIUM, Effort.HIGH)),
        ("gemini-3-flash-preview", (Effort.MINIMAL, Effort.LOW, Effort.MEDIUM, Effort.HIGH)),
    ],
)
def test_levels(name, levels):
    model = gemini_model(name)
    assert (model.thinking.kind, model.thinking.levels) == (ThinkingClass.LEVEL, levels)


def test_output_limits():
    assert gemini_model("gemini-3-pro-image-preview").max_output == 32768
    assert gemini_model("gemini-2.0-flash").max_output == 8192
    assert gemini_model("unheard-of").max_output is None
