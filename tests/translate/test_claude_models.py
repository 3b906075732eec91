import pytest

from broker.translate.claude_models import Chance, Off, claude_model
from broker.translate.effort import ThinkingClass
from broker.translate.ir import Effort
from broker.translate.limits import Limits


@pytest.mark.parametrize(
    ("name", "kind", "most"),
    [
        ("claude-3-haiku-20240307", ThinkingClass.NONE, 4096),
        ("claude-3-5-sonnet-20241022", ThinkingClass.NONE, 8192),
        ("claude-3-7-sonnet-latest", ThinkingClass.BUDGET, None),
        ("claude-sonnet-4-20250514", ThinkingClass.BUDGET, None),
        ("claude-opus-4-5-20251101", ThinkingClass.BUDGET, None),
        ("claude-haiku-4-5", ThinkingClass.BUDGET, None),
        ("claude-sonnet-4-6", ThinkingClass.LEVEL, None),
        ("claude-opus-5", ThinkingClass.LEVEL, None),
        ("claude-something-new", ThinkingClass.LEVEL, None),
    ],
)
def test_models_are_told_apart_by_their_names(name, kind, most):
    model = claude_model(name)
    assert (model.thinking.kind, model.max_output) == (kind, most)


@pytest.mark.parametrize(
    ("name", "chance"),
    [
        ("claude-3-7-sonnet-latest", Chance.ALL),
        ("claude-opus-4-20250514", Chance.ALL),
        ("claude-opus-4-1-20250805", Chance.EITHER),
        ("claude-haiku-4-5", Chance.EITHER),
        ("claude-opus-4-6", Chance.EITHER),
        ("claude-opus-4-7", Chance.NONE),
        ("claude-opus-5", Chance.NONE),
        ("claude-something-new", Chance.NONE),
        ("another-vendors-model", Chance.ALL),
    ],
)
def test_which_settings_of_chance_a_model_takes(name, chance):
    assert claude_model(name).chance is chance
    assert claude_model(name, Limits(max_output=9)).chance is chance


@pytest.mark.parametrize(
    ("name", "continues"),
    [
        ("claude-3-opus", True),
        ("claude-opus-4-5", True),
        ("claude-opus-4-6", False),
        ("claude-something-new", False),
        ("another-vendors-model", True),
    ],
)
def test_which_models_go_on_with_an_answer_that_was_begun(name, continues):
    assert claude_model(name).continues is continues
    assert claude_model(name, Limits(max_output=9)).continues is continues


@pytest.mark.parametrize(
    ("name", "off", "finer"),
    [
        ("claude-opus-4-5", Off.SILENCE, None),
        ("claude-opus-4-6", Off.SILENCE, False),
        ("claude-opus-4-8", Off.SILENCE, True),
        ("claude-opus-5", Off.DISABLED, True),
        ("claude-sonnet-5-20260601", Off.DISABLED, True),
        ("claude-haiku-5-5", Off.DISABLED, True),
        ("claude-opus-5-5", Off.NEVER, True),
        ("claude-sonnet-5-5", Off.NEVER, True),
        ("claude-fable-5", Off.NEVER, True),
        ("another-vendors-model", Off.SILENCE, False),
    ],
)
def test_how_a_model_is_told_not_to_think(name, off, finer):
    model = claude_model(name)
    assert model.off is off
    assert (Effort.XHIGH in model.thinking.levels) is bool(finer)
    assert claude_model(name, Limits(max_output=9)).off is off
