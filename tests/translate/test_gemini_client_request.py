import base64
import json

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.exchange import Route
from broker.translate.gemini_client_request import decode
from broker.translate.gemini_client_signatures import pack
from broker.translate.gemini_request import UNSIGNED
from broker.translate.ir import (
    Audio,
    Effort,
    File,
    FunctionTool,
    Image,
    ImageLink,
    ImageOptions,
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
from broker.translate.signers import Signer, marked

MODEL = Route("m")
HELLO = {"role": "user", "parts": [{"text": "hi"}]}
THOUGHT = Thinking("hm", marked(Signer.ANTHROPIC, "s1"))
FUNCTION = {"name": "f", "parametersJsonSchema": {"type": "object"}}


def read(route=MODEL, /, **fields):
    return decode(json.dumps({"contents": [HELLO], **fields}).encode(), route)


def refused(route=MODEL, /, **fields):
    with pytest.raises(BrokerError) as caught:
        read(route, **fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value.detail


def user(*parts):
    """The parts of a user's turn."""
    (message,) = read(contents=[{"role": "user", "parts": list(parts)}]).messages
    assert message.role is Role.USER
    return message.parts


def model(*turns):
    """The parts of what the model said, in these turns."""
    contents = [HELLO, *({"role": "model", "parts": list(parts)} for parts in turns)]
    _, message = read(contents=contents).messages
    assert message.role is Role.ASSISTANT
    return message.parts


def asked(**generation):
    return read(generationConfig=generation)


# ----------------------------------------------------------------------------------------------------------- routes


def test_model_and_streaming_are_said_in_the_url():
    told = read(Route("models/claude-x(high)", True), model="models/other")
    assert (told.model, told.asked_model, told.stream, told.include_usage) == (
        "claude-x", "claude-x(high)", True, True,
    )  # fmt: skip
    assert told.reasoning == Reasoning(Effort.HIGH, None, False)
    assert read(Route(), model="models/m").model == "m"
    assert not read().stream
    assert refused(Route()).startswith("model: ")
    assert refused(Route("models/ ")).startswith("model: ")


def test_a_count_may_hold_the_whole_request():
    inner = {"model": "models/m", "contents": [HELLO], "systemInstruction": {"parts": [{"text": ""}, {"text": "s"}]}}
    body = json.dumps({"generateContentRequest": inner}).encode()
    told = decode(body, Route("m", counting=True))
    assert told.system == (Text("s"),)
    assert decode(b'{"contents":[{"parts":[{"text":"x"}]}]}', Route("m", counting=True)).messages[0].parts == (
        Text("x"),
    )
    with pytest.raises(BrokerError, match="contents: is required"):
        decode(body, Route("m"))
    with pytest.raises(BrokerError, match="body: "):
        decode(b"[]", Route("m", counting=True))


def test_what_is_nested_too_deeply_is_refused():
    deep = {"type": "object"}
    for _ in range(900):
        deep = {"type": "OBJECT", "items": deep}
    with pytest.raises(BrokerError, match="nested too deeply"):
        decode(b'{"contents":' + b"[" * 900 + b"]" * 900 + b"}", Route("m"))
    body = {"contents": [HELLO], "generationConfig": {"responseSchema": deep}}
    with pytest.raises(BrokerError, match="nested too deeply"):
        decode(json.dumps(body).encode(), Route("m"))


def test_both_spellings_and_single_things_in_place_of_lists():
    told = decode(
        b'{"contents":{"role":"user","parts":{"text":"hi"}},"system_instruction":{"parts":{"text":"be kind"}},'
        b'"tools":{"function_declarations":{"name":"f"}},"generation_config":{"max_output_tokens":"9","top_k":4e1},'
        b'"session_id":"s"}',
        Route("m"),
    )
    assert told.messages == (Message(Role.USER, (Text("hi"),)),)
    assert told.system == (Text("be kind"),)
    assert told.tools == (FunctionTool("f"),)
    assert told.sampling == Sampling(max_tokens=9, top_k=40)
    assert told.session == "s"
    assert read(sessionId=5).session is None


def test_faults_name_their_field_in_camel_case():
    assert refused(contents=[{"parts": [{"inline_data": {"mime_type": 5}}]}]).startswith(
        "contents[0].parts[0].inlineData.mimeType: "
    )
    assert refused(contents=[]).startswith("contents: ")
    assert refused(contents=[{"role": "system", "parts": []}]).startswith("contents[0].role: ")
    assert refused(systemInstruction={"parts": [{"text": "a"}, {"inlineData": {}}]}).startswith(
        "systemInstruction.parts[1]: "
    )
    assert refused(cachedContent="cachedContents/1").startswith("cachedContent: ")


# --------------------------------------------------------------------------------------------------------- contents


def test_what_a_user_says():
    assert user(
        {"text": "a"},
        {"text": ""},
        {"inlineData": {"mimeType": "IMAGE/png", "data": "-_-_"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "AAA"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "AAAA", "displayName": "d.pdf"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}},
        {"text": "b"},
    ) == (
        Text("a"),
        Image("image/png", "+/+/"),
        Audio("audio/wav", "AAA="),
        File("application/pdf", "AAAA", "d.pdf"),
        ImageLink("https://example.com/a.png", "contents[0].parts[5].fileData.fileUri"),
        Text("b"),
    )
    turns = [{"parts": [{"text": "x"}]}, {"role": "function", "parts": [{"text": "y"}]}, {"role": "user"}]
    assert [message.parts for message in read(contents=turns).messages] == [(Text("x"),), (Text("y"),), ()]


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({}, ""),
        ({"inlineData": {"data": "AAAA"}}, ".inlineData.mimeType"),
        ({"inlineData": {"mimeType": "png", "data": "AAAA"}}, ".inlineData.mimeType"),
        ({"inlineData": {"mimeType": "image/png", "data": ""}}, ".inlineData.data"),
        ({"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/a.png"}}, ".fileData.fileUri"),
        (
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/1"}},
            ".fileData.fileUri",
        ),
        ({"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.com/v"}}, ".fileData.fileUri"),
        ({"fileData": {"fileUri": "https://example.com/v"}}, ".fileData.fileUri"),
        ({"executable_code": {"language": "PYTHON", "code": "1"}}, ".executableCode"),
        ({"codeExecutionResult": {"outcome": "OUTCOME_OK"}}, ".codeExecutionResult"),
        ({"toolCall": {}}, ".toolCall"),
        ({"toolResponse": {}}, ".toolResponse"),
        ({"functionCall": {"name": "f"}}, ".functionCall"),
        ({"videoMetadata": {}}, ""),
    ],
)
def test_what_no_user_can_say(part, field):
    assert refused(contents=[{"role": "user", "parts": [part]}]).startswith(f"contents[0].parts[0]{field}: ")


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({}, ""),
        ({"functionCall": {"args": {}}}, ".functionCall.name"),
        ({"functionResponse": {"name": "f"}}, ".functionResponse"),
        ({"executableCode": {}, "thoughtSignature": "x"}, ".executableCode"),
    ],
)
def test_what_no_model_can_say(part, field):
    assert refused(contents=[{"role": "model", "parts": [part]}]).startswith(f"contents[0].parts[0]{field}: ")


