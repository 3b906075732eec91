import json

import pytest

from broker.translate.claude_models import claude_model
from broker.translate.codecs import CLIENTS, UPSTREAMS, Dialect
from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.exchange import Route, Target
from broker.translate.gemini_models import gemini_model
from broker.translate.ir import Effort, Reasoning, Sampling
from broker.translate.limits import UNTOLD, Limits, capped, fitted
from broker.translate.signatures import SignatureMemory

WORDS = ThinkingLimits(ThinkingClass.LEVEL, levels=(Effort.LOW, Effort.HIGH))
NUMBERS = ThinkingLimits(ThinkingClass.BUDGET, low=1024, high=8192, off=True, dynamic=True)
NONE = ThinkingLimits()


@pytest.mark.parametrize(
    ("wish", "thinking", "effort"),
    [
        (Reasoning(effort=Effort.MEDIUM), WORDS, Effort.LOW),
        (Reasoning(budget=100_000), WORDS, Effort.HIGH),
        (Reasoning(effort=Effort.HIGH), NUMBERS, Effort.MEDIUM),
        (Reasoning(effort=Effort.NONE), NUMBERS, Effort.NONE),
        (Reasoning(effort=Effort.AUTO), NUMBERS, Effort.AUTO),
    ],
)
def test_a_wish_becomes_a_word_the_model_knows(wish: Reasoning, thinking: ThinkingLimits, effort: Effort) -> None:
    assert fitted(wish, Limits(thinking)) == Reasoning(effort=effort)


def test_what_nothing_is_said_of_stays() -> None:
    wish = Reasoning(effort=Effort.MAX)
    assert fitted(wish, UNTOLD) is wish
    assert fitted(None, Limits(WORDS)) is None
    assert fitted(wish, Limits(NONE)) is None
    seen = Reasoning(visible=True)
    assert fitted(seen, Limits(WORDS)) is seen
    assert capped(Sampling(max_tokens=9), UNTOLD).max_tokens == 9
    assert capped(Sampling(), Limits(max_output=5)).max_tokens is None
    assert capped(Sampling(max_tokens=5), Limits(max_output=5)).max_tokens == 5
    assert capped(Sampling(max_tokens=9), Limits(max_output=5)).max_tokens == 5


def test_what_is_told_stands_before_what_the_name_says() -> None:
    told = Limits(NUMBERS, 100)
    assert gemini_model("mystery", told).thinking is NUMBERS
    assert gemini_model("gemini-2.5-pro", Limits(max_output=100)).max_output == 100
    assert gemini_model("gemini-2.5-pro", Limits(max_output=100)).thinking.low == 128
    assert claude_model("mystery", told).thinking is claude_model("claude-opus-4-5", told).thinking is NUMBERS
    assert claude_model("mystery", told).max_output == 100
    assert claude_model("claude-3-haiku-20240307", Limits(NUMBERS)).max_output == 4096


@pytest.mark.parametrize(
    ("dialect", "found"),
    [
        (Dialect.GEMINI, '"thinkingBudget":8192'),
        (Dialect.CLAUDE, '"budget_tokens":4096'),
        (Dialect.OPENAI_CHAT, '"reasoning_effort":"medium"'),
        (Dialect.RESPONSES, '"effort":"medium"'),
    ],
)
def test_every_codec_keeps_them(dialect: Dialect, found: str) -> None:
    client = Dialect.OPENAI_CHAT if dialect is Dialect.RESPONSES else Dialect.RESPONSES
    asked = {"model": "m", "max_completion_tokens": 99_000, "max_output_tokens": 99_000, "reasoning_effort": "high"}
    asked |= {"input": "hi", "messages": [{"role": "user", "content": "hi"}], "reasoning": {"effort": "high"}}
    request = CLIENTS[client].decode_request(json.dumps(asked).encode(), Route())
    thinking = ThinkingLimits(ThinkingClass.BUDGET, low=1024, high=4096 if dialect is Dialect.CLAUDE else 8192)
    sent = UPSTREAMS[dialect].encode_request(request, Target("m", SignatureMemory(), limits=Limits(thinking, 7_000)))
    text = sent.body.decode().replace(" ", "")
    assert found in text
    assert "7000" in text
    assert "99000" not in text
