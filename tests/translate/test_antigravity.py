import json
from typing import Any

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.antigravity import Antigravity, wrap_request
from broker.translate.exchange import Target
from broker.translate.ir import FunctionTool, Message, Request, Role, Sampling, Text, Thinking, ToolCall, ToolResult
from broker.translate.signatures import SignatureMemory

SAID = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
TOOLS = [{"functionDeclarations": [{"name": "f"}]}]
GEMINI, CLAUDE = "gemini-3-pro-high", "claude-sonnet-4-5"


def target(model: str = GEMINI, project: str | None = "p-1", prompt: str | None = "r-1") -> Target:
    return Target(model, SignatureMemory(), project, prompt)


def wrapped(model: str = GEMINI, **members: object) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(wrap_request(json.dumps({**SAID, **members}).encode(), target(model)))
    return made


def test_the_envelope() -> None:
    made = wrapped()
    assert list(made) == ["project", "model", "userAgent", "requestType", "requestId", "request"]
    assert (made["project"], made["model"], made["userAgent"]) == ("p-1", GEMINI, "antigravity")
    assert made["requestType"] == "agent"
    assert made["requestId"].startswith("agent-")
    assert len(made["requestId"]) == 42
    assert made["request"]["contents"] == SAID["contents"]


def test_without_a_project() -> None:
    made = json.loads(wrap_request(json.dumps(SAID).encode(), target(project=None, prompt=None)))
    assert "project" not in made
    assert made["requestId"].startswith("agent-")


def test_what_is_inside_keeps_its_bytes() -> None:
    inner = b'{ "contents" : [ {"odd":  1e0} ], "labels": {"a" : "\\u00e4"} }'
    made = wrap_request(inner, target())
    assert b'[ {"odd":  1e0} ]' in made
    assert b'{"a" : "\\u00e4"}' in made


@pytest.mark.parametrize(
    ("model", "tools", "kind"),
    [
        ("gemini-3-pro-image", TOOLS, "image_gen"),
        (GEMINI, [{"googleSearch": {}}], "web_search"),
        (GEMINI, [{"google_search": {}}, *TOOLS], "agent"),
        (GEMINI, [{"google_search": {}}, {"function_declarations": []}], "agent"),
        (GEMINI, TOOLS, "agent"),
        (GEMINI, {"no": "list"}, "agent"),
    ],
)
def test_the_kind_of_a_request(model: str, tools: object, kind: str) -> None:
    assert wrapped(model, tools=tools)["requestType"] == kind


@pytest.mark.parametrize("name", ["safetySettings", "safety_settings"])
def test_safety_settings_stay_out(name: str) -> None:
    assert name not in wrapped(**{name: [{}]})["request"]


