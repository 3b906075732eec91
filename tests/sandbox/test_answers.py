"""Answers are functions of the request, and the same streamed and whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.sandbox.answers import Plan, chunks, plan, read_directive, sample, whole
from broker.sandbox.gemini_request import call_signature, read_generate
from broker.sandbox.rpc import RpcError

FLASH, THREE, IMAGE = "gemini-2.5-flash", "gemini-3-pro-preview", "gemini-3-pro-image-preview"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
TOOLS = [{"functionDeclarations": [{"name": "weather", "parameters": SCHEMA}, {"name": "clock"}]}]


def made(
    prompt: str, model: str = FLASH, *, more: dict | None = None, parts: list | None = None, **config: object
) -> Plan:
    contents = [{"role": "user", "parts": [{"text": prompt}, *(parts or [])]}]
    return plan(read_generate({"contents": contents, "generationConfig": config, **(more or {})}, model), model)


def parts_of(message: dict) -> list[dict]:
    return message["candidates"][0]["content"].get("parts", [])


def said(answer: Plan) -> str:
    return "".join(p.get("text", "") for p in parts_of(whole(answer, "r")) if not p.get("thought"))


def test_the_echo():
    message = whole(made("one two"), "r1")
    assert message == {
        "candidates": [
            {
                "content": {"parts": [{"text": "Echo: one two (2 words)"}], "role": "model"},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 5, "totalTokenCount": 7},
        "modelVersion": FLASH,
        "responseId": "r1",
    }
    seen = made("look", parts=[{"inlineData": {"mimeType": "image/png", "data": "aGk="}}])
    assert said(seen) == "Echo: look [image/png 2 bytes] (1 words)"
    assert seen.prompt_tokens == 1 + 258


PROMPTS = st.sampled_from(
    [
        "hello",
        "call weather",
        "call clock and call weather",
        "[[chunks=9]] x",
        "blocked",
        "unsafe image",
        "text only",
        "a b c",
    ]
) | st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), max_size=40)


@given(
    prompt=PROMPTS,
    model=st.sampled_from([FLASH, THREE, IMAGE]),
    thoughts=st.booleans(),
    tools=st.booleans(),
    candidates=st.integers(1, 3),
    limit=st.none() | st.integers(1, 6),
)
def test_a_folded_stream_equals_the_whole_answer(prompt, model, thoughts, tools, candidates, limit):
    answer = made(
        prompt,
        model,
        more={"tools": TOOLS} if tools else None,
        thinkingConfig={"includeThoughts": thoughts},
        candidateCount=candidates,
        maxOutputTokens=limit,
    )
    one, streamed = whole(answer, "r"), list(chunks(answer, "r"))
    assert one == whole(answer, "r")
    assert streamed[-1]["usageMetadata"] == one["usageMetadata"]
    assert {m["responseId"] for m in streamed} == {"r"}
    if answer.blocked:
        assert streamed == [one]
        return
    for index in range(candidates):
        folded: list[dict] = []
        for message in streamed:
            for part in message["candidates"][index]["content"].get("parts", []):
                same = folded and set(part) == set(folded[-1]) and "text" in part and "thoughtSignature" not in part
                if same:
                    folded[-1] = folded[-1] | {"text": folded[-1]["text"] + part["text"]}
                else:
                    folded.append(part)
        assert folded == one["candidates"][index]["content"].get("parts", [])
    finishes = [m["candidates"][0].get("finishReason") for m in streamed]
    assert finishes[:-1] == [None] * (len(streamed) - 1)
    assert finishes[-1] == one["candidates"][0]["finishReason"]
    totals = [m["usageMetadata"]["totalTokenCount"] for m in streamed]
    assert totals == sorted(totals)
    usage = one["usageMetadata"]
    assert usage["totalTokenCount"] == sum(v for k, v in usage.items() if k != "totalTokenCount")


def test_numbered_chunks():
    answer = made("[[chunks=3 delay=0.5 size=12]] hi there")
    assert answer.delay == 0.5
    texts = [parts_of(m)[0]["text"] for m in chunks(answer, "r")]
    assert texts == ["....1:Echo: ", ".......2:hi ", "....3:there "]
    assert len(made("[[size=100]] hi").steps) == 1


@pytest.mark.parametrize(
    "directive",
    [
        "chunks=x",
        "chunks=0",
        "chunks=-1",
        "surplus=1",
        "chunks",
        "delay=61",
        "delay=-1",
        "size=-1",
        "images=9",
        "images=-1",
        "image_bytes=-1",
        "image_bytes=999999999",
        "chunks=999999 size=999999",
    ],
)
def test_directives_that_make_no_sense(directive):
    with pytest.raises(RpcError, check=lambda e: e.code == 400):
        read_directive(f"[[{directive}]] hi")


def test_directives_are_taken_out_of_the_prompt():
    assert read_directive("a [[finish=SAFETY]] b")[0] == "a  b"
    assert read_directive(" plain ")[0] == "plain"
    assert made("[[finish=SAFETY]] hi").finish == "SAFETY"


def test_limits():
    short = made("one two three four", maxOutputTokens=3)
    assert (said(short), short.finish) == ("Echo: one two", "MAX_TOKENS")
    exact = made("one", maxOutputTokens=4)
    assert (said(exact), exact.finish) == ("Echo: one (1 words)", "STOP")
    stopped = made("one two three four", stopSequences=["none", "three", "four", ""])
    assert (said(stopped), stopped.finish) == ("Echo: one two ", "STOP")
    at_once = made("x", stopSequences=["Echo"])
    assert said(at_once) == ""
    assert [m["candidates"][0]["finishReason"] for m in chunks(at_once, "r")] == ["STOP"]


def test_thoughts_come_first_and_are_marked():
    parts = parts_of(whole(made("hi", THREE, thinkingConfig={"includeThoughts": True}), "r"))
    assert [p.get("thought", False) for p in parts] == [True, False, False]
    assert parts[-1]["text"] == ""
    assert parts[-1]["thoughtSignature"]
    usage = whole(made("hi", thinkingConfig={"includeThoughts": True}), "r")["usageMetadata"]
    assert usage["thoughtsTokenCount"] == 3


def test_calls():
    parts = parts_of(whole(made("please call weather and call clock.", more={"tools": TOOLS}), "r"))
    assert [p["functionCall"] for p in parts] == [
        {"name": "weather", "args": {"city": "example"}},
        {"name": "clock", "args": {}},
    ]
    assert parts[0]["thoughtSignature"] == call_signature("weather", {"city": "example"})
    assert "thoughtSignature" not in parts[1]
    spelled = parts_of(whole(made('call weather {"city": "Rome", "days": 2} now', more={"tools": TOOLS}), "r"))
    assert spelled[0]["functionCall"]["args"] == {"city": "Rome", "days": 2}
    for rest in ("[1]", "{broken"):
        args = parts_of(whole(made(f"call weather {rest}", more={"tools": TOOLS}), "r"))[0]["functionCall"]["args"]
        assert args == {"city": "example"}


@pytest.mark.parametrize(
    ("prompt", "mode", "allowed", "names"),
    [
        ("call clock", "NONE", [], []),
        ("call nothing", "AUTO", [], []),
        ("hello", "ANY", [], ["weather"]),
        ("hello", "ANY", ["clock"], ["clock"]),
        ("call weather", "ANY", ["clock"], ["clock"]),
        ("call clock", "AUTO", [], ["clock"]),
    ],
)
def test_who_decides_about_calls(prompt, mode, allowed, names):
    choice = {"functionCallingConfig": {"mode": mode, "allowedFunctionNames": allowed}}
    parts = parts_of(whole(made(prompt, more={"tools": TOOLS, "toolConfig": choice}), "r"))
    assert [p["functionCall"]["name"] for p in parts if "functionCall" in p] == names


def test_results_are_quoted():
    call = {"functionCall": {"name": "clock", "args": {}}}
    contents = [
        {"role": "user", "parts": [{"text": "call clock"}]},
        {"role": "model", "parts": [call, call]},
        {"role": "user", "parts": [{"functionResponse": {"name": "clock", "response": {"t": n}}} for n in (1, 2)]},
    ]
    answer = plan(read_generate({"contents": contents, "tools": TOOLS}, FLASH), FLASH)
    assert said(answer) == 'Result of clock: {"t":1} Result of clock: {"t":2}'


def test_images_beside_results_are_seen():
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    contents = [
        {"role": "user", "parts": [{"text": "call clock"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "clock", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "clock", "response": {}}}, picture]},
    ]
    answer = plan(read_generate({"contents": contents, "tools": TOOLS}, FLASH), FLASH)
    assert said(answer) == "Result of clock: {} [image/png 3 bytes]"


def test_images():
    config = {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": "16:9", "imageSize": "1K"}}
    text, image = parts_of(whole(made("a cat", IMAGE, **config), "r"))
    assert text == {"text": "Here is: a cat"}
    assert image["inlineData"]["mimeType"] == "image/png"
    assert image["inlineData"]["data"].startswith(b"\x89PNG")
    assert image["thoughtSignature"]
    alone = parts_of(whole(made("a cat", "gemini-2.5-flash-image", responseModalities=["IMAGE"]), "r"))
    assert [set(p) for p in alone] == [{"inlineData"}]
    assert [set(p) for p in parts_of(whole(made("a cat", "gemini-2.5-flash-image"), "r"))] == [{"text"}, {"inlineData"}]
    three = parts_of(whole(made("[[images=3 image_bytes=5000]] cats", IMAGE, responseModalities=["IMAGE"]), "r"))
    assert [len(p["inlineData"]["data"]) for p in three] == [5000] * 3
    assert len({p["inlineData"]["data"] for p in three}) == 3
    assert whole(made("a cat", IMAGE), "r")["usageMetadata"]["candidatesTokenCount"] == 4 + 1290


def test_images_that_do_not_come():
    assert parts_of(whole(made("text only", IMAGE), "r")) == [{"text": "Echo: text only (2 words)"}]
    assert said(made("hi", IMAGE, responseModalities=["TEXT"])) == "Echo: hi (1 words)"
    unsafe = whole(made("unsafe image", IMAGE), "r")
    assert unsafe["candidates"][0]["finishReason"] == "IMAGE_SAFETY"
    assert parts_of(unsafe) == []
    drafts = parts_of(whole(made("a cat", IMAGE, thinkingConfig={"includeThoughts": True}), "r"))
    assert [("inlineData" in p, p.get("thought", False)) for p in drafts] == [
        (False, True),
        (True, True),
        (False, False),
        (True, False),
    ]


def test_blocked_prompts():
    message = whole(made("this is blocked, sorry"), "r")
    assert message["promptFeedback"] == {"blockReason": "SAFETY"}
    assert "candidates" not in message
    assert made("unblocked").blocked is None


def test_json_answers():
    plain = made("hi you", responseMimeType="application/json")
    assert json.loads(said(plain)) == {"echo": "hi you", "words": 2}
    for field in ("responseSchema", "responseJsonSchema", "_responseJsonSchema"):
        fitted = made("hi", responseMimeType="application/json", **{field: SCHEMA})
        assert json.loads(said(fitted)) == {"city": "hi"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "example"),
        ({"enum": ["b", "a"]}, "b"),
        ({"enum": [], "type": "string"}, "example"),
        ({"type": "INTEGER"}, 1),
        ({"type": ["number", "null"]}, 1.5),
        ({"type": []}, "example"),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": "array"}, []),
        ({"type": "array", "items": {"type": "string"}}, ["example"]),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a", "c"]}, {"a": 1, "c": "example"}),
        ({"type": "object"}, {}),
    ],
)
def test_samples_fit_their_schema(schema, value):
    assert sample(schema) == value
