import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.exchange import Target
from broker.translate.ir import (
    Audio,
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
    Request,
    Role,
    Sampling,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from broker.translate.limits import UNTOLD, Limits
from broker.translate.openai_upstream_request import build
from broker.translate.signatures import SignatureMemory
from broker.translate.signers import Signer
from broker.translate.thoughts import remember

HELLO = Message(Role.USER, (Text("hi"),))
TOOL = FunctionTool("a tool", "d", {"type": "object"}, True)


def body(*messages, **fields):
    request = Request("m", messages or (HELLO,), "m", **fields)
    return build(request, Target("m-1", SignatureMemory()))[0]


def refused(*messages, **fields):
    with pytest.raises(BrokerError) as caught:
        body(*messages, **fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value.detail


def shown(data):
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def test_the_least_request():
    assert body() == {"model": "m-1", "messages": [{"role": "user", "content": "hi"}]}
    assert body(stream=True)["stream_options"] == {"include_usage": True}


def test_instructions():
    assert body(system=(Text("s"),))["messages"][0] == {"role": "system", "content": "s"}
    two = body(system=(Text("s"), Text(""), Text("t")))["messages"][0]
    assert two["content"] == [{"type": "text", "text": "s"}, {"type": "text", "text": "t"}]
    alone = build(Request("m", (), "m", system=(Text("s"),)), Target("m", SignatureMemory()))[0]
    assert alone["messages"] == [{"role": "user", "content": "s"}]
    assert "nothing is left" in refused(Message(Role.USER, (Text(""),)))


def test_media():
    parts = (
        Text("a"), Image("image/png", "AAAA"), ImageLink("https://a/x.png", "p"), Audio("audio/mpeg", "BBBB"), Audio("audio/wav", "CCCC"),
        File("application/pdf", "DDDD", "a.pdf"), File("text/csv", "EEEE"), Thinking("never"),
    )  # fmt: skip
    assert body(Message(Role.USER, parts))["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        shown("AAAA"),
        {"type": "image_url", "image_url": {"url": "https://a/x.png"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
        {"type": "input_audio", "input_audio": {"data": "CCCC", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,DDDD", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "data:text/csv;base64,EEEE", "filename": "file"}},
    ]


def test_calls_are_answered_at_once_and_their_images_shown_after():
    call, lost = ToolCall("c1", "a tool", {"x": 1}), ToolCall("c2", "a tool", {})
    answered = ToolResult("c1", (Text("r"), Image("image/png", "AAAA")))
    stray = ToolResult("zzz", (Text("stray"), Image("image/png", "BBBB")), "other")
    messages = body(
        HELLO,
        Message(Role.ASSISTANT, (Thinking("hm"), Text("t"), call, lost)),
        Message(Role.USER, (answered, stray)),
        tools=(TOOL,),
    )["messages"]
    assert messages[1:] == [
        {
            "role": "assistant",
            "content": "t",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "a_tool", "arguments": '{"x":1}'}},
                {"id": "c2", "type": "function", "function": {"name": "a_tool", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "r"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "user", "content": [shown("AAAA")]},
        {"role": "user", "content": [{"type": "text", "text": "stray"}, shown("BBBB")]},
    ]


def test_a_model_that_wants_its_thoughts_back_gets_them():
    memory = SignatureMemory()
    remember(memory, Signer.CHAT, "c2", [Thinking("known")])
    own, foreign = Thinking("sent"), Thinking("other vendor's", "anthropic.s")

    def thoughts(*parts, model="kimi-k2-thinking"):
        request = Request("m", (HELLO, Message(Role.ASSISTANT, parts), HELLO), "m")
        return build(request, Target(model, memory))[0]["messages"][1].get("reasoning_content")

    calls = [ToolCall("c1", "f", {}), ToolCall("c2", "f", {})]
    assert thoughts(foreign, own, *calls) == "sent"
    assert thoughts(foreign, *calls) == "known"
    assert thoughts(foreign, calls[0]) is None
    assert thoughts(own, *calls, model="gpt-4o") is None


def test_a_call_s_id_is_no_longer_than_openai_takes():
    call = ToolCall("x" * 41, "f", {})
    said, answered = body(Message(Role.ASSISTANT, (call,)), Message(Role.USER, (ToolResult("x" * 41, (Text("r"),)),)))[
        "messages"
    ]
    assert len(said["tool_calls"][0]["id"]) == 36
    assert answered["tool_call_id"] == said["tool_calls"][0]["id"]


def test_a_structured_result_is_json_text():
    call = Message(Role.ASSISTANT, (ToolCall("c", "f", {}),))
    told = body(call, Message(Role.USER, (ToolResult("c", structured={"k": [1]}),)))["messages"]
    assert told[0]["content"] is None
    assert told[1]["content"] == '{"k":[1]}'


def test_images_a_model_made_are_shown_again():
    said = body(HELLO, Message(Role.ASSISTANT, (Text("here"), Image("image/png", "AAAA"))), HELLO)["messages"]
    assert said[1:3] == [{"role": "assistant", "content": "here"}, {"role": "user", "content": [shown("AAAA")]}]
    alone = body(HELLO, Message(Role.ASSISTANT, (Image("image/png", "AAAA"),)))["messages"]
    assert alone[1] == {"role": "user", "content": [shown("AAAA")]}
    assert len(body(HELLO, Message(Role.ASSISTANT, (Thinking("hm"),)))["messages"]) == 1


def test_tools():
    assert body(tools=(TOOL, FunctionTool("bare")), parallel_tool_calls=False)["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "a_tool",
                "description": "d",
                "parameters": {"type": "object", "properties": {}},
                "strict": True,
            },
        },
        {"type": "function", "function": {"name": "bare", "parameters": {"type": "object", "properties": {}}}},
    ]
    whole = {"type": "object", "properties": {"x": {}}}
    assert body(tools=(FunctionTool("f", None, whole),))["tools"][0]["function"]["parameters"] == whole
    assert body(tools=(TOOL,), parallel_tool_calls=False)["parallel_tool_calls"] is False
    assert "tools" not in body(tools=(NativeTool(NativeKind.WEB_SEARCH, optional=True),))
    assert refused(tools=(NativeTool(NativeKind.WEB_SEARCH),)).startswith("tools[0]: ")


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, None),
        (ToolChoice(ToolMode.AUTO), "auto"),
        (ToolChoice(ToolMode.NONE), "none"),
        (ToolChoice(ToolMode.REQUIRED), "required"),
        (ToolChoice(ToolMode.REQUIRED, ("a tool",)), {"type": "function", "function": {"name": "a_tool"}}),
        (
            ToolChoice(ToolMode.AUTO, ("a tool",)),
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "a_tool"}}]},
            },
        ),
    ],
)
def test_the_rule_for_calls(choice, told):
    assert body(tools=(TOOL,), tool_choice=choice).get("tool_choice") == told
    assert "tool_choice" not in body(tool_choice=choice)


