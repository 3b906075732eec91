import pytest

from broker.translate.claude_models import claude_model
from broker.translate.effort import ThinkingClass


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
