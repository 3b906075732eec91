import pytest

from broker.model.errors import BrokerError, ErrorCode
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
from broker.translate.responses_upstream_request import build
from broker.translate.signatures import SignatureMemory
from broker.translate.signers import Signer, marked

HELLO = Message(Role.USER, (Text("hi"),))
ASKED = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
TOOL = FunctionTool("a tool", "d", {"type": "object"}, True)


def body(*messages, memory=None, **fields):
    request = Request("m", messages or (HELLO,), "m", **fields)
    return build(request, Target("m-1", memory or SignatureMemory()))[0]


def items(*messages, **fields):
    return body(*messages, **fields)["input"]


def refused(*messages, **fields):
    with pytest.raises(BrokerError) as caught:
        body(*messages, **fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value.detail


def shown(data):
    return {"type": "input_image", "image_url": f"data:image/png;base64,{data}", "detail": "auto"}


def user(*content):
    return {"type": "message", "role": "user", "content": list(content)}


def assistant(*texts):
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": each} for each in texts],
    }


def called(identifier, arguments="{}"):
    return {"type": "function_call", "call_id": identifier, "name": "a_tool", "arguments": arguments}


def answered(identifier, output):
    return {"type": "function_call_output", "call_id": identifier, "output": output}


def test_the_least_request():
    assert body() == {
        "model": "m-1",
        "instructions": "",
        "input": [ASKED],
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert body(stream=True)["stream"] is True
    assert body(session="s-1")["prompt_cache_key"] == "s-1"


def test_instructions():
    made = body(system=(Text("s"), Text(""), Text("t")))
    assert (made["instructions"], made["input"]) == ("s\n\nt", [ASKED])
    alone = build(Request("m", (), "m", system=(Text("hi"),)), Target("m", SignatureMemory()))[0]
    assert (alone["instructions"], alone["input"]) == ("", [ASKED])
    assert "nothing is left" in refused(Message(Role.USER, (Text(""),)))


def test_media():
    parts = (
        Text("a"), Image("image/png", "AAAA"), ImageLink("https://a/x.png", "p"), File("application/pdf", "DDDD", "a.pdf"), File("text/csv", "EEEE"),
        Thinking("never"),
    )  # fmt: skip
    assert items(Message(Role.USER, parts)) == [
        user(
            {"type": "input_text", "text": "a"},
            shown("AAAA"),
            {"type": "input_image", "image_url": "https://a/x.png", "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,DDDD"},
            {"type": "input_file", "filename": "file", "file_data": "data:text/csv;base64,EEEE"},
        )
    ]
    assert "audio" in refused(Message(Role.USER, (Audio("audio/wav", "CCCC"),)))


def test_calls_are_answered_at_once():
    call, lost = ToolCall("c1", "a tool", {"x": 1}), ToolCall("c2", "a tool", {})
    result = ToolResult("c1", (Text("r"), Text("s")))
    stray = ToolResult("zzz", (Text("stray"), Image("image/png", "BBBB")), "other")
    said = Message(Role.ASSISTANT, (Thinking("hm"), Text("t"), Text(""), Text("u"), call, lost))
    assert items(HELLO, said, Message(Role.USER, (result, stray)), tools=(TOOL,)) == [
        ASKED,
        assistant("t", "u"),
        called("c1", '{"x":1}'),
        called("c2"),
        answered("c1", "rs"),
        answered("c2", ""),
        user({"type": "input_text", "text": "stray"}, shown("BBBB")),
    ]


def test_a_call_s_id_is_no_longer_than_openai_takes():
    call, answer = ToolCall("x" * 65, "f", {}), ToolResult("x" * 65, (Text("r"),))
    items = body(Message(Role.ASSISTANT, (call,)), Message(Role.USER, (answer,)))["input"]
    assert len(items[0]["call_id"]) == 36
    assert items[1]["call_id"] == items[0]["call_id"]


def test_what_a_tool_showed():
    call = Message(Role.ASSISTANT, (ToolCall("c", "a tool", {}),))
    seen = Message(Role.USER, (ToolResult("c", (Text("look"), Image("image/png", "AAAA"))),))
    assert items(call, seen)[1] == answered("c", [{"type": "input_text", "text": "look"}, shown("AAAA")])
    told = Message(Role.USER, (ToolResult("c", structured={"k": [1]}),))
    assert items(call, told)[1] == answered("c", '{"k":[1]}')
    assert items(HELLO, told)[0] == user(*ASKED["content"], {"type": "input_text", "text": '{"k":[1]}'})


def test_what_a_model_said_keeps_its_order():
    parts = (
        Text("a"),
        Image("image/png", "AAAA"),
        Audio("audio/wav", "BBBB"),
        ToolCall("c", "a tool", {}),
        Text("b"),
    )
    made = items(HELLO, Message(Role.ASSISTANT, parts))
    assert made == [ASKED, assistant("a"), user(shown("AAAA")), called("c"), assistant("b"), answered("c", "")]


def test_encrypted_reasoning_is_given_back():
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "ENC="}
    own, call = Thinking("hm", marked(Signer.OPENAI, "ENC=")), ToolCall("c", "a tool", {})
    memory = SignatureMemory()
    memory.remember("c", marked(Signer.OPENAI, "MEM="))
    memory.remember("d", "of another vendor")
    second = ToolCall("d", "a tool", {})
    made = items(HELLO, Message(Role.ASSISTANT, (own, call, second)), memory=memory)
    assert made == [ASKED, thought, called("c"), called("d"), answered("c", ""), answered("d", "")]
    # A client that lost it, or never saw it: it is remembered by the call.
    known = {"type": "reasoning", "summary": [], "encrypted_content": "MEM="}
    lost = Message(Role.ASSISTANT, (Thinking("x", "of another vendor"), Text("t"), call))
    assert items(HELLO, lost, memory=memory)[1:4] == [assistant("t"), known, called("c")]
    assert items(HELLO, Message(Role.ASSISTANT, (second,)), memory=memory)[1:2] == [called("d")]


