"""OpenAI chat completions, request side."""

import json
import re

import pytest

from broker.model.errors import BrokerError, ErrorCode
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
from broker.translate.openai_chat_request import decode

PNG = "data:image/png;base64,AAAA"


def body(*messages, **fields):
    return decode(json.dumps({"model": "m", "messages": list(messages) or [user("x")], **fields}).encode())


def user(content):
    return {"role": "user", "content": content}


def assistant(**fields):
    return body({"role": "assistant", **fields}).messages[0].parts


def said(*parts):
    return body(user(list(parts))).messages[0].parts


def refused(*messages, **fields):
    with pytest.raises(BrokerError) as caught:
        body(*messages, **fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    return caught.value.detail


# ------------------------------------------------------------------------------------------------ what is understood


def test_the_smallest_request():
    request = body(user("ping"))
    assert request.messages == (Message(Role.USER, (Text("ping"),)),)
    assert (request.model, request.asked_model, request.stream, request.include_usage) == ("m", "m", False, False)
    assert (request.tools, request.tool_choice, request.output, request.reasoning) == ((), None, None, None)
    assert (request.sampling, request.image, request.session, request.extras) == (Sampling(), ImageOptions(), None, {})


def test_instructions_stand_apart_wherever_they_are_said():
    request = body(
        {"role": "system", "content": "a"},
        user("x"),
        {"role": "developer", "content": [{"type": "text", "text": "b"}, "c"]},
    )
    assert request.system == (Text("a"), Text("b"), Text("c"))
    assert len(request.messages) == 1


def test_each_kind_of_part():
    assert said(
        {"type": "text", "text": "t"},
        "bare",
        {"type": "refusal", "refusal": "no"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
        {"type": "image_url", "image_url": PNG},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,BBBB"}},
        {"type": "input_audio", "input_audio": {"data": "CC", "format": "mp3"}},
        {"type": "input_audio", "input_audio": {"data": "CC", "format": "WAV"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,DD", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "DD", "filename": "A.PDF"}},
    ) == (
        Text("t"),
        Text("bare"),
        Text("no"),
        Image("image/png", "AAAA"),
        Image("image/png", "AAAA"),
        File("video/mp4", "BBBB"),
        Audio("audio/mpeg", "CC"),
        Audio("audio/wav", "CC"),
        File("application/pdf", "DD", "a.pdf"),
        File("application/pdf", "DD", "A.PDF"),
    )


def test_an_image_by_url_is_kept_with_its_place_for_the_upstream_to_judge():
    assert said({"type": "image_url", "image_url": {"url": "HTTPS://x.example/a.png"}}) == (
        ImageLink("HTTPS://x.example/a.png", "messages[0].content[0].image_url.url"),
    )


def test_what_an_assistant_said():
    assert assistant(content="hi", reasoning_content="hm", extra_content={"google": {"thought_signature": "s"}}) == (
        Thinking("hm"),
        Text("hi", "s"),
    )
    assert assistant(content=[{"type": "text", "text": "a"}, "b"]) == (Text("a"), Text("b"))
    assert assistant(content=[], extra_content={"thoughtSignature": "s"}) == (Text("", "s"),)
    assert assistant(refusal="no") == (Text("no"),)
    assert assistant() == (Text(""),)


def test_images_an_assistant_made_keep_their_signatures():
    images = [
        {"type": "image_url", "image_url": {"url": PNG}, "extra_content": {"google": {"thought_signature": "s"}}},
        {"type": "image_url", "image_url": PNG},
        {"type": "image_url", "image_url": {"url": "https://x.example"}},
    ]
    assert assistant(content=None, images=images, extra_content={"google": {"thought_signature": "t"}}) == (
        Text(""),
        Image("image/png", "AAAA", "s"),
        Image("image/png", "AAAA"),
        ImageLink("https://x.example", "messages[0].images[2].image_url.url"),
        Text("", "t"),
    )


@pytest.mark.parametrize("arguments", ['{"a":[1]}', {"a": [1]}])
def test_arguments_of_calls_are_understood(arguments):
    parts = assistant(tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}])
    assert parts[1] == ToolCall("c", "f", {"a": [1]})


@pytest.mark.parametrize("arguments", ["", "  ", "{}", None, {}])
def test_a_call_without_arguments(arguments):
    assert assistant(tool_calls=[{"function": {"name": "f", "arguments": arguments}}])[1] == ToolCall("", "f", {})


@pytest.mark.parametrize(
    ("call", "function"),
    [
        ({"extra_content": {"google": {"thought_signature": "s"}}}, {}),
        ({"extra_content": {"google": {"thoughtSignature": "s"}}}, {}),
        ({"extra_content": {"google": 5}, "thought_signature": "s"}, {}),
        ({"extra_content": "odd", "provider_specific_fields": {"thought_signature": "s"}}, {}),
        ({"thought_signature": ""}, {"thought_signature": "s"}),
    ],
)
def test_a_signature_is_found_where_clients_keep_it(call, function):
    parts = assistant(tool_calls=[{"id": "c", "function": {"name": "f", **function}, **call}])
    assert parts[1].signature == "s"


def test_what_tools_answered():
    request = body(
        {"role": "tool", "tool_call_id": "a", "content": "text"},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": PNG}],
        },
        {"role": "tool", "tool_call_id": "c", "name": "f", "content": {"rows": [1]}},
        {"role": "tool", "content": [1, 2]},
        {"role": "tool", "tool_call_id": "e"},
        {"role": "tool", "tool_call_id": "f", "content": []},
    )
    assert [message.parts[0] for message in request.messages] == [
        ToolResult("a", (Text("text"),)),
        ToolResult("b", (Text("x"), Image("image/png", "AAAA"))),
        ToolResult("c", (), "f", structured={"rows": [1]}),
        ToolResult("", structured=[1, 2]),
        ToolResult("e"),
        ToolResult("f"),
    ]


def test_tools():
    assert body(web_search_options={"user_location": {}}).tools == (NativeTool(NativeKind.WEB_SEARCH),)
    schema = {"type": "object", "properties": {"type": {"type": "string"}}}
    assert body(
        tools=[
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema, "strict": True}},
            {"type": "function", "function": {"name": "g"}},
            {"google_search": {"a": 1}},
            {"type": "code_execution"},
            {"type": "url_context", "url_context": None},
        ]
    ).tools == (
        FunctionTool("f", "d", schema, strict=True),
        FunctionTool("g"),
        NativeTool(NativeKind.WEB_SEARCH, {"a": 1}),
        NativeTool(NativeKind.CODE_EXECUTION),
        NativeTool(NativeKind.URL_CONTEXT),
    )