@pytest.mark.parametrize(
    ("outer", "inner"), [("generationConfig", "maxOutputTokens"), ("generation_config", "max_output_tokens")]
)
def test_only_claude_is_told_where_to_stop(outer: str, inner: str) -> None:
    config = {outer: {inner: 9, "temperature": 1}}
    assert wrapped(**config)["request"][outer] == {"temperature": 1}
    assert wrapped(CLAUDE, **config)["request"][outer] == {inner: 9, "temperature": 1}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (None, {"functionCallingConfig": {"mode": "VALIDATED"}}),
        ({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
         {"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}}),
        ({"function_calling_config": {"mode": "AUTO"}, "retrievalConfig": {}},
         {"retrievalConfig": {}, "functionCallingConfig": {"mode": "VALIDATED"}}),
        ({"functionCallingConfig": {"mode": "NONE"}}, {"functionCallingConfig": {"mode": "NONE"}}),
    ],
)  # fmt: skip
def test_claude_s_calls_are_validated(given: object, made: object) -> None:
    config = {} if given is None else {"toolConfig": given}
    assert wrapped(CLAUDE, tools=TOOLS, **config)["request"]["toolConfig"] == made
    snake = {} if given is None else {"tool_config": given}
    told = wrapped(CLAUDE, tools=TOOLS, **snake)["request"]
    assert told.get("toolConfig", told.get("tool_config")) == made
    assert len({"toolConfig", "tool_config"} & told.keys()) == 1
    assert wrapped(GEMINI, tools=TOOLS, **config)["request"].get("toolConfig") == given


def test_without_functions_there_is_nothing_to_validate() -> None:
    assert "toolConfig" not in wrapped(CLAUDE)["request"]


@pytest.mark.parametrize("name", ["functionDeclarations", "function_declarations"])
@pytest.mark.parametrize("key", ["parametersJsonSchema", "parameters_json_schema"])
def test_schemas_stand_where_they_are_looked_for(name: str, key: str) -> None:
    schema = {"$schema": "x", "type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    told = wrapped(tools=[{"googleSearch": {}}, {name: [{"name": "f", key: schema}, {"name": "g"}]}])["request"][
        "tools"
    ]
    cleaned = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert told == [{"googleSearch": {}}, {name: [{"name": "f", "parameters": cleaned}, {"name": "g"}]}]
    own = [{name: [{"name": "f", "parameters": {"type": "OBJECT"}, key: schema}]}]
    assert wrapped(tools=own)["request"]["tools"] == [{name: [{"name": "f", "parameters": {"type": "OBJECT"}}]}]


def test_tools_that_are_right_keep_their_bytes() -> None:
    inner = b'{"contents":[], "tools" : [ {"functionDeclarations": [ {"name":  "f"} ]} ]}'
    assert b'[ {"functionDeclarations": [ {"name":  "f"} ]} ]' in wrap_request(inner, target())


@pytest.mark.parametrize(
    "tools", [[{"functionDeclarations": 7}], [{"functionDeclarations": [{"parametersJsonSchema": 7}]}]]
)
def test_tools_that_are_none(tools: object) -> None:
    with pytest.raises(BrokerError) as caught:
        wrapped(tools=tools)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_claude_gets_no_thought_and_no_call_with_another_s_signature() -> None:
    said = Message(
        Role.ASSISTANT, (Thinking("hm"), Thinking("signed", "fake-sig"), ToolCall("c1", "f", {"a": 1})),
    )  # fmt: skip
    alone = Message(Role.ASSISTANT, (Thinking("only that"),))
    result = Message(Role.USER, (ToolResult("c1", (Text("done"),)),))
    user = Message(Role.USER, (Text("hi"),))
    request = Request(model="x", asked_model="x", messages=(user, alone, user, said, result))
    told = json.loads(Antigravity().encode_request(request, target(CLAUDE)).body)["request"]["contents"]
    parts = [part for turn in told for part in turn["parts"]]
    assert [part["text"] for part in parts if part.get("thought")] == ["signed"]
    assert {"functionCall": {"name": "f", "args": {"a": 1}}} in parts
    assert all(turn["parts"] for turn in told)
    other = json.loads(Antigravity().encode_request(request, target()).body)["request"]["contents"]
    assert "skip_thought_signature_validator" in json.dumps(other)


def test_a_conversation_keeps_its_session() -> None:
    first = wrapped()["request"]["sessionId"]
    assert first.startswith("-")
    assert 0 <= int(first[1:]) < 2**63
    longer = [*SAID["contents"], {"role": "model", "parts": [{"text": "yes"}]}]
    assert wrapped(contents=longer)["request"]["sessionId"] == first
    assert wrapped(contents=longer[1:])["request"]["sessionId"] != first
    assert wrapped(contents=[])["request"]["sessionId"] == wrapped(contents=7)["request"]["sessionId"]


def test_a_session_of_the_client_s_own() -> None:
    assert wrapped(sessionId="-77")["request"]["sessionId"] == "-77"
    named = wrapped(session_id="mine")["request"]
    assert named["sessionId"].startswith("-")
    assert "session_id" not in named
    assert named["sessionId"] == wrapped(sessionId="mine")["request"]["sessionId"]
    assert named["sessionId"] != wrapped(sessionId=7)["request"]["sessionId"]


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b"", b'{"tools":[7],"contents":[]}'])
def test_what_cannot_be_wrapped(body: bytes) -> None:
    with pytest.raises(BrokerError) as caught:
        wrap_request(body, target())
    assert caught.value.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("session", [None, "s-1"])
def test_a_translated_request(session: str | None) -> None:
    request = Request(
        model="x",
        asked_model="x",
        messages=(Message(Role.USER, (Text("hi"),)),),
        tools=(FunctionTool("f"),),
        sampling=Sampling(max_tokens=9),
        session=session,
    )
    made = json.loads(Antigravity().encode_request(request, target(CLAUDE)).body)["request"]
    assert made["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert made["generationConfig"]["maxOutputTokens"] == 9
    assert "safetySettings" not in made
    assert (made["sessionId"] == wrapped(sessionId="s-1")["request"]["sessionId"]) is (session is not None)
