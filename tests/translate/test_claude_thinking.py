import json

import pytest

from broker.translate.claude_thinking import with_thinking, without_empty
from broker.translate.effort import ThinkingClass, ThinkingLimits, parse_effort
from broker.translate.ir import Reasoning
from broker.translate.limits import Limits

OPUS, OLD = "claude-opus-4-6", "claude-opus-4-5"


def edited(body: str, wish: str, model: str, *, count: bool = False) -> str:
    parsed = parse_effort(wish)
    assert parsed is not None
    return with_thinking(body.encode(), parsed, model, count=count).decode()


@pytest.mark.parametrize(
    ("wish", "body", "made"),
    [
        ("max", '{ "x" : 1e0 }', '{ "x" : 1e0,"thinking":{"type":"adaptive"},"output_config":{"effort":"max"} }'),
        (
            "low",
            '{"thinking":{"type":"enabled" , "budget_tokens":5000, "display":"omitted"}, "output_config":{ "format":{}}}',
            '{"thinking":{"type":"adaptive", "display":"omitted"}, "output_config":{ "format":{},"effort":"low"}}',
        ),
        ("auto", '{"output_config":{"effort":"high"} ,"x":1}', '{"x":1,"thinking":{"type":"adaptive"}}'),
        (
            "auto",
            '{"thinking":{"type":"disabled"},"output_config":{"format":{},"effort":"high"}}',
            '{"thinking":{"type":"adaptive"},"output_config":{"format":{}}}',
        ),
        ("none", '{"thinking":{"type":"adaptive"} ,"x":1}', '{"x":1}'),
    ],
)
def test_models_that_adapt_are_told_an_effort(wish: str, body: str, made: str) -> None:
    assert edited(body, wish, OPUS) == made


@pytest.mark.parametrize(
    ("wish", "body", "made"),
    [
        ("5000", '{ "max_tokens":32000 }', '{ "max_tokens":32000,"thinking":{"type":"enabled","budget_tokens":5000} }'),
        ("high", '{"max_tokens":8000}', '{"max_tokens":8000,"thinking":{"type":"enabled","budget_tokens":6000}}'),
        ("1", '{"max_tokens":8000}', '{"max_tokens":8000,"thinking":{"type":"enabled","budget_tokens":1024}}'),
        ("high", '{"max_tokens":1200 ,"thinking":{"type":"enabled","budget_tokens":1100}}', '{"max_tokens":1200}'),
        (
            "2048",
            '{"max_tokens":8000,"thinking":{"type":"adaptive","display":"omitted"}}',
            '{"max_tokens":8000,"thinking":{"type":"enabled","display":"omitted","budget_tokens":2048}}',
        ),
        ("none", '{"max_tokens":8000,"thinking":{"type":"enabled","budget_tokens":2000}}', '{"max_tokens":8000}'),
        ("high", '{"max_tokens":"?"}', '{"max_tokens":"?","thinking":{"type":"enabled","budget_tokens":24576}}'),
    ],
)
def test_older_models_are_told_a_budget_below_the_limit(wish: str, body: str, made: str) -> None:
    assert edited(body, wish, OLD) == made


def test_models_that_do_not_think_are_left_alone() -> None:
    body = '{"thinking":{"type":"enabled"}}'
    assert edited(body, "high", "claude-3-5-sonnet-20241022") == body
    assert edited(body, "none", "claude-3-5-sonnet-20241022") == "{}"


def test_a_budget_that_the_config_leaves_to_the_model_is_none() -> None:
    told = Limits(ThinkingLimits(ThinkingClass.BUDGET, low=1024, high=9000, dynamic=True))
    wish = parse_effort("auto")
    assert isinstance(wish, Reasoning)
    assert with_thinking(b'{"max_tokens":9000}', wish, OLD, told) == b'{"max_tokens":9000}'


@pytest.mark.parametrize("model", [OPUS, OLD])
def test_sampling_that_is_refused_while_thinking_goes(model: str) -> None:
    refused = {"max_tokens": 9000, "temperature": 0.2, "top_k": 5, "top_p": 0.9}
    assert json.loads(edited(json.dumps(refused), "high", model)).keys() & {"temperature", "top_k", "top_p"} == set()
    taken = {"max_tokens": 9000, "temperature": 1.0, "top_p": 0.95}
    made = json.loads(edited(json.dumps(taken), "high", model))
    assert made["temperature"] == 1.0
    assert made["top_p"] == 0.95
    off = json.loads(edited(json.dumps(refused), "none", model))
    assert {name: off[name] for name in refused} == refused