@pytest.mark.parametrize(
    ("wire", "choice"),
    [
        (None, None),
        ("auto", ToolChoice(ToolMode.AUTO)),
        ("none", ToolChoice(ToolMode.NONE)),
        ("required", ToolChoice(ToolMode.REQUIRED)),
        ("any", ToolChoice(ToolMode.REQUIRED)),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice(ToolMode.REQUIRED, ("f",))),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            ToolChoice(ToolMode.AUTO, ("f",)),
        ),
    ],
)
def test_tool_choice(wire, choice):
    assert body(tools=[{"type": "function", "function": {"name": "f"}}], tool_choice=wire).tool_choice == choice


def test_a_mark_for_caches_is_kept():
    mark = {"type": "ephemeral", "ttl": "1h"}
    part = {"type": "text", "text": "x", "cache_control": mark}
    assert assistant(content=[part], extra_content={"google": {"thought_signature": "s"}}) == (Text("x", "s", mark),)
    assert said(part, part | {"cache_control": {"type": "other"}}) == (Text("x", cache=mark), Text("x"))


def test_sampling():
    settings = {
        "temperature": 1,
        "top_p": 0.5,
        "top_k": 3,
        "max_tokens": 9,
        "seed": 4,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logprobs": True,
        "top_logprobs": 2,
        "n": 3,
    }
    expected = Sampling(1.0, 0.5, 3, 9, ("a", "b"), 4, 0.5, -0.5, True, 2, 3)
    assert body(**settings, stop=["a", "b"], max_completion_tokens=5).sampling == expected
    assert body(stop="a", max_completion_tokens=5).sampling == Sampling(stop=("a",), max_tokens=5)
    assert body(n=None, stop=None, max_tokens=None).sampling == Sampling()