def test_the_chunks_of_an_answer_are_one_turn_again():
    assert model([{"text": "Hel"}], [{"text": "lo "}, {"text": ""}], [{"text": "\n\n"}, {"text": "you"}]) == (
        Text("Hello \n\nyou"),
    )
    turns = [HELLO, {"role": "model", "parts": [{"text": ""}]}, HELLO]
    assert [message.role for message in read(contents=turns).messages] == [Role.USER, Role.USER]


def test_calls_and_their_answers_with_ids_and_without():
    call = {"functionCall": {"name": "f", "args": {"snake_case": [1.5]}}}
    named = {"functionCall": {"id": "toolu_1", "name": "g"}}
    answers = [
        {"functionResponse": {"name": "f", "response": {"output": "text"}}},
        {"functionResponse": {"id": "toolu_1", "name": "g", "response": {"error": "no"}}},
        {"functionResponse": {"name": "f", "response": {"result": {"a": 1}}}},
        {"functionResponse": {"name": "f", "response": {"error": "", "output": 1}}},
        {"functionResponse": {"name": "f", "response": {"error": None}}},
        {"functionResponse": {"name": "f"}},
    ]
    contents = [HELLO, {"role": "model", "parts": [call, named, call]}, {"role": "user", "parts": answers}]
    told = read(contents=contents)
    assert told.messages[1].parts == (
        ToolCall("gemini_1_0", "f", {"snake_case": [1.5]}),
        ToolCall("toolu_1", "g", {}),
        ToolCall("gemini_1_2", "f", {"snake_case": [1.5]}),
    )
    assert told.messages[2].parts == (
        ToolResult("", (Text("text"),), "f"),
        ToolResult("toolu_1", (Text("no"),), "g", is_error=True),
        ToolResult("", (), "f", structured={"a": 1}),
        ToolResult("", (), "f", structured={"error": "", "output": 1}),
        ToolResult("", (), "f"),
        ToolResult("", (), "f", structured={}),
    )
    assert read(contents=contents) == told


