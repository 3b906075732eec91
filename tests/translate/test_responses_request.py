import json

import pytest

from broker.model.errors import BrokerError, ErrorCode
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
from broker.translate.responses_request import EXTRAS, decode

MINIMAL = {"model": "m", "input": "x"}
TOOL = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
PNG = "data:image/png;base64,AAAA"


def ask(**fields):
    return decode(json.dumps(MINIMAL | fields).encode())


def refused(**fields):
    with pytest.raises(BrokerError) as caught:
        ask(**fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value.detail


def test_the_least_request():
    request = ask()
    assert (request.model, request.asked_model, request.stream, request.include_usage) == ("m", "m", False, True)
    assert request.messages == (Message(Role.USER, (Text("x"),)),)
    assert request.system == ()
    assert request.sampling == Sampling()
    assert request.reasoning is None


def test_all_settings():
    request = ask(
        instructions="s", stream=True, temperature=0.5, top_p=0.9, max_output_tokens=9, top_logprobs=2, tools=[TOOL], parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}}, prompt_cache_key="k", user="u",
    )  # fmt: skip
    assert request.system == (Text("s"),)
    assert request.stream
    assert request.sampling == Sampling(0.5, 0.9, max_tokens=9, logprobs=True, top_logprobs=2)
    assert request.tools == (FunctionTool("f", "d", {"type": "object"}, True),)
    assert request.parallel_tool_calls is False
    assert request.output == JsonOutput({}, "n", True)
    assert request.session == "k"
    assert ask(user="u").session == "u"
    assert ask(text={"format": {"type": "json_object"}}).output == JsonOutput()
    assert ask(text={}).output is None
    assert ask(text={"format": {"type": "text"}}).output is None


def test_what_an_answer_needs_is_kept_for_it():
    extras = ask(tools=[TOOL, {"type": "custom", "name": "patch"}], include=["reasoning.encrypted_content"]).extras[
        EXTRAS
    ]
    assert extras["custom"] == frozenset({"patch"})
    assert extras["encrypted"] is True
    assert json.loads(bytes(extras["echo"].tools))[0]["name"] == "f"
    assert ask().extras[EXTRAS]["encrypted"] is False


def test_a_conversation_as_codex_sends_it():
    items = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "be kind"}]},
        {"role": "system", "content": "and short"},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": PNG}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": of_thinking("s1")},
        {"type": "reasoning", "summary": [], "encrypted_content": of_next_call("s2")},
        {"type": "reasoning", "summary": [], "encrypted_content": "openai-s-own"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": ""},
        {"type": "custom_tool_call", "call_id": "c3", "name": "patch", "input": "*** Begin"},
        {"type": "function_call_output", "call_id": "c1", "output": "r"},
        {"type": "custom_tool_call_output", "call_id": "c3", "output": [{"type": "input_text", "text": "t"}]},
        {"type": "image_generation_call", "result": "BBBB"},
        {"type": "image_generation_call", "result": None},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}, {"type": "refusal", "refusal": "no"}]},
    ]  # fmt: skip
    request = ask(input=items)
    assert request.system == (Text("be kind"), Text("and short"))
    assert request.messages == (
        Message(Role.USER, (Text("a"), Image("image/png", "AAAA"))),
        Message(Role.ASSISTANT, (Thinking("hm", "s1"),)),
        Message(Role.ASSISTANT, (ToolCall("c1", "f", {"a": 1}, "s2"),)),
        Message(Role.ASSISTANT, (ToolCall("c2", "f", {}),)),
        Message(Role.ASSISTANT, (ToolCall("c3", "patch", {"input": "*** Begin"}),)),
        Message(Role.USER, (ToolResult("c1", (Text("r"),)),)),
        Message(Role.USER, (ToolResult("c3", (Text("t"),)),)),
        Message(Role.ASSISTANT, (Image("image/png", "BBBB"),)),
        Message(Role.ASSISTANT, (Text("b"), Text("no"))),
    )


def test_a_developer_s_message_after_others_stays_where_it_stands():
    items = [{"role": role, "content": role} for role in ("developer", "user", "developer", "assistant")]
    request = ask(input=items)
    assert request.system == (Text("developer"),)
    assert [(each.role.value, each.parts[0].text) for each in request.messages] == [
        ("user", "user"), ("user", "developer"), ("assistant", "assistant"),
    ]  # fmt: skip