@pytest.mark.parametrize(
    ("form", "output"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonOutput()),
        ({"type": "json_schema"}, JsonOutput()),
        ({"type": "json_schema", "json_schema": {"name": "s"}}, JsonOutput(name="s")),
        (
            {"type": "json_schema", "json_schema": {"name": "s", "schema": {"minLength": 1}, "strict": True}},
            JsonOutput({"minLength": 1}, "s", strict=True),
        ),
    ],
)
def test_structured_output(form, output):
    assert body(response_format=form).output == output


def test_effort_and_that_the_suffix_beats_the_body():
    assert body(reasoning_effort="xhigh").reasoning == Reasoning(effort=Effort.XHIGH)
    request = body(model="gemini-2.5-pro(8192)", reasoning_effort="low")
    assert (request.reasoning, request.model, request.asked_model) == (
        Reasoning(budget=8192),
        "gemini-2.5-pro",
        "gemini-2.5-pro(8192)",
    )


def test_image_options_drop_what_is_unknown_or_no_text():
    options = body(modalities=["IMAGE", "audio", "text"], image_config={"aspect_ratio": "16:9", "image_size": 4}).image
    assert options == ImageOptions(("image", "text"), "16:9", None)


def test_streaming_and_usage():
    request = body(stream=True, stream_options={"include_usage": True})
    assert (request.stream, request.include_usage) == (True, True)
    assert body(stream=True, stream_options=None).include_usage is False


def test_what_ties_calls_together():
    assert body(user="u", session_id="s", prompt_cache_key="").session == "s"
    assert body(user=5).session is None


def test_settings_of_gemini_passed_along():
    request = body(generationConfig={"topK": 1}, safetySettings=[{"category": "x"}])
    assert request.extras == {"gemini": {"generationConfig": {"topK": 1}, "safetySettings": [{"category": "x"}]}}


def test_unknown_fields_are_skipped():
    assert body(user({"x": 1}) | {"content": "a", "cache_control": {}}, metadata={"a": "b"}, store=True).messages[
        0
    ].parts == (Text("a"),)


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"", "body: not valid JSON: "),
        (b"{", "body: not valid JSON: "),
        (b'"x"', "body: expected object, got str"),
        (b"{}", "model: is required"),
        (b'{"model":"m"}', "messages: is required"),
        (b'{"model":"m","messages":{}}', "messages: expected array, got object"),
        (b'{"model":"m","messages":[]}', "messages: must hold at least one message"),
        (b'{"model":" ","messages":[{"role":"user","content":"x"}]}', "model: must not be empty"),
        (b'{"model":"m","messages":[{"content":"x"}]}', "messages[0].role: is required"),
        (b'{"model":"m","messages":["x"]}', "messages[0]: expected object, got str"),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', "body: not valid JSON: "),
    ],
)
def test_a_broken_body(raw, detail):
    with pytest.raises(BrokerError) as caught:
        decode(raw)
    assert caught.value.detail.startswith(detail)


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ({"role": "function", "content": "x"}, "messages[0].role: unknown role"),
        ({"role": "user"}, "messages[0].content: is required"),
        ({"role": "user", "content": 5}, "messages[0].content: expected "),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": PNG}]},
            "messages[0].content[0].type: a system message",
        ),
        (
            {"role": "assistant", "content": [{"type": "input_audio"}]},
            "messages[0].content[0].type: an assistant message",
        ),
        (
            {"role": "assistant", "tool_calls": [{"type": "custom", "function": {"name": "f"}}]},
            "messages[0].tool_calls[0].type: only",
        ),
        ({"role": "assistant", "function_call": {"name": "f"}}, "messages[0].function_call: this deprecated field"),
        ({"role": "assistant", "audio": {"id": "a"}}, "messages[0].audio: earlier audio"),
        ({"role": "assistant", "tool_calls": [{}]}, "messages[0].tool_calls[0].function: is required"),
        (
            {"role": "assistant", "images": [{"image_url": "x"}]},
            "messages[0].images[0].image_url: expected a data: URL",
        ),
    ],
)
def test_a_broken_message(message, detail):
    assert refused(message).startswith(detail)


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", "5", '"x"', "{a:1}"])
def test_broken_arguments(arguments):
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    detail = refused(user("x"), {"role": "assistant", "tool_calls": [call, call]})
    assert detail.startswith("messages[1].tool_calls[0].function.arguments: ")


