import base64

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.claude_upstream_request import build, counted
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
from broker.translate.signatures import SignatureMemory
from broker.translate.signers import Signer, marked
from broker.translate.thoughts import remember

OLD, NEW = "claude-opus-4-5", "claude-opus-4-6"
HELLO = Message(Role.USER, (Text("hi"),))
TOOL = FunctionTool("a tool", "d", {"type": "object", "properties": {}})


def body(*messages, model=OLD, **fields):
    request = Request("m", messages or (HELLO,), "m", **fields)
    return build(request, Target(model, SignatureMemory()))[0]


def refused(*messages, **fields):
    with pytest.raises(BrokerError) as caught:
        body(*messages, **fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value.detail


def said(*parts, role=Role.USER):
    return body(Message(role, parts))["messages"][-1]["content"]


def text(value):
    return {"type": "text", "text": value}


def test_the_least_request():
    assert body() == {"model": OLD, "max_tokens": 32000, "messages": [{"role": "user", "content": [text("hi")]}]}
    assert body(stream=True)["stream"] is True


def test_instructions_stand_apart_and_alone_they_are_what_is_said():
    assert body(system=(Text("s"), Text("")))["system"] == [text("s")]
    assert "system" not in body(system=(Text(""),))
    alone = build(Request("m", (), "m", system=(Text("s"),)), Target(OLD, SignatureMemory()))[0]
    assert "system" not in alone
    assert alone["messages"] == [{"role": "user", "content": [text("s")]}]
    assert "nothing is left" in refused(Message(Role.USER, (Text(" "),)))


def test_a_conversation_the_model_opens_gets_a_beginning():
    messages = body(Message(Role.ASSISTANT, (Text("a"),)), HELLO)["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "user"]


def test_an_answer_that_the_client_began_goes_to_models_that_go_on_with_it():
    def roles(**fields):
        return [each["role"] for each in body(HELLO, Message(Role.ASSISTANT, (Text("It is"),)), **fields)["messages"]]

    assert roles() == ["user", "assistant"]
    assert roles(model=NEW) == roles(model="another-vendors-model", reasoning=Reasoning(Effort.HIGH)) == ["user"]
    assert "nothing is left" in refused(Message(Role.ASSISTANT, (Text("a"),)), model=NEW)


def test_marks_for_caches_stand_where_the_client_set_them():
    mark = {"type": "ephemeral"}
    made = body(Message(Role.USER, (Text("long", cache=mark), Text("x"))), system=(Text("s", cache=mark),))
    assert made["system"] == [text("s") | {"cache_control": mark}]
    assert made["messages"][0]["content"] == [text("long") | {"cache_control": mark}, text("x")]


def test_media():
    pdf, note = File("application/pdf", "AAAA", "a.pdf"), File("text/plain", base64.b64encode("é".encode()).decode())
    assert said(Image("image/png", "AAAA"), ImageLink("https://a/x.png", "p"), pdf, note) == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://a/x.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
    ]


@pytest.mark.parametrize(
    "part", [Audio("audio/wav", "AAAA"), File("video/mp4", "AAAA"), File("text/plain", "?"), File("text/plain", "/w==")]
)
def test_media_that_anthropic_does_not_take(part):
    assert refused(Message(Role.USER, (part,))).startswith("messages: ")


def test_calls_are_answered_at_once_and_before_anything_else():
    call, lost = ToolCall("call:1", "a tool", {"x": 1}), ToolCall("c2", "a tool", {})
    answered = ToolResult("call:1", (Text("r"), Image("image/png", "AAAA")), is_error=True)
    messages = body(
        HELLO,
        Message(Role.ASSISTANT, (Thinking("hm", "foreign"), Text("t"), call, lost)),
        Message(Role.USER, (Text("and"), answered, ToolResult("other", (), "else", structured={"k": [1]}))),
        tools=(TOOL,),
    )["messages"]
    assert messages[1]["content"] == [
        text("t"),
        {"type": "tool_use", "id": "call_1", "name": "a_tool", "input": {"x": 1}},
        {"type": "tool_use", "id": "c2", "name": "a_tool", "input": {}},
    ]
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    assert messages[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [text("r"), image], "is_error": True},
        {"type": "tool_result", "tool_use_id": "c2", "content": "(no answer)"},
        text("and"),
        text('{"k":[1]}'),
    ]


