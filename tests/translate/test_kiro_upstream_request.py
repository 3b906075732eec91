import base64
import uuid

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.exchange import Target
from broker.translate.ir import (
    Audio,
    File,
    FunctionTool,
    Image,
    ImageLink,
    JsonOutput,
    Message,
    NativeKind,
    NativeTool,
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
from broker.translate.kiro_upstream_request import build, model_id
from broker.translate.signatures import SignatureMemory

MODEL = "claude-sonnet-4.5"
TOOL = FunctionTool("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})
CALL = ToolCall("t1", "look", {"at": "it"})


def user(*parts):
    return Message(Role.USER, tuple(Text(each) if isinstance(each, str) else each for each in parts))


def model(*parts):
    return Message(Role.ASSISTANT, tuple(Text(each) if isinstance(each, str) else each for each in parts))


def state(*messages, name=MODEL, **fields):
    request = Request("m", messages or (user("hi"),), "m", **fields)
    body, _ = build(request, Target(name, SignatureMemory(), prompt_id="r-1"))
    assert list(body) == ["conversationState"]
    return body["conversationState"]


def current(*messages, **fields):
    return state(*messages, **fields)["currentMessage"]["userInputMessage"]


def refused(*messages, **fields):
    with pytest.raises(BrokerError) as caught:
        state(*messages, **fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value.detail


def from_user(text, **more):
    return {"userInputMessage": {"content": text, "modelId": MODEL, "origin": "AI_EDITOR", **more}}


def from_model(text, *calls):
    return {"assistantResponseMessage": {"content": text, **({"toolUses": list(calls)} if calls else {})}}


def result(text, status="success", call="t1"):
    return {"toolUseId": call, "content": [{"text": text}], "status": status}


def names_of(message):
    return [each["toolSpecification"]["name"] for each in message["userInputMessageContext"]["tools"]]


def test_the_least_request():
    told = state()
    assert told.pop("currentMessage") == from_user("hi")
    assert uuid.UUID(told.pop("conversationId")).version == 4
    assert told == {"chatTriggerType": "MANUAL"}


def test_a_conversation_keeps_its_id_and_others_have_theirs():
    assert state(session="s")["conversationId"] == state(user("other"), session="s")["conversationId"]
    assert state(session="s")["conversationId"] != state(session="t")["conversationId"]
    assert state()["conversationId"] != state(session="s")["conversationId"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("claude-sonnet-4-5", "claude-sonnet-4.5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4.5"),
        ("claude-haiku-4-5", "claude-haiku-4.5"),
        ("claude-opus-4-6", "claude-opus-4.6"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("claude-sonnet-4", "claude-sonnet-4"),
        ("claude-sonnet-4.5", "claude-sonnet-4.5"),
        ("claude-3-7-sonnet-20250219", "claude-3-7-sonnet-20250219"),
        ("claude-opus-4-5-thinking", "claude-opus-4-5-thinking"),
        ("auto", "auto"),
        ("deepseek-3.2", "deepseek-3.2"),
    ],
)
def test_names_of_models(name, known):
    assert model_id(name) == known
    assert current(name=name)["modelId"] == known


def test_turns_and_what_stands_apart():
    told = state(user("one"), model("two"), user("three"), user("four"))
    assert told["history"] == [from_user("one"), from_model("two")]
    assert told["currentMessage"] == from_user("three\n\nfour")


def test_instructions_stand_before_what_is_said_first():
    system = (Text("Be brief."), Text(" "), Text("Be kind."))
    assert current(system=system)["content"] == "Be brief.\n\nBe kind.\n\nhi"
    told = state(user("one"), model("two"), user("three"), system=system)
    assert told["history"][0]["userInputMessage"]["content"] == "Be brief.\n\nBe kind.\n\none"
    assert told["currentMessage"] == from_user("three")


def test_instructions_alone_are_said_once():
    body, _ = build(Request("m", (), "m", system=(Text("Say hello"),)), Target(MODEL, SignatureMemory()))
    assert body["conversationState"]["currentMessage"] == from_user("Say hello")


def test_the_user_has_the_first_word_and_the_last():
    told = state(model("I begin"), user("hi"), model("and end with {"))
    assert told["history"] == [
        from_user("(The conversation begins.)"),
        from_model("I begin"),
        from_user("hi"),
        from_model("and end with {"),
    ]
    assert told["currentMessage"] == from_user("(Go on.)")


def test_a_call_and_its_answer():
    told = state(user("what?"), model(CALL), user(ToolResult("t1", (Text("a cat"),))), tools=(TOOL,))
    assert told["history"] == [
        from_user("what?"),
        from_model(" ", {"toolUseId": "t1", "name": "look", "input": {"at": "it"}}),
    ]
    message = told["currentMessage"]["userInputMessage"]
    assert message["content"] == "(Answers of tools.)"
    assert message["userInputMessageContext"] == {
        "toolResults": [result("a cat")],
        "tools": [
            {
                "toolSpecification": {
                    "name": "look",
                    "description": "Looks.",
                    "inputSchema": {"json": {"type": "object", "properties": {"at": {"type": "string"}}}},
                }
            }
        ],
    }


def test_answers_join_what_the_user_says_after_them():
    message = current(user("?"), model("so", CALL), user(ToolResult("t1", (Text("a cat"),)), "and?"), tools=(TOOL,))
    assert message["content"] == "and?"
    assert message["userInputMessageContext"]["toolResults"] == [result("a cat")]


def test_results_of_every_kind():
    calls = [ToolCall(f"c{n}", "look", {}) for n in range(5)]
    results = [
        ToolResult("c0", (Text("a"), Text("b"))),
        ToolResult("c1", (Text("no"),), is_error=True),
        ToolResult("c2", structured={"x": True}),
        ToolResult("c3", (Image("image/png", "AAAA"),)),
    ]
    message = current(user("?"), model(*calls), user(*results), tools=(TOOL,))
    assert message["userInputMessageContext"]["toolResults"] == [
        {"toolUseId": "c0", "content": [{"text": "a"}, {"text": "b"}], "status": "success"},
        result("no", "error", "c1"),
        result('{"x":true}', "success", "c2"),
        result("(nothing)", "success", "c3"),
        result("(no answer)", "error", "c4"),
    ]
    assert message["images"] == [{"format": "png", "source": {"bytes": "AAAA"}}]


def test_an_answer_to_no_call_is_kept_as_text():
    assert current(user(ToolResult("gone", (Text("a cat"),)), "hm"))["content"] == "a cat\n\nhm"
    assert current(user(ToolResult("gone", structured=[1])))["content"] == "[1]"


def test_ids_that_kiro_would_not_take():
    odd = ToolCall("call:" + "x" * 80, "look", {})
    told = state(user("?"), model(odd), user(ToolResult(odd.id, (Text("r"),))), tools=(TOOL,))
    (call,) = told["history"][1]["assistantResponseMessage"]["toolUses"]
    (answer,) = told["currentMessage"]["userInputMessage"]["userInputMessageContext"]["toolResults"]
    assert call["toolUseId"] == answer["toolUseId"]
    assert len(call["toolUseId"]) == 36


@pytest.mark.parametrize(
    ("mime", "kind"), [("image/png", "png"), ("image/jpeg", "jpeg"), ("image/gif", "gif"), ("image/webp", "webp")]
)
def test_images(mime, kind):
    message = current(user(Image(mime, "AAAA")))
    assert message["images"] == [{"format": kind, "source": {"bytes": "AAAA"}}]
    assert message["content"] == "(An image.)"
    assert current(user(Image(mime, "AAAA"), "what?"))["content"] == "what?"


def test_an_image_the_model_showed_is_shown_again():
    told = state(user("draw"), model(Image("image/png", "AAAA")), user(Image("image/png", "BBBB"), "bigger"))
    assert told["history"][1] == from_model(" ")
    shown = [each["source"]["bytes"] for each in told["currentMessage"]["userInputMessage"]["images"]]
    assert shown == ["AAAA", "BBBB"]


def test_files_that_are_text():
    data = base64.b64encode("a,ü".encode()).decode()
    assert current(user(File("text/csv", data), "sum"))["content"] == "a,ü\n\nsum"
    assert current(user(File("application/json", base64.b64encode(b"{}").decode())))["content"] == "{}"


def test_thoughts_of_earlier_turns_are_left_out():
    told = state(user("?"), model(Thinking("hm", "sig"), "yes"), user("sure?"))
    assert told["history"][1] == from_model("yes")
    told = state(user("?"), model(Thinking("hm", "sig")), user("well?"))
    assert "history" not in told
    assert told["currentMessage"] == from_user("?\n\nwell?")


@pytest.mark.parametrize(
    ("part", "why"),
    [
        (Audio("audio/wav", "AAAA"), "no audio"),
        (Image("image/tiff", "AAAA"), "no images of type image/tiff"),
        (File("application/pdf", "AAAA"), "no files of type application/pdf"),
        (File("text/plain", "!"), "no text in base64"),
        (File("text/plain", "/w=="), "no text in base64"),
    ],
)
def test_media_that_are_refused(part, why):
    assert why in refused(user(part, "hi"))


def test_what_is_refused():
    link = refused(user(ImageLink("https://x.example/i.png", "messages[0].content[0]")))
    assert link.startswith("messages[0].content[0]: images by URL")
    assert refused(sampling=Sampling(n=2)).startswith("n: ")
    assert refused(output=JsonOutput({"type": "object"})).startswith("response_format: ")
    assert refused(user(" ")).startswith("messages: nothing is left")
    assert "web_search" in refused(tools=(NativeTool(NativeKind.WEB_SEARCH),))


def test_what_has_no_field_changes_nothing():
    plain = state()
    assert state(sampling=Sampling(0.1, 0.2, 3, 4, ("x",), 5), output=JsonOutput(), stream=True) == plain
    assert state(tools=(NativeTool(NativeKind.WEB_SEARCH, optional=True),)) == plain


def test_tools():
    bare = FunctionTool("bare")
    (first, second) = current(tools=(TOOL, bare))["userInputMessageContext"]["tools"]
    assert first["toolSpecification"]["name"] == "look"
    assert second["toolSpecification"] == {
        "name": "bare",
        "description": "bare",
        "inputSchema": {"json": {"type": "object"}},
    }


@pytest.mark.parametrize(
    ("choice", "offered"),
    [
        (None, ["look", "go"]),
        (ToolChoice(ToolMode.AUTO), ["look", "go"]),
        (ToolChoice(ToolMode.REQUIRED), ["look", "go"]),
        (ToolChoice(ToolMode.REQUIRED, ("go",)), ["go"]),
    ],
)
def test_which_tools_are_offered(choice, offered):
    assert names_of(current(tools=(TOOL, FunctionTool("go")), tool_choice=choice)) == offered


def test_no_tool_is_offered_where_none_may_be_called():
    assert "userInputMessageContext" not in current(tools=(TOOL,), tool_choice=ToolChoice(ToolMode.NONE))


def test_a_tool_that_was_called_is_offered_always():
    talk = (user("?"), model(CALL, ToolCall("t2", "look", {})), user("go on"))
    message = current(*talk)
    assert names_of(message) == ["look"]
    assert message["userInputMessageContext"]["tools"][0]["toolSpecification"]["description"] == "Not offered any more."
    assert names_of(current(*talk, tools=(FunctionTool("go"),))) == ["go", "look"]
    assert names_of(current(*talk, tools=(TOOL,))) == ["look"]


def test_names_kiro_would_not_take():
    request = Request("m", (user("hi"),), "m", tools=(FunctionTool("a tool"),))
    body, names = build(request, Target(MODEL, SignatureMemory()))
    (name,) = names_of(body["conversationState"]["currentMessage"]["userInputMessage"])
    assert (name, names.inward(name)) == ("a_tool", "a tool")
