import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError
from broker.translate.codecs import Dialect
from broker.translate.effort import ThinkingClass, ThinkingLimits, parse_effort
from broker.translate.ir import Effort, Reasoning
from broker.translate.limits import Limits
from broker.translate.thinking import unsuffixed, with_thinking

CHAT, RESPONSES, GEMINI, CLAUDE = Dialect.OPENAI_CHAT, Dialect.RESPONSES, Dialect.GEMINI, Dialect.CLAUDE


def edited(dialect: Dialect, body: str, wish: str, model: str, *, count: bool = False) -> str:
    parsed = parse_effort(wish)
    assert parsed is not None
    return with_thinking(dialect, body.encode(), parsed, model, count=count).decode()


@pytest.mark.parametrize(
    ("model", "wish", "body", "made"),
    [
        ("gpt-5", "high", '{ "n" : 1e0 }', '{ "n" : 1e0,"reasoning_effort":"high" }'),
        ("gpt-5", "max", '{"reasoning_effort": "low" , "n":1}', '{"reasoning_effort": "high" , "n":1}'),
        ("gpt-5.2", "max", "{}", '{"reasoning_effort":"xhigh"}'),
        ("gpt-5", "8192", "{}", '{"reasoning_effort":"medium"}'),
        ("gpt-5", "none", "{}", '{"reasoning_effort":"minimal"}'),
        ("gpt-5.1", "none", '{"temperature":0.2}', '{"temperature":0.2,"reasoning_effort":"none"}'),
        ("gpt-5.1", "auto", '{"reasoning_effort":"low","temperature":0.2}', '{"temperature":0.2}'),
        (
            "gpt-5.1",
            "low",
            '{"temperature":0.2,"top_p":1.0,"logprobs":true,"top_logprobs":2}',
            '{"top_p":1.0,"reasoning_effort":"low"}',
        ),
        ("gpt-4o", "high", '{"reasoning_effort":"low" }', '{"reasoning_effort":"low" }'),
        ("gpt-4o", "none", '{"reasoning_effort":"low" }', "{ }"),
        ("some-model", "minimal", '{"temperature":0.2}', '{"temperature":0.2,"reasoning_effort":"minimal"}'),
    ],
)
def test_chat_completions(model: str, wish: str, body: str, made: str) -> None:
    assert edited(CHAT, body, wish, model) == made


@pytest.mark.parametrize(
    ("model", "wish", "body", "made"),
    [
        ("gpt-5.2", "high", '{ "n" : 1e0 }', '{ "n" : 1e0,"reasoning":{"effort":"high"} }'),
        (
            "gpt-5.2",
            "low",
            '{"reasoning": { "summary" : "auto" , "effort":"high" } }',
            '{"reasoning": { "summary" : "auto" , "effort":"low" } }',
        ),
        ("gpt-5.2", "auto", '{"reasoning": {"effort":"high" } }', "{ }"),
        ("gpt-5.2", "auto", '{"reasoning": {"effort":"high","summary":"auto"}}', '{"reasoning": {"summary":"auto"}}'),
        ("gpt-5.2", "none", '{"reasoning":null}', '{"reasoning":{"effort":"none"}}'),
    ],
)
def test_responses(model: str, wish: str, body: str, made: str) -> None:
    assert edited(RESPONSES, body, wish, model) == made