def test_what_anthropic_thought_goes_back_to_it_while_it_thinks():
    thought = Thinking("hm", marked(Signer.ANTHROPIC, "s1"))
    secret = Thinking("", None, marked(Signer.ANTHROPIC, "zzz"))
    foreign = (Thinking("no", "bare"), Thinking("no", "openai.x"), Thinking("no"))
    turn = Message(Role.ASSISTANT, (thought, secret, *foreign, ToolCall("c", "f", {})))
    answered = Message(Role.USER, (ToolResult("c", (Text("r"),)),))
    lone = Message(Role.ASSISTANT, (thought,))
    told = body(HELLO, turn, answered, lone, reasoning=Reasoning(budget=2000))["messages"]
    assert told[1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {}},
    ]
    assert len(told) == 3
    without = body(HELLO, turn, answered)["messages"]
    assert [block["type"] for block in without[1]["content"]] == ["tool_use"]


def test_thoughts_that_a_client_did_not_send_back_are_remembered_by_their_call():
    memory = SignatureMemory()
    known = [Thinking("hm", marked(Signer.ANTHROPIC, "s1")), Thinking("", None, marked(Signer.ANTHROPIC, "zzz"))]
    remember(memory, Signer.ANTHROPIC, "c1", known)
    remember(memory, Signer.ANTHROPIC, "c2", [Thinking("then", marked(Signer.ANTHROPIC, "s4"))])
    remember(memory, Signer.ANTHROPIC, "c3", [Thinking("own", marked(Signer.ANTHROPIC, "s3"))])
    sent = Thinking("sent", marked(Signer.ANTHROPIC, "s2"))
    calls = [ToolCall(f"c{number}", "f", {}) for number in (1, 2, 3)]
    turn = Message(Role.ASSISTANT, (Text("first"), *calls[:2], sent, calls[2]))
    asked = Request("m", (HELLO, turn), "m", reasoning=Reasoning(budget=2000))
    made = build(asked, Target(OLD, memory))[0]
    assert made["thinking"]["type"] == "enabled"
    told = made["messages"][1]["content"]
    assert [block["type"] for block in told] == [
        "thinking", "redacted_thinking", "text", "tool_use", "thinking", "tool_use", "thinking", "tool_use",
    ]  # fmt: skip
    assert [told[place]["signature"] for place in (0, 4, 6)] == ["s1", "s4", "s2"]
    plain = build(Request("m", (HELLO, turn), "m"), Target(OLD, memory))[0]["messages"][1]["content"]
    assert [block["type"] for block in plain] == ["text", "tool_use", "tool_use", "tool_use"]


def test_an_answer_that_says_nothing():
    call = Message(Role.ASSISTANT, (ToolCall("", "f", {}),))
    (answer,) = body(call, Message(Role.USER, (ToolResult("", ()),)))["messages"][-1]["content"]
    assert answer == {"type": "tool_result", "tool_use_id": "call_1"}


def test_a_choice_among_functions_that_are_not_there_offers_none():
    assert (
        body(tools=(TOOL,), tool_choice=ToolChoice(ToolMode.AUTO, ("b", "c")))
        .keys()
        .isdisjoint(("tools", "tool_choice"))
    )


