import json

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.claude_request import decode
from broker.translate.claude_signatures import of_next_call, of_thinking
from broker.translate.ir import (
    Effort,
    File,
    FunctionTool,
    Image,
    ImageLink,
    JsonOutput,
    Message,
    NativeKind,
    NativeTool,
    Reasoning,
    Role,
    Sampling,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)

MINIMAL = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


def ask(**fields):
    return decode(json.dumps(MINIMAL | fields).encode())


def said(*blocks, role="user"):
    """The parts of one message of these blocks."""
    return ask(messages=[{"role": role, "content": list(blocks)}]).messages[0].parts


def refused(**fields):
    with pytest.raises(BrokerError) as caught:
        ask(**fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value.detail


def refused_block(role="user", **block):
    return refused(messages=[{"role": role, "content": [block]}])


def test_the_least_request():
    request = ask()
    assert (request.model, request.asked_model, request.stream, request.include_usage) == ("m", "m", False, True)
    assert request.messages == (Message(Role.USER, (Text("x"),)),)
    assert request.sampling == Sampling(max_tokens=9)
    assert request.system == ()
    assert request.reasoning is None
    assert request.session is None


def test_all_settings():
    request = ask(
        stream=True, temperature=0.5, top_p=0.9, top_k=3, stop_sequences=["a", "b"], metadata={"user_id": "u-1"},
        tools=[TOOL], tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
    )  # fmt: skip
    assert request.stream
    assert request.sampling == Sampling(0.5, 0.9, 3, 9, ("a", "b"))
    assert request.session == "u-1"
    assert request.tools == (FunctionTool("f", "d", {"type": "object"}),)
    assert request.tool_choice == ToolChoice(ToolMode.REQUIRED, ("f",))
    assert request.parallel_tool_calls is False
    assert request.output == JsonOutput({"type": "object"})
    assert ask(output_format={"type": "json_schema", "schema": {}}).output == JsonOutput({})
    assert ask(output_config={"format": {"type": "text"}}).output is None
    assert ask(metadata={"user_id": 7}).session is None


def test_counting_needs_no_limit():
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
    assert decode(body, counting=True).sampling.max_tokens is None


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ("s", (Text("s"),)),
        ("", ()),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], (Text("a"), Text("b"))),
    ],
)
def test_instructions_are_text_or_blocks(system, told):
    assert ask(system=system).system == told


def test_the_note_to_anthropic_who_pays_is_no_instruction():
    note = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli;"}
    assert ask(system=[note, {"type": "text", "text": "s"}]).system == (Text("s"),)
    assert ask(system=[note]).system == ()


def test_a_system_message_among_the_others_stays_where_it_stands():
    messages = [
        {"role": "user", "content": "a"},
        {"role": "system", "content": "reminder"},
        {"role": "assistant", "content": "b"},
    ]
    assert ask(messages=messages).messages == (
        Message(Role.USER, (Text("a"),)),
        Message(Role.USER, (Text("reminder"),)),
        Message(Role.ASSISTANT, (Text("b"),)),
    )


def test_media_of_a_user():
    png = {"type": "base64", "media_type": "IMAGE/PNG", "data": "AAAA"}
    assert said(
        {"type": "image", "source": png},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}},
        {"type": "document", "title": "t.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}},
        {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "c"}]}},
        {"type": "document", "source": {"type": "text"}},
        {"type": "search_result", "source": "https://a.example", "title": "found", "content": [{"type": "text", "text": "r"}]},
        {"type": "search_result", "content": "only"},
    ) == (
        Image("image/png", "AAAA"),
        ImageLink("https://a.example/x.png", "messages[0].content[1].source.url"),
        File("application/pdf", "BBBB", "t.pdf"),
        Text("t\n\nplain"),
        Text("c"),
        Text(""),
        Text("found\nhttps://a.example\nr"),
        Text("only"),
    )  # fmt: skip


def test_results_of_tools_are_text_or_blocks_or_nothing():
    assert said(
        {"type": "tool_result", "tool_use_id": "c1", "content": "r"},
        {"type": "tool_result", "tool_use_id": "c2", "is_error": True},
        {"type": "tool_result", "tool_use_id": "c3", "content": [{"type": "text", "text": "t"}]},
    ) == (
        ToolResult("c1", (Text("r"),)),
        ToolResult("c2", (), is_error=True),
        ToolResult("c3", (Text("t"),)),
    )