def test_media_in_what_a_function_said():
    image = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    said = {"functionResponse": {"name": "f", "response": {"a": 1}, "parts": [image]}}
    plain = {"functionResponse": {"name": "f", "response": {"output": "t"}, "parts": [image]}}
    assert user(said, plain) == (
        ToolResult("", (Text('{"a":1}'), Image("image/png", "AAAA")), "f"),
        ToolResult("", (Text("t"), Image("image/png", "AAAA")), "f"),
    )
    broken = {"functionResponse": {"name": "f", "parts": [image, {"text": "x"}]}}
    assert refused(contents=[{"parts": [broken]}]).startswith("contents[0].parts[0].functionResponse.parts[1]: ")


# ------------------------------------------------------------------------------------------------------- signatures


def test_a_signature_of_google_stays_with_its_part():
    assert model(
        [{"text": "hm", "thought": True, "thoughtSignature": "a"}, {"text": "", "thought": True}, {"text": "x"}],
        [{"text": "y", "thought_signature": "b"}, {"text": "z"}, {"thoughtSignature": "c"}],
        [{"functionCall": {"name": "f"}, "thoughtSignature": "d"}, {"functionCall": {"name": "f"}}],
        [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "e"}],
        [{"inlineData": {"mimeType": "image/png", "data": "BBBB"}, "thought": True}],
        [{"functionCall": {"name": "f"}, "thoughtSignature": UNSIGNED}],
    ) == (
        Thinking("hm", "a"),
        Text("x"),
        Text("y", "b"),
        Text("z"),
        Text("", "c"),
        ToolCall("gemini_3_0", "f", {}, "d"),
        ToolCall("gemini_3_1", "f", {}),
        Image("image/png", "AAAA", "e"),
        ToolCall("gemini_6_0", "f", {}),
    )


def test_what_anthropic_thought_comes_back_whole_whether_or_not_the_client_kept_the_words():
    packed = pack(None, [THOUGHT])
    call = {"functionCall": {"id": "c", "name": "f"}, "thoughtSignature": packed}
    expected = (THOUGHT, ToolCall("c", "f", {}))
    assert model([call]) == expected
    assert model([{"text": "hm", "thought": True}], [call]) == expected
    assert model([{"text": "kept", "thought": True, "thoughtSignature": "a"}], [call])[0] == Thinking("kept", "a")
    assert model([{"text": "a", "thoughtSignature": packed}], [{"text": "b"}]) == (THOUGHT, Text("ab"))
    assert model([{"text": "", "thought": True, "thoughtSignature": packed}]) == (THOUGHT,)
    assert model([{"thoughtSignature": packed}]) == (THOUGHT,)
    secret = Thinking("", None, marked(Signer.ANTHROPIC, "zzz"))
    assert model([{"text": "a", "thoughtSignature": pack(None, [secret])}], [call])[0] == secret


# ------------------------------------------------------------------------------------------------------------ tools


def test_tools():
    told = read(
        tools=[
            {
                "functionDeclarations": [
                    FUNCTION,
                    {"name": "g", "description": "d", "parameters": {"type": "OBJECT", "properties": {"a_b": {}}}},
                    {"name": "h"},
                ],
                "googleSearch": {"excludeDomains": ["x"]},
                "codeExecution": None,
            },
            {"url_context": {}, "google_search_retrieval": "odd"},
            {"codeExecution": {}},
        ]
    )
    assert told.tools == (
        FunctionTool("f", None, {"type": "object"}),
        FunctionTool("g", "d", {"type": "object", "properties": {"a_b": {}}}),
        FunctionTool("h"),
        NativeTool(NativeKind.WEB_SEARCH, {"excludeDomains": ["x"]}),
        NativeTool(NativeKind.URL_CONTEXT),
        NativeTool(NativeKind.WEB_SEARCH),
        NativeTool(NativeKind.CODE_EXECUTION),
    )
    assert refused(tools=[{"googleMaps": {}}]).startswith("tools[0].googleMaps: ")
    assert refused(tools=[{"functionDeclarations": [{"name": ""}]}]).startswith("tools[0].functionDeclarations[0].name")
    assert refused(tools=[{}, {"functionDeclarations": [{}]}]).startswith("tools[1].functionDeclarations[0].name: is")


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice(ToolMode.AUTO)),
        ({}, ToolChoice(ToolMode.AUTO)),
        ({"mode": "any"}, ToolChoice(ToolMode.REQUIRED)),
        ({"mode": "NONE"}, ToolChoice(ToolMode.NONE)),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice(ToolMode.REQUIRED, ("f",))),
        ({"mode": "VALIDATED", "allowed_function_names": ["f"]}, ToolChoice(ToolMode.AUTO, ("f",))),
        (None, None),
    ],
)
def test_the_rule_for_calls(calling, choice):
    told = read(tools=[{"functionDeclarations": [FUNCTION]}], toolConfig={"functionCallingConfig": calling})
    assert told.tool_choice == choice