def test_tools():
    bare = FunctionTool("bare")
    odd = FunctionTool("odd", None, {"properties": {}})
    tools = (TOOL, bare, odd, NativeTool(NativeKind.WEB_SEARCH))
    assert body(tools=tools)["tools"] == [
        {"name": "a_tool", "description": "d", "input_schema": {"type": "object", "properties": {}}},
        {"name": "bare", "input_schema": {"type": "object"}},
        {"name": "odd", "input_schema": {"type": "object", "properties": {}}},
        {"type": "web_search_20250305", "name": "web_search"},
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "told"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(ToolMode.NONE), False, {"type": "none"}),
        (ToolChoice(ToolMode.AUTO), None, {"type": "auto"}),
        (ToolChoice(ToolMode.REQUIRED), None, {"type": "any"}),
        (
            ToolChoice(ToolMode.REQUIRED, ("a tool",)),
            False,
            {"type": "tool", "name": "a_tool", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_the_rule_for_calls(choice, parallel, told):
    assert body(tools=(TOOL,), tool_choice=choice, parallel_tool_calls=parallel).get("tool_choice") == told
    assert "tool_choice" not in body(tool_choice=choice, parallel_tool_calls=parallel)


def test_a_choice_of_several_leaves_out_the_others():
    tools = (TOOL, FunctionTool("b"), FunctionTool("c"), NativeTool(NativeKind.WEB_SEARCH))
    made = body(tools=tools, tool_choice=ToolChoice(ToolMode.REQUIRED, ("b", "c")))
    assert [tool["name"] for tool in made["tools"]] == ["b", "c"]
    assert made["tool_choice"] == {"type": "any"}


def test_how_tokens_are_drawn():
    sampling = Sampling(1.5, 0.9, 5, 100, ("a", " "), seed=1)
    made = body(sampling=sampling, model="claude-opus-4-0")
    assert {key: made[key] for key in ("temperature", "top_p", "top_k", "max_tokens", "stop_sequences")} == {
        "temperature": 1.0, "top_p": 0.9, "top_k": 5, "max_tokens": 100, "stop_sequences": ["a"],
    }  # fmt: skip
    assert body(model="claude-3-haiku-20240307")["max_tokens"] == 4096
    thinks = body(sampling=Sampling(0.5, 0.9, 5), reasoning=Reasoning(budget=2000))
    assert not {"temperature", "top_p", "top_k"} & set(thinks)
    # Newer models take a temperature or a top_p, the newest neither.
    both = body(sampling=sampling)
    assert (both["temperature"], both["top_k"], "top_p" in both) == (1.0, 5, False)
    assert body(sampling=Sampling(top_p=0.9))["top_p"] == 0.9
    assert not {"temperature", "top_p", "top_k"} & set(body(sampling=sampling, model="claude-opus-4-7"))
    assert "one answer" in refused(sampling=Sampling(n=2))


@pytest.mark.parametrize(
    ("model", "wish", "told"),
    [
        (OLD, None, {}),
        (OLD, Reasoning(Effort.NONE), {}),
        (OLD, Reasoning(budget=2000), {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (OLD, Reasoning(budget=10), {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (OLD, Reasoning(Effort.MAX), {"thinking": {"type": "enabled", "budget_tokens": 24000}}),
        (NEW, Reasoning(Effort.NONE), {}),
        (NEW, Reasoning(Effort.AUTO), {"thinking": {"type": "adaptive"}}),
        (NEW, Reasoning(Effort.MINIMAL), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (NEW, Reasoning(Effort.MAX), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}),
        ("claude-opus-5", Reasoning(Effort.NONE), {"thinking": {"type": "disabled"}}),
        ("claude-opus-5", None, {}),
        (
            "claude-opus-5-5",
            Reasoning(Effort.NONE),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        ),
        ("claude-3-haiku-20240307", Reasoning(Effort.HIGH), {}),
    ],
)
def test_how_hard_to_think(model, wish, told):
    made = body(model=model, reasoning=wish)
    assert {key: made[key] for key in ("thinking", "output_config") if key in made} == told


def test_a_limit_too_small_to_think_within():
    assert "thinking" not in body(sampling=Sampling(max_tokens=500), reasoning=Reasoning(Effort.HIGH))


def test_there_is_no_thinking_where_a_call_is_forced():
    forced = {"reasoning": Reasoning(Effort.HIGH), "tool_choice": ToolChoice(ToolMode.REQUIRED)}
    assert "thinking" not in body(tools=(TOOL,), **forced)
    assert "thinking" in body(**forced)
    made = body(model=NEW, tools=(TOOL,), **forced)
    assert ("thinking" in made, made["output_config"]) == (False, {"effort": "high"})
    for effort, left in ((Effort.MAX, "high"), (Effort.LOW, "low")):
        made = body(model="claude-opus-5", tools=(TOOL,), **{**forced, "reasoning": Reasoning(effort)})
        assert (made["thinking"], made["output_config"]) == ({"type": "disabled"}, {"effort": left})


def test_a_budget_of_thinking_waits_where_a_turn_goes_on_whose_thoughts_are_lost():
    def said(*parts):
        return Message(Role.ASSISTANT, (*parts, ToolCall("c", "f", {})))

    def thinks(*messages, model=OLD):
        made = body(HELLO, *messages, model=model, reasoning=Reasoning(budget=2000))
        return "thinking" in made, "thinking" in {
            block["type"] for each in made["messages"] for block in each["content"]
        }

    answered = Message(Role.USER, (ToolResult("c", (Text("r"),)), Text("and")))
    thought = Thinking("hm", marked(Signer.ANTHROPIC, "s1"))
    assert thinks(said(), answered) == (False, False)
    assert thinks(said(Text("t")), answered) == (False, False)
    assert thinks(said(), answered, said(thought), answered) == (False, False)
    assert thinks(said(thought), answered, said(), answered) == (True, True)
    assert thinks(said(), answered, Message(Role.ASSISTANT, (Text("done"),)), HELLO) == (True, False)
    assert thinks(said(), answered, model=NEW) == (True, False)


def test_json_output_needs_a_schema():
    assert body(output=JsonOutput({"type": "object"}))["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {"type": "object", "properties": {}, "additionalProperties": False},
        }
    }
    assert "output_config" not in body(output=JsonOutput())


def test_what_is_counted():
    request = Request("m", (HELLO,), "m", tools=(TOOL,), stream=True, sampling=Sampling(0.5))
    assert set(counted(request, Target(OLD, SignatureMemory()))) == {"model", "messages", "tools"}