def test_settings():
    sampling = Sampling(0.5, 0.9, 5, 100, ("a",), 7, 0.1, 0.2, True, 3, 2)
    made = body(sampling=sampling)
    assert {key: value for key, value in made.items() if key not in ("model", "messages")} == {
        "temperature": 0.5, "top_p": 0.9, "max_tokens": 100, "stop": ["a"], "seed": 7, "presence_penalty": 0.1, "frequency_penalty": 0.2,
        "logprobs": True, "top_logprobs": 3, "n": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (None, None),
        (Reasoning(Effort.AUTO), None),
        (Reasoning(Effort.NONE), "none"),
        (Reasoning(Effort.LOW), "low"),
        (Reasoning(Effort.MAX), "xhigh"),
        (Reasoning(budget=5000), "medium"),
    ],
)
def test_how_hard_to_think(wish, told):
    assert body(reasoning=wish).get("reasoning_effort") == told


def to(name, limits=UNTOLD, **fields):
    request = Request("m", (HELLO,), "m", **fields)
    made, _ = build(request, Target(name, SignatureMemory(), limits=limits))
    return {key: value for key, value in made.items() if key not in ("model", "messages")}


@pytest.mark.parametrize("name", ["gpt-5.1", "o3", "gpt-5-codex"])
def test_a_model_of_openai_s_that_thinks_is_not_sent_what_it_refuses(name):
    sampling = Sampling(0.5, 0.9, 5, 100, ("a",), 7, 0.1, 0.2, True, 3, 2)
    assert to(name, sampling=sampling) == {"max_completion_tokens": 100, "seed": 7, "n": 2}


def test_one_that_is_told_not_to_think_takes_temperatures_again():
    made = to("gpt-5.1", sampling=Sampling(temperature=0.5, max_tokens=9), reasoning=Reasoning(Effort.NONE))
    assert made == {"temperature": 0.5, "max_completion_tokens": 9, "reasoning_effort": "none"}


@pytest.mark.parametrize(
    ("name", "wish", "told"),
    [
        ("gpt-4.1", Reasoning(Effort.HIGH), {}),
        ("gpt-4.1", Reasoning(Effort.NONE), {}),
        ("gpt-5.1", Reasoning(Effort.MAX), {"reasoning_effort": "high"}),
        ("gpt-5", Reasoning(Effort.NONE), {"reasoning_effort": "minimal"}),
        ("o3", Reasoning(budget=100), {"reasoning_effort": "low"}),
    ],
)
def test_how_hard_a_model_of_openai_s_is_asked_to_think(name, wish, told):
    assert to(name, reasoning=wish) == told


def test_a_model_whose_thinking_the_config_tells_in_tokens_is_asked_in_words():
    limits = Limits(ThinkingLimits(ThinkingClass.BUDGET, low=0, high=8000, off=True))
    assert to("m-1", limits, reasoning=Reasoning(Effort.HIGH)) == {"reasoning_effort": "medium"}


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (None, None),
        (JsonOutput(), {"type": "json_object"}),
        (
            JsonOutput({"type": "object"}, "n", True),
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}},
        ),
        (JsonOutput({}), {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}),
    ],
)
def test_json_output(output, told):
    assert body(output=output).get("response_format") == told
