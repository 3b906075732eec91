"""Requests are read as strictly as the service reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.sandbox.gemini_request import (
    call_signature,
    count_tokens,
    read_count,
    read_generate,
    text_signature,
)
from broker.sandbox.rpc import RpcError

FLASH, PRO, IMAGE, THREE = "gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.5-flash-image", "gemini-3-pro-preview"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PING = {"functionDeclarations": [{"name": "ping", "description": "d", "parameters": SCHEMA}]}
ARGS = {"city": "Paris"}


def turn(role: str, *parts: dict) -> dict:
    return {"role": role, "parts": list(parts)}


def text(words: str = "hi") -> dict:
    return {"text": words}


def called(signature: str | None = None, name: str = "ping", args: dict | None = None) -> dict:
    part: dict = {"functionCall": {"name": name, "args": ARGS if args is None else args}}
    return part | ({"thoughtSignature": signature} if signature else {})


def result(name: str = "ping") -> dict:
    return {"functionResponse": {"name": name, "response": {"result": 1}}}


def ask(*turns: dict, **more: object) -> dict:
    return {"contents": list(turns) or [turn("user", text())], **more}


def config(**fields: object) -> dict:
    return ask(generationConfig=fields)


FULL = ask(
    turn("user", text(), {"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
    turn("model", {"text": "hm", "thought": True}, called()),
    turn("user", result()),
    turn("model", text("done")),
    turn("user", {"fileData": {"fileUri": "u"}}),
    systemInstruction={"parts": [text("be kind")]},
    tools=[PING, {"googleSearch": {}}],
    toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["ping"]}},
    safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
    generationConfig={
        "temperature": 1,
        "topK": 40,
        "stopSequences": ["x"],
        "thinkingConfig": {"thinkingBudget": 0, "includeThoughts": False},
        "responseMimeType": "application/json",
        "_responseJsonSchema": {"type": "object", "unknown_name": None},
        "seed": None,
    },
)


def snake(value: object) -> object:
    names = {"inlineData": "inline_data", "mimeType": "mime_type", "functionCall": "function_call"}
    names |= {"functionResponse": "function_response", "fileData": "file_data", "generationConfig": "generation_config"}
    names |= {"systemInstruction": "system_instruction", "functionDeclarations": "function_declarations"}
    names |= {"toolConfig": "tool_config", "safetySettings": "safety_settings", "topK": "top_k"}
    if isinstance(value, dict):
        return {names.get(k, k): snake(v) for k, v in value.items()}
    return [snake(v) for v in value] if isinstance(value, list) else value


def test_a_full_request_in_both_spellings():
    read = read_generate(FULL, FLASH)
    assert read.contents[0].parts[1].inline_data.data == b"hi"
    assert read.declarations()["ping"].schema() == SCHEMA
    assert read.generation_config.response_json_schema_ == {"type": "object", "unknown_name": None}
    assert read_generate(snake(FULL), FLASH) == read


@pytest.mark.parametrize(
    ("body", "model", "words"),
    [
        ([], FLASH, "Expected `object`"),
        ({}, FLASH, "contents is not specified"),
        (ask(surplus=1), FLASH, "surplus"),
        (ask(session_id="s"), FLASH, "session_id"),
        (config(max_tokens=1), FLASH, "maxTokens"),
        (config(temperature=3), FLASH, "temperature"),
        (config(temperature="hot"), FLASH, "temperature"),
        (config(stopSequences=list("abcdef")), FLASH, "stopSequences"),
        (ask(turn("assistant", text())), FLASH, "assistant"),
        (ask(turn("system", text())), FLASH, "valid role"),
        (ask(turn("user")), FLASH, "must not be empty"),
        (ask(turn("user", {})), FLASH, "oneof field"),
        (ask(turn("user", text() | result())), FLASH, "oneof field"),
        (ask(turn("user", {"inlineData": {"mimeType": "image/png", "data": "%%"}})), FLASH, "base64"),
        (ask(turn("user", result())), FLASH, "immediately after a function call"),
        (
            ask(turn("user", text()), turn("model", called()), turn("user", text())),
            FLASH,
            "number of function response",
        ),
        (
            ask(turn("user", text()), turn("model", called(), called()), turn("user", result())),
            FLASH,
            "equal to the number",
        ),
        (ask(turn("user", text()), turn("model", called())), FLASH, "followed by"),
        (ask(turn("user", called()), turn("user", result())), FLASH, "model turn"),
        (ask(tools=[PING, PING]), FLASH, "Duplicate"),
        (ask(tools=[{"functionDeclarations": [{"name": "1st"}]}]), FLASH, "Invalid function name"),
        (ask(tools=[{"functionDeclarations": [{"name": "a" * 65}]}]), FLASH, "Invalid function name"),
        (
            ask(
                tools=[{"functionDeclarations": [{"name": "f", "parameters": SCHEMA, "parametersJsonSchema": SCHEMA}]}]
            ),
            FLASH,
            "Only one of",
        ),
        (
            ask(tools=[PING], toolConfig={"functionCallingConfig": {"allowedFunctionNames": ["ping"]}}),
            FLASH,
            "mode is ANY",
        ),
        (
            ask(tools=[PING], toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["pong"]}}),
            FLASH,
            "pong",
        ),
        (ask(toolConfig={"functionCallingConfig": {"mode": "ANY"}}), FLASH, "without function_declarations"),
        (config(responseModalities=["IMAGE"]), FLASH, "modalities: image"),
        (config(responseModalities=["AUDIO"]), IMAGE, "modalities: audio"),
        (config(responseModalities=["SMELL"]), IMAGE, "SMELL"),
        (config(imageConfig={"aspectRatio": "7:5"}), IMAGE, "aspect_ratio"),
        (config(imageConfig={"imageSize": "1k"}), IMAGE, "image_size"),
        (config(imageConfig={"imageSize": "1K"}), FLASH, "not supported by this model"),
        (config(thinkingConfig={"thinkingBudget": 1, "thinkingLevel": "low"}), THREE, "only set only one"),
        (config(thinkingConfig={"thinkingLevel": "low"}), FLASH, "Thinking level"),
        (config(thinkingConfig={"thinkingLevel": "enormous"}), THREE, "enormous"),
        (config(thinkingConfig={"thinkingBudget": 0}), PRO, "between 128 and 32768"),
        (config(thinkingConfig={"thinkingBudget": 24577}), FLASH, "between 0 and 24576"),
    ],
)
def test_what_is_refused(body, model, words):
    with pytest.raises(RpcError, check=lambda e: e.code == 400) as caught:
        read_generate(body, model)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (config(responseModalities=["Text", "Image"], imageConfig={"aspectRatio": "16:9", "imageSize": "4K"}), IMAGE),
        (config(thinkingConfig={"thinkingLevel": "HIGH"}), THREE),
        (config(thinkingConfig={"thinkingBudget": -1}), PRO),
        (config(thinkingConfig={"thinkingBudget": 128}), PRO),
        (ask(tools=[{"functionDeclarations": [{"name": "f"}]}]), FLASH),
        (ask(tools=[PING], toolConfig={"functionCallingConfig": {"mode": "NONE"}}), FLASH),
        (ask(turn("user", text()), turn("model", called(), called()), turn("user", result(), result())), FLASH),
        ({"contents": [{"parts": [text()]}]}, FLASH),
    ],
)
def test_what_is_accepted(body, model):
    assert read_generate(body, model).contents


def test_a_session_id_is_code_assists():
    assert read_generate(ask(session_id="s"), FLASH, enveloped=True).session_id == "s"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "object", "additionalProperties": False}, "additionalProperties"),
        ({"type": "object", "properties": {"a": {"$ref": "#/x"}}}, "$ref"),
        ({"type": "array", "items": {"const": 1}}, "const"),
        ({"anyOf": [{"type": "string"}, {"exclusiveMinimum": 1}]}, "exclusiveMinimum"),
        ({"type": "object", "properties": {"a": {}}, "required": ["b"]}, "not defined: b"),
        ({"type": "object", "required": ["b"]}, "not defined: b"),
        ({"type": "object", "properties": {"const": {"type": "string"}}, "required": ["const"], "any_of": []}, None),
        ({"type": "object", "properties": {"a": 1}, "items": "x"}, None),
    ],
)
def test_parameters_have_a_fixed_set_of_fields(schema, words):
    def body(field: str) -> dict:
        return ask(tools=[{"functionDeclarations": [{"name": "f", field: schema}]}])

    if words is None:
        read_generate(body("parameters"), FLASH)
    else:
        with pytest.raises(RpcError) as caught:
            read_generate(body("parameters"), FLASH)
        assert words in caught.value.message
    assert read_generate(body("parametersJsonSchema"), FLASH).declarations()["f"].schema() == schema


@pytest.mark.parametrize(
    ("signature", "fine"),
    [
        (call_signature("ping", ARGS), True),
        ("skip_thought_signature_validator", True),
        (None, False),
        (call_signature("ping", {}), False),
        (text_signature("x"), False),
    ],
)
def test_gemini_3_wants_the_signature_of_a_call_back(signature, fine):
    turns = [
        turn("user", text()),
        turn("model", text("let me see"), called(signature), called()),
        turn("user", result(), result()),
    ]
    if fine:
        read_generate(ask(*turns), THREE)
    else:
        with pytest.raises(RpcError, match="signature"):
            read_generate(ask(*turns), THREE)
    assert read_generate(ask(*turns), FLASH)
    assert read_generate(
        ask(*turns, turn("model", text()), turn("user", text())), THREE
    )  # an earlier turn is not checked


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=3))
def test_arguments_are_nobodys_business(args):
    turns = [turn("user", text()), turn("model", called(args=args)), turn("user", result())]
    assert read_generate(ask(*turns), FLASH).contents[1].parts[0].function_call.args == args


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8
    )
)
def test_nonsense_gets_400(body):
    with pytest.raises(RpcError, check=lambda e: e.code == 400):
        read_generate(body, FLASH)


def test_counting():
    turns = [
        turn("user", text("a b c"), {"inlineData": {"mimeType": "image/png", "data": ""}}),
        turn("model", called()),
    ]
    assert count_tokens(read_generate(ask(*turns, turn("user", result())), FLASH).contents) == 3 + 258 + 10 + 10
    assert read_count(ask(turn("user", text("a b")))) == 2
    inner = ask(turn("user", text("a b")), systemInstruction={"parts": [text("c")]})
    assert read_count({"generateContentRequest": inner}) == 3
    with pytest.raises(RpcError):
        read_count({"contents": []})
