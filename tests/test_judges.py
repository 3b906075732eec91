"""The upstreams that judge: a conversation that each takes, and one change at a time for which it refuses it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes import chat_api, chatgpt_api, claude_api
from tests.fakes.judge import RefusedError

Change = Callable[[Any], object]
SCHEMA = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}

CLAUDE = {
    "model": "claude-sonnet-4-5", "max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tools": [{"name": "f", "input_schema": SCHEMA}],
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": claude_api.signed("hm")}, {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}, {"type": "text", "text": "so"}]},
    ],
}  # fmt: skip
CHAT = {
    "model": "gpt-5.1", "max_completion_tokens": 9, "reasoning_effort": "low",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    "messages": [
        {"role": "system", "content": "s"}, {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ],
}  # fmt: skip
CHATGPT = {
    "model": "gpt-5.2-codex", "store": False, "stream": True, "instructions": "",
    "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}],
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": chatgpt_api.sealed("c1")},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
    ],
}  # fmt: skip
JUDGES = {"claude": (claude_api, CLAUDE), "chat": (chat_api, CHAT), "chatgpt": (chatgpt_api, CHATGPT)}


def changed(given: Any, change: Change) -> Any:
    body = copy.deepcopy(given)
    change(body)
    return body


@pytest.mark.parametrize("name", JUDGES)
def test_what_is_right_is_taken(name: str) -> None:
    judge, body = JUDGES[name]
    judge.judged(body)
    assert "Result of f: 42" in str(judge.said(body))


def wrong(name: str, why: str, change: Change) -> Any:
    return pytest.param(name, why, change, id=f"{name}: {why}")


@pytest.mark.parametrize(
    ("name", "why", "change"),
    [
        wrong("claude", "Extra inputs", lambda b: b.update(seed=1)),
        wrong("claude", "max_tokens", lambda b: b.pop("max_tokens")),
        wrong("claude", "role", lambda b: b["messages"].insert(1, {"role": "system", "content": "s"})),
        wrong("claude", "first message", lambda b: b["messages"].insert(0, {"role": "assistant", "content": "s"})),
        wrong("claude", "were answered by", lambda b: b["messages"][2]["content"].pop(0)),
        wrong("claude", "immediately after", lambda b: b["messages"].pop()),
        wrong("claude", "must come first", lambda b: b["messages"][2]["content"].reverse()),
        wrong("claude", "non-whitespace", lambda b: b["messages"][2]["content"][1].update(text=" ")),
        wrong("claude", "Invalid `signature`", lambda b: b["messages"][1]["content"][0].update(signature="ccsb.x")),
        wrong("claude", "Expected `thinking`", lambda b: b["messages"][1]["content"].pop(0)),
        wrong("claude", "budget_tokens", lambda b: b["thinking"].update(budget_tokens=4000)),
        wrong("claude", "adaptive", lambda b: b.update(thinking={"type": "adaptive"})),
        wrong("claude", "forced", lambda b: b.update(tool_choice={"type": "any"})),
        wrong("claude", "forced", lambda b: b.update(temperature=0.5)),
        wrong("claude", "both", lambda b: (b.pop("thinking"), b.update(temperature=0.5, top_p=0.9))),
        wrong("claude", "not supported", lambda b: (b.pop("thinking"), b.update(model="claude-opus-4-7", top_k=9))),
        wrong("claude", "should match pattern", lambda b: b["tools"][0].update(name="a.b")),
        wrong("claude", "unique", lambda b: b["tools"].append(b["tools"][0])),
        wrong("claude", "not valid", lambda b: b["tools"][0].update(input_schema={"type": "object", "properties": {"a": {"type": "STRING"}}})),
        wrong("claude", "nullable", lambda b: b["tools"][0].update(input_schema={"type": "object", "nullable": True})),
        wrong("chat", "Unrecognized", lambda b: b.update(top_k=1)),
        wrong("chat", "max_completion_tokens", lambda b: b.update(max_tokens=1)),
        wrong("chat", "temperature", lambda b: b.update(temperature=0.5)),
        wrong("chat", "reasoning_effort", lambda b: b.update(model="gpt-4.1")),
        wrong("chat", "stream_options", lambda b: b.update(stream_options={})),
        wrong("chat", "must be followed", lambda b: b["messages"].pop()),
        wrong("chat", "must be followed", lambda b: b["messages"].insert(3, {"role": "user", "content": "x"})),
        wrong("chat", "must be a response", lambda b: b["messages"].pop(2)),
        wrong("chat", "too long", lambda b: b["messages"][2]["tool_calls"][0].update(id="c" * 41)),
        wrong("chat", "not allowed for tool", lambda b: b["messages"][3].update(content=[{"type": "image_url"}])),
        wrong("chat", "missing items", lambda b: b["tools"][0]["function"].update(parameters={"type": "object", "properties": {"a": {"type": "array"}}})),
        wrong("chat", "name", lambda b: b["tools"][0]["function"].update(name="a.b")),
        wrong("chatgpt", "Unsupported parameter", lambda b: b.update(max_output_tokens=1)),
        wrong("chatgpt", "Store", lambda b: b.update(store=True)),
        wrong("chatgpt", "No tool output", lambda b: b["input"].pop()),
        wrong("chatgpt", "No tool call", lambda b: (b["input"].pop(1), b["input"].pop(1))),
        wrong("chatgpt", "following item", lambda b: b["input"].pop(2)),
        wrong("chatgpt", "could not be verified", lambda b: b["input"][1].update(encrypted_content="x")),
        wrong("chatgpt", "not allowed", lambda b: b["input"][0].update(role="system")),
        wrong("chatgpt", "Invalid schema", lambda b: b["tools"][0].update(strict=True)),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(name: str, why: str, change: Change) -> None:
    judge, body = JUDGES[name]
    with pytest.raises(RefusedError, match=why):
        judge.judged(changed(body, change))