def test_a_turn_of_the_model_keeps_signatures_that_are_marked():
    assert said(
        {"type": "thinking", "thinking": "hm", "signature": of_thinking("s1")},
        {"type": "thinking", "thinking": "", "signature": of_next_call("s2")},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "c2", "name": "f"},
        {"type": "thinking", "thinking": "hers", "signature": "an-anthropic-signature"},
        {"type": "thinking", "thinking": "", "signature": "an-anthropic-signature"},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "text", "text": "done"},
        role="assistant",
    ) == (
        Thinking("hm", "s1"),
        ToolCall("c1", "f", {"a": 1}, "s2"),
        ToolCall("c2", "f", {}),
        Thinking("hers"),
        Text("done"),
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, Reasoning(budget=2048, visible=True)),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 5, "display": "omitted"}},
            Reasoning(budget=5, visible=False),
        ),
        ({"thinking": {"type": "adaptive"}}, Reasoning(Effort.AUTO, visible=True)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, Reasoning(Effort.HIGH, visible=True)),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, Reasoning(Effort.NONE, visible=False)),
        ({"output_config": {"effort": "max"}}, Reasoning(Effort.MAX, visible=False)),
        ({"model": "m(low)", "thinking": {"type": "adaptive"}}, Reasoning(Effort.LOW, visible=True)),
        ({"output_config": {}}, None),
    ],
)
def test_how_hard_to_think(fields, told):
    assert ask(**fields).reasoning == told


def test_tools_of_anthropic_s_own():
    tools = [
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "code_execution_20250522", "name": "code_execution"},
        {"type": "custom", **TOOL},
        {"type": "of_next_year", **TOOL},
    ]
    assert ask(tools=tools).tools == (
        NativeTool(NativeKind.WEB_SEARCH),
        NativeTool(NativeKind.URL_CONTEXT),
        NativeTool(NativeKind.CODE_EXECUTION),
        FunctionTool("f", "d", {"type": "object"}),
        FunctionTool("f", "d", {"type": "object"}),
    )


@pytest.mark.parametrize(
    ("kind", "mode"), [("auto", ToolMode.AUTO), ("any", ToolMode.REQUIRED), ("none", ToolMode.NONE)]
)
def test_the_rule_for_calls(kind, mode):
    assert ask(tools=[TOOL], tool_choice={"type": kind}).tool_choice == ToolChoice(mode)


def test_a_tool_of_the_provider_s_can_be_named_but_not_forced():
    search = {"type": "web_search_20250305", "name": "web_search"}
    chosen = {"type": "tool", "name": "web_search"}
    assert ask(tools=[TOOL, search], tool_choice=chosen).tool_choice == ToolChoice(ToolMode.AUTO)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"messages": []}, "messages: must hold"),
        ({"max_tokens": None}, "max_tokens: is required"),
        ({"max_tokens": 0}, "max_tokens: must be"),
        ({"model": " "}, "model: must not"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role: unknown"),
        ({"system": [{"type": "image"}]}, "system[0].type: only text"),
        ({"system": [{"type": "text"}]}, "system[0].text: is required"),
        ({"tools": [{"name": ""}]}, "tools[0].name: must not"),
        ({"tools": [{"name": "computer", "type": "computer_20250124"}]}, "tools[0].type: this tool runs"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers: this works at Anthropic only"),
        ({"container": "c"}, "container: this works at Anthropic only"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type: unknown"),
        ({"tool_choice": {"type": "tool", "name": "g"}, "tools": [TOOL]}, "tool_choice.name: no tool"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: is required"),
        ({"thinking": {"type": "deep"}}, "thinking.type: unknown"),
        ({"output_config": {"effort": "17"}}, "output_config.effort: unknown"),
    ],
)
def test_a_fault_names_its_field(fields, path):
    assert refused(**fields).startswith(path)


@pytest.mark.parametrize(
    ("role", "block", "path"),
    [
        ("user", {"type": "tool_result"}, "tool_use_id: is required"),
        ("user", {"type": "tool_use"}, "type: unknown type of block"),
        ("user", {"type": "image"}, "source: is required"),
        ("user", {"type": "image", "source": {"type": "file"}}, "source.type: uploaded files"),
        ("user", {"type": "image", "source": {"type": "url"}}, "source.type: expected base64"),
        ("user", {"type": "image", "source": {"type": "base64", "data": "A"}}, "source.media_type: is required"),
        ("user", {"type": "image", "source": {"type": "base64", "media_type": "a/b"}}, "source.data: holds no data"),
        ("user", {"type": "document", "source": {"type": "url", "url": "https://a"}}, "source.url: documents by URL"),
        (
            "user",
            {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]}},
            "source.content: only text",
        ),
        ("assistant", {"type": "tool_use", "name": "f"}, "id: is required"),
        ("assistant", {"type": "tool_use", "id": "c"}, "name: is required"),
        ("system", {"type": "image"}, "type: only text"),
    ],
)  # fmt: skip
def test_a_fault_of_a_block_names_its_field(role, block, path):
    assert refused_block(role, **block).startswith(f"messages[0].content[0].{path}")