@pytest.mark.parametrize(
    ("part", "detail"),
    [
        ({"type": "image_url", "image_url": {"url": 5}}, "[1].image_url.url: expected str, got int"),
        ({"type": "image_url", "image_url": {}}, "[1].image_url.url: is required"),
        ({"type": "image_url", "image_url": {"url": "ftp://x"}}, "[1].image_url.url: expected a data: URL"),
        ({"type": "image_url", "image_url": "x"}, "[1].image_url: expected a data: URL"),
        ({"type": "image_url"}, "[1].image_url: is required"),
        ({"type": "text"}, "[1].text: is required"),
        ({"type": "video_url", "video_url": {"url": "https://x"}}, "[1].video_url.url: expected a data: URL"),
        (
            {"type": "input_audio", "input_audio": {"data": "x", "format": "a/b"}},
            "[1].input_audio.format: unknown format",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "x", "format": "é"}},
            "[1].input_audio.format: unknown format",
        ),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "[1].input_audio.data: holds no data"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "[1].file.file_id: uploaded files"),
        ({"type": "file", "file": {}}, "[1].file.file_data: is required"),
        ({"type": "file", "file": {"file_data": "AAAA"}}, "[1].file.file_data: expected a data: URL, or"),
        ({"type": "file", "file": {"file_data": "data:x"}}, "[1].file.file_data: expected a data: URL"),
        ({"type": "hologram"}, "[1].type: unknown type"),
        ({}, "[1].type: is required"),
        (5, "[1]: expected "),
    ],
)
def test_a_broken_part(part, detail):
    assert refused(user([{"type": "text", "text": "a"}, part])).startswith("messages[0].content" + detail)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"temperature": "hot"}, "temperature: expected float | null, got str"),
        ({"stream": "yes"}, "stream: expected bool | null, got str"),
        ({"max_tokens": 1.5}, "max_tokens: expected int | null"),
        ({"n": 0}, "n: must be at least 1"),
        ({"stop": [1]}, "stop[0]: expected str, got int"),
        ({"functions": []}, "functions: this deprecated field"),
        ({"function_call": "auto"}, "function_call: this deprecated field"),
        ({"reasoning_effort": "frantic"}, "reasoning_effort: unknown effort; expected none, auto, minimal"),
        ({"response_format": {"type": "xml"}}, "response_format.type: invalid enum value 'xml'"),
        ({"tools": [{}]}, "tools[0].type: unknown tool"),
        ({"tools": [{"type": "function"}]}, "tools[0].function: is required"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name: must not be empty"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters: expected",
        ),
        ({"tool_choice": "maybe"}, "tool_choice: unknown choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function: is required"),
        ({"tool_choice": {"type": "function", "function": {"name": "gone"}}}, "tool_choice.function.name: no tool"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools: is required"),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "gone"}}]},
                }
            },
            "tool_choice.allowed_tools.tools[0].function.name: no tool",
        ),
        ({"modalities": "image"}, "modalities: expected array | null, got str"),
        ({"image_config": "16:9"}, "image_config: expected object | null, got str"),
        ({"generationConfig": 5}, "generationConfig: expected object | null, got int"),
    ],
)
def test_a_broken_setting(fields, detail):
    assert refused(**fields).startswith(detail)


def test_no_value_is_ever_quoted_at_length():
    detail = refused(user([{"type": "image_url", "image_url": {"url": "secret" * 1000}}]))
    assert not re.search("secret", detail)