@pytest.mark.parametrize("model", [OPUS, OLD])
@pytest.mark.parametrize(("kind", "thinks"), [("any", False), ("tool", False), ("auto", True), ("none", True)])
def test_no_thinking_where_a_call_is_forced(model: str, kind: str, thinks: bool) -> None:
    body = {"max_tokens": 9000, "thinking": {"type": "adaptive"}, "tool_choice": {"type": kind}, "temperature": 0.5}
    made = json.loads(edited(json.dumps(body), "high", model))
    assert ("thinking" in made) is thinks
    assert ("temperature" in made) is not thinks


CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}
THOUGHT = {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "s"}]}
ANSWER = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}
ASK = {"role": "user", "content": "hi"}
SYSTEM = {"role": "system", "content": "note"}


@pytest.mark.parametrize(
    ("messages", "lost"),
    [
        ([ASK], False),
        ([ASK, CALL, ANSWER], True),
        ([ASK, CALL, ANSWER, SYSTEM], True),
        ([ASK, CALL, ANSWER, ASK], True),
        ([ASK, THOUGHT, CALL, ANSWER], False),
        ([ASK, THOUGHT, CALL, ANSWER, CALL, ANSWER], False),
        ([ASK, CALL, ANSWER, THOUGHT, CALL, ANSWER], True),
        ([ASK, CALL, ANSWER, {"role": "assistant", "content": "done"}, ASK], False),
        ([ASK, {"role": "assistant", "content": "begun: "}], True),
        ([7], False),
    ],
)
def test_no_budget_within_a_turn_whose_thoughts_were_lost(messages: list[object], lost: bool) -> None:
    body = json.dumps({"max_tokens": 9000, "messages": messages})
    assert ("thinking" not in json.loads(edited(body, "high", OLD))) is lost
    assert "thinking" in json.loads(edited(body, "high", OPUS))


@pytest.mark.parametrize("model", [OPUS, OLD])
def test_without_thinking_no_thoughts_are_cleared(model: str) -> None:
    clear, other = {"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}
    both = json.dumps({"max_tokens": 9000, "context_management": {"edits": [clear, other]}})
    assert json.loads(edited(both, "none", model))["context_management"] == {"edits": [other]}
    assert json.loads(edited(both, "high", model))["context_management"] == {"edits": [clear, other]}
    one = json.dumps({"max_tokens": 9000, "context_management": {"edits": [clear]}})
    assert "context_management" not in json.loads(edited(one, "none", model))
    odd = '{"max_tokens":9000,"context_management":{"edits":7}}'
    assert "context_management" in json.loads(edited(odd, "none", model))


@pytest.mark.parametrize(
    ("model", "body", "made"),
    [
        ("claude-opus-5", "{}", '{"thinking":{"type":"disabled"}}'),
        ("claude-sonnet-5", '{"thinking":{"type":"adaptive"}}', '{"thinking":{"type":"disabled"}}'),
        (
            "claude-opus-5",
            '{"output_config":{"effort":"max"}}',
            '{"output_config":{"effort":"high"},"thinking":{"type":"disabled"}}',
        ),
        ("claude-opus-5-5", "{}", '{"thinking":{"type":"adaptive"},"output_config":{"effort":"low"}}'),
        ("claude-fable-5", "{}", '{"thinking":{"type":"adaptive"},"output_config":{"effort":"low"}}'),
        ("kimi-k2.5", '{"thinking":{"type":"enabled"}}', "{}"),
    ],
)
def test_newer_models_think_unless_they_are_told_not_to(model: str, body: str, made: str) -> None:
    assert edited(body, "none", model) == made


def test_a_model_that_thinks_by_itself_is_switched_off_where_a_call_is_forced() -> None:
    forced = '{"tool_choice":{"type":"any"}}'
    assert edited(forced, "high", "claude-opus-5") == '{"tool_choice":{"type":"any"},"thinking":{"type":"disabled"}}'
    assert edited(forced, "high", "claude-opus-5-5") == forced


def test_a_count_is_told_whether_to_think_only() -> None:
    assert edited('{"output_config":{"effort":"low"}}', "high", OPUS, count=True) == (
        '{"output_config":{"effort":"low"},"thinking":{"type":"adaptive"}}'
    )
    assert edited("{}", "high", OLD, count=True) == '{"thinking":{"type":"enabled","budget_tokens":24576}}'


def test_empty_things_are_left_out() -> None:
    assert without_empty(b'{"a":{ } ,"b":1}', ("a",)) == b'{"b":1}'
    assert without_empty(b'{"a":{"b":1}}', ("a",)) == b'{"a":{"b":1}}'
    assert without_empty(b"{}", ("a",)) == b"{}"