def test_tools():
    made = body(tools=(TOOL, FunctionTool("bare")), parallel_tool_calls=False)
    assert made["tools"] == [
        {
            "type": "function",
            "name": "a_tool",
            "description": "d",
            "parameters": {"type": "object", "properties": {}},
            "strict": True,
        },
        {"type": "function", "name": "bare", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ]
    assert made["parallel_tool_calls"] is False
    native = tuple(NativeTool(kind) for kind in (NativeKind.WEB_SEARCH, NativeKind.CODE_EXECUTION))
    assert [tool["type"] for tool in body(tools=native)["tools"]] == ["web_search", "code_interpreter"]
    assert "tools" not in body(tools=(NativeTool(NativeKind.URL_CONTEXT, optional=True),))
    assert refused(tools=(NativeTool(NativeKind.URL_CONTEXT),)).startswith("tools[0]: ")


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, None),
        (ToolChoice(ToolMode.AUTO), "auto"),
        (ToolChoice(ToolMode.NONE), "none"),
        (ToolChoice(ToolMode.REQUIRED), "required"),
        (ToolChoice(ToolMode.REQUIRED, ("a tool",)), {"type": "function", "name": "a_tool"}),
        (
            ToolChoice(ToolMode.AUTO, ("a tool",)),
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "a_tool"}]},
        ),
    ],
)
def test_the_rule_for_calls(choice, told):
    assert body(tools=(TOOL,), tool_choice=choice).get("tool_choice") == told
    assert "tool_choice" not in body(tool_choice=choice)


def test_settings():
    made = body(sampling=Sampling(0.5, 0.9, 5, 100, ("a",), 7, 0.1, 0.2, True, 3))
    assert {key: value for key, value in made.items() if key in ("temperature", "top_p", "max_output_tokens", "top_logprobs")} == {
        "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 100, "top_logprobs": 3,
    }  # fmt: skip
    assert made["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]
    assert "stop" not in made
    assert refused(sampling=Sampling(n=2)).startswith("n: ")


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (None, None),
        (Reasoning(Effort.AUTO), {"summary": "auto"}),
        (Reasoning(Effort.AUTO, visible=False), None),
        (Reasoning(Effort.NONE), {"effort": "none"}),
        (Reasoning(Effort.LOW, visible=True), {"effort": "low", "summary": "auto"}),
        (Reasoning(Effort.MAX), {"effort": "xhigh", "summary": "auto"}),
        (Reasoning(budget=5000, visible=False), {"effort": "medium"}),
    ],
)
def test_how_hard_to_think(wish, told):
    assert body(reasoning=wish).get("reasoning") == told


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (None, None),
        (JsonOutput(), {"type": "json_object"}),
        (
            JsonOutput({"type": "object"}, "n", True),
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
        ),
        (JsonOutput({}), {"type": "json_schema", "name": "answer", "schema": {}}),
    ],
)
def test_json_output(output, told):
    assert body(output=output).get("text", {}).get("format") == told


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("gpt-5.1", {"effort": "high", "summary": "auto"}),
        ("gpt-5.2", {"effort": "xhigh", "summary": "auto"}),
        ("gpt-4o", None),
    ],
)
def test_models_are_told_words_that_they_take(model, told):
    request = Request(model, (Message(Role.USER, (Text("hi"),)),), model, reasoning=Reasoning(Effort.MAX))
    made, _ = build(request, Target(model, SignatureMemory()))
    assert made.get("reasoning") == told