@pytest.mark.parametrize(
    ("model", "wish", "body", "made"),
    [
        (
            "gemini-2.5-pro",
            "8192",
            '{ "x" : 1e0 }',
            '{ "x" : 1e0,"generationConfig":{"thinkingConfig":{"thinkingBudget":8192}} }',
        ),
        ("gemini-2.5-pro", "none", "{}", '{"generationConfig":{"thinkingConfig":{"thinkingBudget":128}}}'),
        ("gemini-2.5-pro", "max", "{}", '{"generationConfig":{"thinkingConfig":{"thinkingBudget":32768}}}'),
        (
            "gemini-2.5-flash",
            "none",
            '{"generation_config":{"a":1 ,"thinking_config":{"include_thoughts":true}}}',
            '{"generation_config":{"a":1 ,"thinking_config":{"thinkingBudget":0}}}',
        ),
        (
            "gemini-2.5-flash",
            "auto",
            '{"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinking_budget":5}}}',
            '{"generationConfig":{"thinkingConfig":{"includeThoughts":true,"thinking_budget":-1}}}',
        ),
        (
            "gemini-3-pro-preview",
            "max",
            '{"generationConfig":{"thinkingConfig":{"thinkingBudget":5 , "includeThoughts" : true}}}',
            '{"generationConfig":{"thinkingConfig":{"includeThoughts" : true,"thinkingLevel":"high"}}}',
        ),
        (
            "gemini-3-pro",
            "auto",
            '{"generationConfig":null}',
            '{"generationConfig":{"thinkingConfig":{"thinkingBudget":-1}}}',
        ),
        ("gemini-3-flash", "none", "{}", '{"generationConfig":{"thinkingConfig":{"thinkingLevel":"minimal"}}}'),
        ("gemini-2.0-flash", "high", '{"generationConfig":{}}', '{"generationConfig":{}}'),
        (
            "claude-opus-4-6-thinking",
            "none",
            '{"generationConfig":{"thinkingConfig":{"thinkingBudget":5},"topK":1}}',
            '{"generationConfig":{"topK":1}}',
        ),
    ],
)
def test_gemini(model: str, wish: str, body: str, made: str) -> None:
    assert edited(GEMINI, body, wish, model) == made


def test_gemini_counts_contents_or_a_whole_request() -> None:
    alone = '{"contents":[]}'
    assert edited(GEMINI, alone, "high", "gemini-3-pro", count=True) == alone
    whole = '{"generateContentRequest":{"contents":[]}}'
    told = json.loads(edited(GEMINI, whole, "high", "gemini-3-pro", count=True))
    inner = told["generateContentRequest"]
    assert inner == {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingLevel": "high"}}}


def test_anthropic_has_a_module_of_its_own() -> None:
    assert edited(CLAUDE, "{}", "high", "claude-opus-4-6", count=True) == '{"thinking":{"type":"adaptive"}}'


def test_what_the_config_says_of_a_model_comes_first() -> None:
    told = Limits(ThinkingLimits(ThinkingClass.BUDGET, low=10, high=20))
    body = with_thinking(GEMINI, b"{}", Reasoning(budget=99), "mine", told)
    assert json.loads(body) == {"generationConfig": {"thinkingConfig": {"thinkingBudget": 20}}}
    none = Limits(ThinkingLimits())
    assert with_thinking(CHAT, b"{}", Reasoning(effort=Effort.HIGH), "gpt-5", none) == b"{}"


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, GEMINI, CLAUDE])
@pytest.mark.parametrize("body", [b"", b'{"a":}', b"7"])
def test_what_is_no_object_is_refused(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(BrokerError):
        with_thinking(
            dialect, body, Reasoning(effort=Effort.HIGH), "gpt-5" if dialect in (CHAT, RESPONSES) else "gemini-3-pro"
        )


WISHES = st.sampled_from([*(effort.value for effort in Effort), "1", "1024", "8000", "200000"])
MODELS = st.sampled_from(
    [
        "gpt-5",
        "gpt-5.2",
        "gpt-4o",
        "gemini-2.5-pro",
        "gemini-2.5-flash",
        "gemini-3-pro",
        "claude-opus-4-5",
        "claude-opus-4-6",
    ]
)
OTHERS = st.dictionaries(st.sampled_from(["a", "é", "contents", "input"]), st.integers() | st.text(), max_size=3)


@given(dialect=st.sampled_from([CHAT, RESPONSES, GEMINI, CLAUDE]), wish=WISHES, model=MODELS, others=OTHERS)
def test_it_is_said_once_and_nothing_else_is_changed(
    dialect: Dialect, wish: str, model: str, others: dict[str, object]
) -> None:
    body = json.dumps(others, ensure_ascii=False)
    once = edited(dialect, body, wish, model)
    assert edited(dialect, once, wish, model) == once
    assert once.startswith(body[:-1])


def test_a_body_of_gemini_names_its_model_without_a_suffix() -> None:
    whole = b'{"generateContentRequest":{"model" : "models/gemini-2.5-pro(high)" }}'
    assert unsuffixed(whole, "g") == b'{"generateContentRequest":{"model" : "models/g" }}'
    assert unsuffixed(b'{"model":"gemini-2.5-pro(8192)"}', "g") == b'{"model":"g"}'
    for plain in (b'{"model":"models/gemini-2.5-pro"}', b'{"model":7}', b'{"model":"gemma(odd)"}', b"{}"):
        assert unsuffixed(plain, "g") == plain
