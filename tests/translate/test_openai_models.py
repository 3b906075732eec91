import pytest

from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.ir import Effort, Reasoning
from broker.translate.limits import Limits
from broker.translate.openai_models import openai_model, word


@pytest.mark.parametrize(
    ("name", "levels", "off", "bare"),
    [
        ("gpt-5", "minimal low medium high", False, True),
        ("gpt-5-mini-2025-08-07", "minimal low medium high", False, True),
        ("gpt-5-pro", "high", False, True),
        ("gpt-5.2-pro", "medium high xhigh", False, True),
        ("gpt-5-codex", "low medium high", False, True),
        ("gpt-5.1-codex-mini", "low medium high", False, True),
        ("gpt-5.1-codex-max", "low medium high xhigh", False, True),
        ("gpt-5.3-codex", "low medium high xhigh", False, True),
        ("codex-mini-latest", "low medium high", False, True),
        ("gpt-5.1", "low medium high", True, True),
        ("gpt-5.4-mini", "low medium high xhigh", True, True),
        ("gpt-6", "low medium high xhigh", True, True),
        ("gpt-oss-120b", "low medium high", False, False),
        ("o3-mini", "low medium high", False, True),
        ("grok-3-mini-fast", "low high", False, False),
        ("qwen3-max", "minimal low medium high xhigh", True, False),
    ],
)
def test_models_take_the_words_they_are_documented_with(name: str, levels: str, off: bool, bare: bool) -> None:
    model = openai_model(name)
    assert model.thinking.levels == tuple(Effort(word) for word in levels.split())
    assert (model.thinking.kind, model.thinking.off, model.bare) == (ThinkingClass.LEVEL, off, bare)


@pytest.mark.parametrize(
    ("name", "rethinks"),
    [("kimi-k2-thinking", True), ("k2.5", True), ("moonshotai/Kimi-K2", True), ("qwen3-max", False), ("gpt-5", False)],
)
def test_which_models_want_their_thoughts_back(name: str, rethinks: bool) -> None:
    assert openai_model(name).rethinks is rethinks
    told = ThinkingLimits(ThinkingClass.LEVEL, levels=(Effort.LOW,))
    assert openai_model(name, Limits(told)).rethinks is rethinks


@pytest.mark.parametrize(
    "name",
    ["gpt-4o", "gpt-3.5-turbo", "gpt-4.1", "chatgpt-4o-latest", "gpt-5-chat-latest", "gpt-5.1-chat-latest", "grok-4"],
)
def test_models_that_take_none(name: str) -> None:
    assert openai_model(name).thinking.kind is ThinkingClass.NONE


def test_what_is_told_comes_first() -> None:
    told = ThinkingLimits(ThinkingClass.LEVEL, levels=(Effort.LOW,))
    assert openai_model("gpt-4o", Limits(told)).thinking is told
    assert openai_model("gpt-5", Limits(max_output=9)).thinking.levels[0] is Effort.MINIMAL


@pytest.mark.parametrize(
    ("name", "wish", "told"),
    [
        ("gpt-5", Reasoning(effort=Effort.AUTO), None),
        ("gpt-5", Reasoning(effort=Effort.NONE), Effort.MINIMAL),
        ("gpt-5.1", Reasoning(effort=Effort.NONE), Effort.NONE),
        ("gpt-5.1", Reasoning(effort=Effort.MAX), Effort.HIGH),
        ("gpt-5.2", Reasoning(budget=5000), Effort.MEDIUM),
        ("gpt-4o", Reasoning(effort=Effort.HIGH), None),
    ],
)
def test_wishes_become_words_that_the_model_takes(name: str, wish: Reasoning, told: Effort | None) -> None:
    assert word(wish, openai_model(name).thinking) == told
