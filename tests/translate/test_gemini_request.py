"""Gemini generateContent, request side."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError
from broker.translate import openai_chat_request
from broker.translate.exchange import Target
from broker.translate.gemini_request import UNSIGNED, build
from broker.translate.ir import (
    Audio,
    Effort,
    File,
    FunctionTool,
    Image,
    ImageLink,
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

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "openai_chat").glob("request_*.json"))
USER = Message(Role.USER, (Text("x"),))


def user(*parts):
    return Message(Role.USER, tuple(parts))


def model(*parts):
    return Message(Role.ASSISTANT, tuple(parts))


def built(*messages, target="gemini-2.5-flash", memory=None, safety_off=False, **fields):
    request = Request("m", messages, "m", **fields)
    return build(request, Target(target, memory or SignatureMemory(), safety_off=safety_off))[0]


def contents(*messages, **fields):
    return built(*messages, **fields)["contents"]


def parts(*messages, **fields):
    return [(turn["role"], turn["parts"]) for turn in contents(*messages, **fields)]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path):
    case = json.loads(path.read_text())
    request = openai_chat_request.decode(json.dumps(case["openai"]).encode())
    body, _ = build(request, Target(case["target"], SignatureMemory(), safety_off=False))
    assert json.loads(json.dumps(body)) == case["gemini"]


def test_the_golden_files_are_there():
    assert len(GOLDEN) >= 6


# ------------------------------------------------------------------------------------------------------------ turns


def test_neighbours_of_one_role_become_one_turn():
    assert parts(user(Text("a")), user(Text("b")), model(Text("c")), model(Text("d")), USER) == [
        ("user", [{"text": "a"}, {"text": "b"}]),
        ("model", [{"text": "c"}, {"text": "d"}]),
        ("user", [{"text": "x"}]),
    ]


def test_a_trailing_model_turn_is_stripped_and_empty_text_skipped():
    assert parts(user(Text(""), Text("a")), model(Text("prefill"))) == [("user", [{"text": "a"}])]
    assert parts(user(Text("")), USER, model(Text(""))) == [("user", [{"text": "x"}])]


def test_a_leading_user_turn_is_ensured():
    first, second = parts(model(Text("Hello, how can I help?")), USER)[:2]
    assert first[0] == "user"
    assert first[1][0]["text"].strip()
    assert second[0] == "model"


@pytest.mark.parametrize("messages", [[user(Text(""))], [model(Text("a"))], []])
def test_nothing_said_by_a_user_is_refused(messages):
    with pytest.raises(BrokerError, match=r"^messages: "):
        built(*messages)


def test_instructions_with_and_without_messages():
    body = built(USER, system=(Text("s"), Text("")))
    assert body["systemInstruction"] == {"role": "user", "parts": [{"text": "s"}]}
    alone = built(system=(Text("s"),))
    assert alone["contents"] == [{"role": "user", "parts": [{"text": "s"}]}]
    assert "systemInstruction" not in alone


def test_every_kind_of_part():
    assert parts(
        user(Image("image/png", "A"), Audio("audio/wav", "B"), File("video/mp4", "C")),
        model(
            Thinking("hm", "s"),
            Thinking(""),
            Text("t", "s"),
            Text("", "s2"),
            Text("", "openai.s"),
            Image("image/png", "D"),
        ),
        USER,
    ) == [
        (
            "user",
            [
                {"inlineData": {"mimeType": "image/png", "data": "A"}},
                {"inlineData": {"mimeType": "audio/wav", "data": "B"}},
                {"inlineData": {"mimeType": "video/mp4", "data": "C"}},
            ],
        ),
        (
            "model",
            [
                {"text": "hm", "thought": True, "thoughtSignature": "s"},
                {"text": "t", "thoughtSignature": "s"},
                {"text": "", "thoughtSignature": "s2"},
                {"inlineData": {"mimeType": "image/png", "data": "D"}},
            ],
        ),
        ("user", [{"text": "x"}]),
    ]


def test_images_sent_back_carry_their_own_signature_and_no_other():
    earlier = model(Image("image/png", "D", "s"), Image("image/png", "E"))
    _, (_, made), (_, given_) = parts(USER, earlier, user(Image("image/png", "F")), target="gemini-3-pro-image-preview")
    assert [part.get("thoughtSignature") for part in made] == ["s", None]
    assert "thoughtSignature" not in given_[0]


def test_an_image_by_url_is_refused_by_its_place():
    with pytest.raises(
        BrokerError, match=r"^messages\[3\]\.content\[1\]\.image_url\.url: images by URL are not fetched"
    ):
        built(user(ImageLink("http://169.254.169.254/", "messages[3].content[1].image_url.url")))


# ------------------------------------------------------------------------------------------------------- tool calls


def call(call_id="a", name="f", **fields):
    return ToolCall(call_id, name, {"x": 1}, **fields)


def answer(call_id="a", text="r", **fields):
    return user(ToolResult(call_id, (Text(text),), **fields))


def responses(*messages):
    """Return (name, response) of the turn after the calls."""
    turns = contents(USER, *messages)
    assert turns[1]["role"] == "model"
    return [
        (p["functionResponse"]["name"], p["functionResponse"]["response"])
        for p in turns[2]["parts"]
        if "functionResponse" in p
    ]


def test_parallel_answers_stand_in_one_turn_in_the_order_of_the_calls():
    turns = contents(
        USER,
        model(call("a"), call("b", "g")),
        answer("b", "B"),
        user(Text("and")),
        answer("a", "A"),
        model(Text("ok")),
        USER,
    )
    assert [turn["role"] for turn in turns] == ["user", "model", "user", "user", "model", "user"]
    assert turns[2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"result": "A"}}},
        {"functionResponse": {"name": "g", "response": {"result": "B"}}},
    ]
    assert turns[3]["parts"] == [{"text": "and"}]


def test_calls_split_over_messages_are_one_turn():
    assert responses(model(call("a")), model(call("b", "g")), answer("a", "A"), answer("b", "B")) == [
        ("f", {"result": "A"}),
        ("g", {"result": "B"}),
    ]


def test_a_missing_answer_is_empty():
    assert responses(model(call("a"), call("b", "g")), answer("b")) == [("f", {}), ("g", {"result": "r"})]
    assert responses(model(call("a"))) == [("f", {})]


def test_of_two_answers_the_last_counts():
    assert responses(model(call("a")), answer("a", "old"), answer("a", "new")) == [("f", {"result": "new"})]
    assert len(contents(USER, model(call("a")), answer("a", "old"), answer("a", "new"))) == 3


def test_ids_used_again_in_a_later_turn():
    turns = contents(USER, model(call("a")), answer("a", "first"), model(call("a")), answer("a", "second"))
    got = [p["functionResponse"]["response"]["result"] for t in turns for p in t["parts"] if "functionResponse" in p]
    assert got == ["first", "second"]


def test_answers_without_an_id_go_to_the_calls_in_order():
    assert responses(
        model(call(""), call("", "g"), call("", "h")), answer("", "1", name="h"), answer("", "2"), answer("", "3")
    ) == [
        ("f", {"result": "2"}),
        ("g", {"result": "3"}),
        ("h", {"result": "1"}),
    ]


def test_an_answer_to_no_call_is_kept_as_text():
    assert parts(USER, answer("gone", "lost"), user(ToolResult("gone", structured={"a": 1}))) == [
        ("user", [{"text": "x"}, {"text": "lost"}, {"text": '{"a":1}'}])
    ]
    turns = contents(USER, model(call("a")), answer("a", "A"), answer("z", "more"))
    assert turns[3]["parts"] == [{"text": "more"}]


def test_structured_answers_errors_and_images_in_answers():
    turns = contents(
        USER,
        model(call("a"), call("b")),
        user(ToolResult("a", structured=[{"row": 1}])),
        user(ToolResult("b", (Text("no"), Text("!"), Image("image/png", "I")), is_error=True)),
    )
    assert turns[2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"result": [{"row": 1}]}}},
        {"functionResponse": {"name": "f", "response": {"error": "no!"}}},
        {"inlineData": {"mimeType": "image/png", "data": "I"}},
    ]


def test_a_call_in_a_users_message_is_not_the_users():
    assert parts(user(call(), Text("x"))) == [("user", [{"text": "x"}])]


# ------------------------------------------------------------------------------------------------------- signatures


def signatures(*calls, memory=None):
    turn = contents(USER, model(*calls), memory=memory)[1]
    return [part.get("thoughtSignature") for part in turn["parts"]]


def test_the_clients_own_signature_comes_first_then_memory_then_the_marker_on_the_first_call_only():
    memory = SignatureMemory()
    memory.remember("a", "kept-a")
    memory.remember("b", "kept-b")
    assert signatures(call("a", signature="own"), call("b"), call("c"), memory=memory) == ["own", "kept-b", None]
    assert signatures(call("a"), call("c"), memory=memory) == ["kept-a", None]
    assert signatures(call("c"), call("d")) == [UNSIGNED, None]
    assert signatures(call("c", signature="openai.x"), call("d", signature="anthropic.y")) == [UNSIGNED, None]


def test_each_turn_of_calls_has_its_first():
    turns = contents(USER, model(call("a")), answer("a"), model(Text("then"), call("b"), call("c")), answer("b"))
    assert turns[1]["parts"][0]["thoughtSignature"] == UNSIGNED
    assert [part.get("thoughtSignature") for part in turns[3]["parts"]] == [None, UNSIGNED, None]


# ------------------------------------------------------------------------------------------------- tools and settings


def test_names_are_mended_alike_everywhere():
    body = built(
        USER,
        model(call("a", "my tool")),
        answer("a"),
        tools=(FunctionTool("my tool", "d"), FunctionTool("plain", "", {"type": "object", "title": "T"})),
        tool_choice=ToolChoice(ToolMode.REQUIRED, ("my tool",)),
    )
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "my_tool", "description": "d", "parametersJsonSchema": {"type": "object", "properties": {}}},
                {"name": "plain", "parametersJsonSchema": {"type": "object", "properties": {}}},
            ]
        }
    ]
    assert body["contents"][1]["parts"][0]["functionCall"]["name"] == "my_tool"
    assert body["contents"][2]["parts"][0]["functionResponse"]["name"] == "my_tool"
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["my_tool"]}}


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (ToolChoice(ToolMode.AUTO), {"mode": "AUTO"}),
        (ToolChoice(ToolMode.NONE), {"mode": "NONE"}),
        (ToolChoice(ToolMode.REQUIRED), {"mode": "ANY"}),
        (ToolChoice(ToolMode.AUTO, ("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tool_choice(choice, config):
    assert built(USER, tools=(FunctionTool("f"),), tool_choice=choice)["toolConfig"] == {
        "functionCallingConfig": config
    }
    assert "toolConfig" not in built(USER, tools=(NativeTool(NativeKind.WEB_SEARCH),), tool_choice=choice)


def test_the_providers_own_tools():
    tools = (
        NativeTool(NativeKind.WEB_SEARCH, {"a": 1}),
        NativeTool(NativeKind.CODE_EXECUTION),
        NativeTool(NativeKind.URL_CONTEXT),
    )
    assert built(USER, tools=tools)["tools"] == [{"googleSearch": {"a": 1}}, {"codeExecution": {}}, {"urlContext": {}}]


@pytest.mark.parametrize(
    ("target", "asked", "sent"),
    [("gemini-2.0-flash", 100_000, 8192), ("gemini-2.0-flash", 5, 5), ("someone-elses", 100_000, 100_000)],
)
def test_the_output_limit_is_capped_to_the_model(target, asked, sent):
    body = built(USER, target=target, sampling=Sampling(max_tokens=asked))
    assert body["generationConfig"] == {"maxOutputTokens": sent}


def test_top_logprobs_without_logprobs_are_not_sent():
    assert "generationConfig" not in built(USER, sampling=Sampling(top_logprobs=3))


@pytest.mark.parametrize(
    ("target", "wish", "config"),
    [
        ("gemini-2.5-pro", Reasoning(effort=Effort.NONE), {"thinkingBudget": 128, "includeThoughts": False}),
        ("gemini-2.5-flash", Reasoning(effort=Effort.NONE), {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-2.5-flash", Reasoning(effort=Effort.AUTO), {"thinkingBudget": -1, "includeThoughts": True}),
        ("gemini-2.5-flash", Reasoning(budget=5000, visible=False), {"thinkingBudget": 5000, "includeThoughts": False}),
        ("gemini-3-pro-preview", Reasoning(effort=Effort.XHIGH), {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-3-pro-preview", Reasoning(effort=Effort.AUTO), {"thinkingBudget": -1, "includeThoughts": True}),
    ],
)
def test_thinking(target, wish, config):
    assert built(USER, target=target, reasoning=wish)["generationConfig"] == {"thinkingConfig": config}


def test_a_model_that_cannot_think_is_not_told_to():
    assert "generationConfig" not in built(USER, target="gemini-2.0-flash", reasoning=Reasoning(effort=Effort.HIGH))


def test_settings_passed_along_are_overwritten_by_those_understood():
    extras = {"gemini": {"generationConfig": {"temperature": 2, "topK": 1}, "safetySettings": [{"category": "C"}]}}
    body = built(USER, extras=extras, sampling=Sampling(temperature=0.5), safety_off=True)
    assert body["generationConfig"] == {"temperature": 0.5, "topK": 1}
    assert body["safetySettings"] == [{"category": "C"}]


def test_filters_are_asked_off_only_where_wanted():
    assert "safetySettings" not in built(USER)
    settings = built(USER, safety_off=True)["safetySettings"]
    assert {setting["threshold"] for setting in settings} == {"OFF"}
    assert len({setting["category"] for setting in settings}) == 4


# ---------------------------------------------------------------------------------------------------- any conversation

_IDS = st.sampled_from(["", "a", "b", "c"])
_PARTS = (
    st.builds(Text, st.sampled_from(["", "t"]), st.sampled_from([None, "s"]))
    | st.builds(ToolCall, _IDS, st.sampled_from(["f", "g h"]), st.just({}))
    | st.builds(lambda i: ToolResult(i, (Text("r"),)), _IDS)
)
_MESSAGES = st.lists(st.builds(Message, st.sampled_from(Role), st.lists(_PARTS, max_size=4).map(tuple)), max_size=8)


@given(_MESSAGES)
def test_whatever_the_conversation_the_turns_are_as_gemini_wants_them(messages):
    try:
        turns = contents(*messages, USER)
    except BrokerError:
        raise AssertionError("a conversation that ends with the user's words is never refused") from None
    assert turns[0]["role"] == turns[-1]["role"] == "user"
    for turn, after in pairwise(turns):
        assert turn["parts"]
        calls = [part["functionCall"]["name"] for part in turn["parts"] if "functionCall" in part]
        answers = [part["functionResponse"]["name"] for part in after["parts"] if "functionResponse" in part]
        assert calls == answers
        if calls:
            assert (turn["role"], after["role"]) == ("model", "user")


def test_a_tool_of_the_provider_s_that_is_offered_by_habit_gives_way_to_functions():
    search = NativeTool(NativeKind.WEB_SEARCH, optional=True)
    assert built(user(Text("x")), tools=(search,))["tools"] == [{"googleSearch": {}}]
    both = built(user(Text("x")), tools=(search, FunctionTool("f")))["tools"]
    assert [list(tool) for tool in both] == [["functionDeclarations"]]