def test_a_rule_that_cannot_be():
    at = "toolConfig.functionCallingConfig"
    assert refused(toolConfig={"functionCallingConfig": {"mode": "SOME"}}).startswith(f"{at}.mode: ")
    unknown = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}}
    assert refused(toolConfig=unknown).startswith(f"{at}.allowedFunctionNames[0]: ")


# --------------------------------------------------------------------------------------------------------- settings


def test_how_tokens_are_drawn():
    told = asked(
        temperature=0.5, topP=0.9, topK=40.0, candidateCount=2, maxOutputTokens=100, stopSequences=["END"], seed=7,
        presencePenalty=0.1, frequencyPenalty=0.2, responseLogprobs=True, logprobs=3,
    )  # fmt: skip
    assert told.sampling == Sampling(0.5, 0.9, 40, 100, ("END",), 7, 0.1, 0.2, True, 3, 2)
    assert refused(generationConfig={"maxOutputTokens": 0}).startswith("generationConfig.maxOutputTokens: ")
    assert refused(generationConfig={"candidateCount": -1}).startswith("generationConfig.candidateCount: ")


@pytest.mark.parametrize(
    ("generation", "output"),
    [
        ({}, None),
        ({"responseMimeType": "text/plain"}, None),
        ({"responseMimeType": "application/json"}, JsonOutput()),
        (
            {"response_schema": {"type": "ARRAY", "items": {"type": "STRING"}}},
            JsonOutput({"type": "array", "items": {"type": "string"}}),
        ),
        (
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object", "x_y": 1}},
            JsonOutput({"type": "object", "x_y": 1}),
        ),
    ],
)
def test_structured_output(generation, output):
    assert asked(**generation).output == output


def test_output_of_another_kind():
    assert refused(generationConfig={"responseMimeType": "text/x.enum"}).startswith("generationConfig.responseMimeType")


@pytest.mark.parametrize(
    ("thinking", "wish"),
    [
        (None, None),
        ({}, None),
        ({"includeThoughts": False}, None),
        ({"includeThoughts": True}, Reasoning(Effort.AUTO, None, True)),
        ({"includeThoughts": True, "thinkingBudget": 8192}, Reasoning(None, 8192, True)),
        ({"thinkingBudget": -1}, Reasoning(Effort.AUTO, None, False)),
        ({"thinking_budget": 0}, Reasoning(Effort.NONE, None, False)),
        ({"thinkingLevel": "HIGH", "thinkingBudget": 1}, Reasoning(Effort.HIGH, None, False)),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None),
    ],
)
def test_how_hard_to_think(thinking, wish):
    assert asked(thinkingConfig=thinking).reasoning == wish


@pytest.mark.parametrize("level", ["enormous", "5"])
def test_a_level_that_is_none(level):
    at = "generationConfig.thinkingConfig.thinkingLevel"
    assert refused(generationConfig={"thinkingConfig": {"thinkingLevel": level}}).startswith(f"{at}: ")


def test_images_to_make():
    told = asked(
        responseModalities=["TEXT", "Image", "MODALITY_UNSPECIFIED"],
        imageConfig={"aspectRatio": "16:9", "imageSize": "2K"},
    )
    assert told.image == ImageOptions(("text", "image"), "16:9", "2K")
    assert asked().image == ImageOptions()
    assert refused(generationConfig={"responseModalities": ["TEXT", "AUDIO"]}).startswith(
        "generationConfig.responseModalities[1]: "
    )


def test_safety_settings_are_kept_for_google_alone():
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
    assert read(safetySettings=settings).extras == {"gemini": {"safetySettings": settings}}
    assert read().extras == {}


def test_bytes_as_an_sdk_writes_them():
    data = base64.urlsafe_b64encode(bytes(range(256))).decode()
    (image,) = user({"inline_data": {"mime_type": "image/png", "data": data}})
    assert base64.b64decode(image.data, validate=True) == bytes(range(256))