def test_media():
    content = [
        {"type": "input_image", "image_url": "https://a.example/x.png"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,CCCC", "filename": "a.pdf"},
    ]
    assert ask(input=[{"role": "user", "content": content}]).messages[0].parts == (
        ImageLink("https://a.example/x.png", "input[0].content[0].image_url"),
        File("application/pdf", "CCCC", "a.pdf"),
    )


def test_instructions_alone_are_enough():
    assert ask(input=[{"role": "developer", "content": "x"}]).messages == ()


def test_tools_of_other_kinds():
    tools = [
        {"type": "web_search", "external_web_access": False},
        {"type": "code_interpreter"},
        {"type": "custom", "name": "p"},
    ]
    search, code, custom = ask(tools=tools).tools
    assert (search, code) == (
        NativeTool(NativeKind.WEB_SEARCH, optional=True),
        NativeTool(NativeKind.CODE_EXECUTION, optional=True),
    )
    assert isinstance(custom, FunctionTool)
    assert custom.parameters["required"] == ["input"]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", ToolChoice(ToolMode.AUTO)),
        ("required", ToolChoice(ToolMode.REQUIRED)),
        ({"type": "function", "name": "f"}, ToolChoice(ToolMode.REQUIRED, ("f",))),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}],
            },
            ToolChoice(ToolMode.REQUIRED, ("f",)),
        ),
        ({"type": "web_search"}, ToolChoice(ToolMode.AUTO)),
    ],
)
def test_the_rule_for_calls(choice, told):
    assert ask(tools=[TOOL], tool_choice=choice).tool_choice == told


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"reasoning": {"summary": "auto"}}, Reasoning(Effort.AUTO, visible=True)),
        ({"reasoning": {"effort": "high", "summary": "auto"}}, Reasoning(Effort.HIGH, visible=True)),
        ({"reasoning": {"effort": "low"}}, Reasoning(Effort.LOW)),
        ({"reasoning": {}}, None),
        ({"model": "m(high)", "reasoning": {"effort": "low", "summary": "none"}}, Reasoning(Effort.HIGH)),
    ],
)
def test_how_hard_to_think(fields, told):
    assert ask(**fields).reasoning == told


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"input": []}, "input: must hold"),
        ({"model": " "}, "model: must not"),
        ({"previous_response_id": "resp_1"}, "previous_response_id: "),
        ({"conversation": "conv_1"}, "conversation: "),
        ({"background": True}, "background: "),
        ({"prompt": {"id": "pmpt_1"}}, "prompt: prompts kept"),
        ({"tools": [{"type": "function"}]}, "tools[0].name: is required"),
        ({"tools": [{"type": "computer_use_preview"}]}, "tools[0].type: unknown tool"),
        ({"tool_choice": "some"}, "tool_choice: unknown"),
        ({"tool_choice": {"type": "function", "name": "g"}, "tools": [TOOL]}, "tool_choice.name: no tool"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": "custom"}]}}, "tool_choice.tools[0].name: no tool"),
        ({"reasoning": {"effort": "hard"}}, "reasoning.effort: unknown"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role: unknown"),
        ({"input": [{"role": "user"}]}, "input[0].content: is required"),
        ({"input": [{"role": "developer", "content": [{"type": "input_image", "image_url": PNG}]}]}, "input[0].content[0].type: a developer"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type: web_search_call means"),
        ({"input": [{"type": "compaction_trigger"}]}, "input[0].type: only OpenAI can compact"),
        ({"input": [{"type": "of_next_year"}]}, "input[0].type: unknown type of item"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id: is required"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name: is required"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "[1]"}]}, "input[0].arguments: "),
        ({"input": [{"type": "function_call_output", "output": "r"}]}, "input[0].call_id: is required"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": 7}]}, "input[0].output: "),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0]: a part of type"),
        ({"input": [{"role": "user", "content": [{"type": "input_sound"}]}]}, "input[0].content[0].type: unknown type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0].file_id: "),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "u"}]}]}, "input[0].content[0].file_url: "),
    ],
)  # fmt: skip
def test_a_fault_names_its_field(fields, path):
    assert refused(**fields).startswith(path)


def test_tools_of_a_namespace():
    inner = {"type": "function", "name": "wait", "parameters": {"type": "object"}}
    group = {
        "type": "namespace",
        "name": "agents",
        "description": "d",
        "tools": [inner, {"type": "custom", "name": "say"}],
    }
    call = {"type": "function_call", "call_id": "c", "name": "wait", "namespace": "agents", "arguments": "{}"}
    request = ask(
        tools=[TOOL, group],
        input=[call, {"type": "function_call_output", "call_id": "c", "output": "x"}],
        tool_choice={"type": "function", "name": "wait", "namespace": "agents"},
    )
    assert [tool.name for tool in request.tools] == ["f", "agents__wait", "agents__say"]
    assert request.messages[0].parts == (ToolCall("c", "agents__wait", {}),)
    assert request.tool_choice == ToolChoice(ToolMode.REQUIRED, ("agents__wait",))
    extras = request.extras[EXTRAS]
    assert extras["custom"] == {"agents__say"}
    assert extras["spaces"] == {"agents__wait": ("agents", "wait"), "agents__say": ("agents", "say")}


def test_a_tool_of_a_namespace_that_cannot_be_read_is_named_by_its_place():
    group = {"type": "namespace", "name": "agents", "tools": [{"type": "function"}]}
    assert refused(tools=[TOOL, group]).startswith("tools[1].tools[0].name")
