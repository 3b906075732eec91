import pytest

from broker.model.errors import BrokerError
from broker.model.told import ThinkingKind, ThinkingLevel, Told, ToldModel, ToldThinking, faults

ONE, TWO = ToldModel(title="one"), ToldModel(title="two")


def thinking(kind: str, **fields: object) -> ToldModel:
    return ToldModel(thinking=ToldThinking(kind=ThinkingKind(kind), **fields))  # type: ignore[arg-type]


def test_a_name_comes_before_patterns_and_more_letters_before_fewer() -> None:
    told = Told({"claude-9": ONE, "claude-*": TWO, "claude-opus-*": ONE})
    assert told.of("claude-9") is ONE
    assert told.of("claude-8") is TWO
    assert told.of("claude-opus-8") is ONE
    assert told.of("gpt") is None
    assert list(told.named) == ["claude-9"]
    assert Told({}).of("x") is None


def test_two_patterns_that_fit_equally_well_are_named() -> None:
    with pytest.raises(BrokerError, match=r"\[models\] tables \*-x and a-\* equally well"):
        Told({"a-*": ONE, "*-x": TWO}).of("a-x")


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        (ToldModel(providers=("openai-compatible",), input_tokens=1, output_tokens=1), []),
        (ToldModel(providers=("Open AI",), input_tokens=0, output_tokens=-1), "providers input_tokens output_tokens"),
        (thinking("none"), []),
        (thinking("none", dynamic=True), "thinking"),
        (thinking("none", levels=(ThinkingLevel.LOW,)), "thinking"),
        (thinking("budget", low=1, high=2, off=True, dynamic=True), []),
        (thinking("budget"), "thinking"),
        (thinking("budget", low=3, high=2), "thinking"),
        (thinking("level", levels=(ThinkingLevel.LOW, ThinkingLevel.HIGH), dynamic=True), []),
        (thinking("level", levels=(ThinkingLevel.HIGH, ThinkingLevel.LOW)), "thinking"),
        (thinking("level"), "thinking"),
        (thinking("level", levels=(ThinkingLevel.LOW,), high=9), "thinking"),
    ],
)
def test_what_cannot_be_names_its_key(model: ToldModel, keys: object) -> None:
    found = [key for key, _ in faults(model)]
    assert found == (keys.split() if isinstance(keys, str) else keys)
