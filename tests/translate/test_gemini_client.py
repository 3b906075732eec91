"""The Gemini codec for clients as a whole: the contract, and what the official SDK makes of it."""

import json

import google.genai as genai
import pytest
from aiohttp import web
from google.genai.errors import ClientError, ServerError
from google.genai.types import HttpOptions, Part
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError, ErrorCode
from broker.translate import gemini_client_signatures
from broker.translate.codecs import UPSTREAMS, Dialect
from broker.translate.exchange import Reply, Route, Target
from broker.translate.fold import fold
from broker.translate.gemini import Gemini
from broker.translate.gemini_client_answer import LISTED
from broker.translate.ir import Failed, Failure, FailureKind, TextDelta
from broker.translate.signatures import SignatureMemory
from broker.translate.sse import SseParser
from tests.contract.codec_contract import IDS, ClientCodecContract, events_of
from tests.contract.codec_contract import PIECES as PIECES_STRATEGY
from tests.contract.codec_contract import reading as contract_reading

PIECES = [("thinking", "hm"), ("text", "hel"), ("text", "lo"), ("call", '{"a": 1}'), ("call", "{}")]
MINIMAL = {"model": "m", "contents": [{"parts": [{"text": "x"}]}]}

# The SDK subclasses aiohttp's session, which aiohttp discourages: nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")


def chunks_of(data):
    return [json.loads(event.data) for event in SseParser().feed(data)]


def put_together(chunks):
    """Add the chunks up as clients do: texts that follow each other are one, what is not a list is what was said last."""
    whole = {}
    for chunk in chunks:
        whole |= {key: value for key, value in chunk.items() if key != "candidates"}
        for candidate in chunk["candidates"]:
            into = whole.setdefault("candidates", {}).setdefault(candidate["index"], {})
            parts = into.get("content", {}).get("parts", [])
            into |= candidate
            if parts or "content" in candidate:
                said = [*parts, *candidate.get("content", {}).get("parts", [])]
                into["content"] = {"parts": merged(said), "role": "model"}
    return whole | {"candidates": [whole["candidates"][index] for index in sorted(whole["candidates"])]}


def merged(parts):
    out = []
    for part in parts:
        last = out[-1] if out else {}
        own, thoughts = gemini_client_signatures.read(part.get("thoughtSignature"))
        closed = gemini_client_signatures.read(last.get("thoughtSignature"))[0]
        together = "text" in part and "text" in last and part.get("thought") == last.get("thought")
        if part == {"text": ""} and out:
            continue
        if together and not thoughts and closed is None and not (own and "thoughtSignature" in last):
            out[-1] = {**last, **part, "text": last["text"] + part["text"]}
        else:
            out.append(part)
    return out


class TestContract(ClientCodecContract):
    codec = Gemini()
    minimal = MINIMAL

    def reassembled(self, data):
        return put_together(chunks_of(data))


@given(pieces=PIECES_STRATEGY)
def test_an_array_holds_the_chunks_of_the_events(pieces):
    events = events_of(pieces)
    told = []
    for reply in (Reply(IDS, "asked"), listed(Reply(IDS, "asked"))):
        encoder = Gemini().stream_encoder(reply)
        told.append(b"".join(encoder.encode([event]) for event in events) + encoder.close())
    assert json.loads(told[1]) == chunks_of(told[0])


FIELDS = [
    "role", "parts", "text", "thought", "thoughtSignature", "inline_data", "mimeType", "data", "file_data", "fileUri", "functionCall", "name",
    "args", "function_response", "response", "mode", "functionDeclarations", "parameters", "thinkingConfig", "thinkingBudget", "responseSchema",
]  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "user", "model", "image/png", "AAAA", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)
PLACES = [
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generation_config",
    "safetySettings",
    "cachedContent",
]


@given(st.dictionaries(st.sampled_from(PLACES), ANY, max_size=3))
def test_any_json_in_any_place_is_understood_or_refused(fields):
    refusal = None
    try:
        Gemini().decode_request(json.dumps(MINIMAL | fields).encode())
    except BrokerError as error:
        refusal = error
    assert refusal is None or (refusal.code is ErrorCode.BAD_REQUEST and ": " in refusal.detail)


def listed(reply):
    return Reply(reply.ids, reply.model, reply.include_usage, reply.thinking, {LISTED: True})


def test_the_route_says_what_is_asked():
    body = json.dumps(MINIMAL).encode()
    told = Gemini().decode_request(body, Route("other", True))
    assert (told.model, told.stream) == ("other", True)


def test_an_array_is_whole_also_where_it_fails():
    encoder = Gemini().stream_encoder(listed(Reply(IDS, "asked")))
    failed = Failed(Failure(529, FailureKind.OVERLOADED, "too much"))
    out = encoder.encode([TextDelta("a"), failed]) + encoder.close()
    first, last = json.loads(out)
    assert first["candidates"][0]["content"]["parts"] == [{"text": "a"}]
    assert last["error"] == {"code": 529, "message": "too much", "status": "UNAVAILABLE"}
    alone = Gemini().stream_encoder(listed(Reply(IDS, "asked")))
    assert [list(each) for each in json.loads(alone.encode([failed]))] == [["error"]]


async def test_the_sdk_reads_whole_answers_and_streams_alike(aiohttp_server):
    events = events_of(PIECES)
    reply = Reply(IDS, "asked")
    encoder = Gemini().stream_encoder(reply)
    stream = encoder.encode(events) + encoder.close()
    whole = Gemini().encode_answer(fold(events), reply)

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith(":streamGenerateContent"):
            return web.Response(body=stream, content_type="text/event-stream")
        return web.Response(body=whole, content_type="application/json")

    client = sdk(await serving(aiohttp_server, answer))
    told = await client.models.generate_content(model="m", contents="x")
    parts = [chunk async for chunk in await client.models.generate_content_stream(model="m", contents="x")]
    assert told.text == "hello"
    assert [(call.id, call.name, call.args) for call in told.function_calls or []] == [
        ("call_contract_0", "f", {"a": 1}), ("call_contract_1", "f", {}),
    ]  # fmt: skip
    assert [call.args for chunk in parts for call in chunk.function_calls or []] == [{"a": 1}, {}]
    assert "".join(chunk.text or "" for chunk in parts) == "hello"
    assert told.usage_metadata.total_token_count == parts[-1].usage_metadata.total_token_count == 7
    assert told.usage_metadata.thoughts_token_count == 1
    assert (told.model_version, told.response_id) == ("asked", "r-1")
    await client.aclose()


async def test_a_chat_of_the_sdk_keeps_every_chunk_and_sends_them_back(aiohttp_server):
    bodies = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        encoder = Gemini().stream_encoder(Reply(IDS, "asked"))
        body = encoder.encode(events_of([("text", "hel"), ("text", "lo")])) + encoder.close()
        return web.Response(body=body, content_type="text/event-stream")

    client = sdk(await serving(aiohttp_server, answer))
    chat = client.chats.create(model="m")
    for text in ("one", "two"):
        async for _ in await chat.send_message_stream(text):
            pass
    told = Gemini().decode_request(bodies[1], Route("m"))
    assert [message.parts[0].text for message in told.messages] == ["one", "hello", "two"]
    assert len(chat.get_history(curated=True)) == len(chat.get_history())
    await client.aclose()


async def test_the_sdk_says_images_and_answers_so_that_they_are_understood(aiohttp_server):
    bodies = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(body=Gemini().encode_answer(fold([TextDelta("ok")]), Reply(IDS, "m")))

    client = sdk(await serving(aiohttp_server, answer))
    contents = [
        Part.from_bytes(data=bytes(range(256)), mime_type="image/png"),
        Part.from_function_response(name="f", response={"result": "r"}),
    ]
    await client.models.generate_content(model="m", contents=contents)
    image, result = Gemini().decode_request(bodies[0], Route("m")).messages[0].parts
    assert "-" not in image.data
    assert (result.name, result.content[0].text) == ("f", "r")
    await client.aclose()


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [(429, FailureKind.RATE_LIMITED, ClientError), (529, FailureKind.OVERLOADED, ServerError)],
)
async def test_the_sdk_raises_what_an_error_means(aiohttp_server, status, kind, error):
    failure = Failure(status, kind, "not now")

    async def refuse(request: web.Request) -> web.Response:
        if request.path.endswith(":streamGenerateContent"):
            encoder = Gemini().stream_encoder(Reply(IDS, "m"))
            body = encoder.encode([TextDelta("a"), Failed(failure)])
            return web.Response(body=body, content_type="text/event-stream")
        return web.Response(status=status, body=Gemini().encode_error(failure), content_type="application/json")

    client = sdk(await serving(aiohttp_server, refuse))
    with pytest.raises(error, match="not now"):
        await client.models.generate_content(model="m", contents="x")
    with pytest.raises(error, match="not now"):
        [chunk async for chunk in await client.models.generate_content_stream(model="m", contents="x")]
    await client.aclose()


async def serving(aiohttp_server, handler):
    app = web.Application()
    app.router.add_post("/{path:.*}", handler)
    return await aiohttp_server(app)


def sdk(server):
    return genai.Client(api_key="fake", http_options=HttpOptions(base_url=str(server.make_url("/")))).aio


SIGNED = {
    Dialect.CLAUDE: {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "Eq+/"},
            {"type": "redacted_thinking", "data": "Er+/"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
        ],
    },
    Dialect.RESPONSES: {
        "object": "response",
        "status": "completed",
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA+/"},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
        ],
    },
}


@pytest.mark.parametrize(("dialect", "proofs"), [(Dialect.CLAUDE, [b"Eq+/", b"Er+/"]), (Dialect.RESPONSES, [b"gA+/"])])
@pytest.mark.parametrize("keeps_thoughts", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
def test_what_a_vendor_signed_comes_back_to_it_and_to_no_other(dialect, proofs, keeps_thoughts, streamed):
    codec, ours = UPSTREAMS[dialect], Gemini()
    asked = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"thinkingConfig": {"thinkingBudget": 2048}}}
    events = codec.decode_answer(json.dumps(SIGNED[dialect]).encode(), contract_reading())
    if streamed:
        encoder = ours.stream_encoder(Reply(IDS, "m"))
        told = put_together(chunks_of(encoder.encode(events) + encoder.close()))
    else:
        told = json.loads(ours.encode_answer(fold(events), Reply(IDS, "m")))
    parts = [part for part in told["candidates"][0]["content"]["parts"] if keeps_thoughts or not part.get("thought")]
    result = {"functionResponse": {"name": "f", "response": {"output": "r"}}}
    asked["contents"] += [{"role": "model", "parts": parts}, {"role": "user", "parts": [result]}]
    request = ours.decode_request(json.dumps(asked).encode(), Route("m"))
    for upstream, other in UPSTREAMS.items():
        target = Target("claude-opus-4-5", SignatureMemory(), project="p")  # a worker that was started anew
        sent = other.encode_request(request, target).body
        assert [proof in sent for proof in proofs] == [upstream is dialect] * len(proofs), upstream


def test_parallel_calls_without_ids_are_answered_in_order():
    call = {"functionCall": {"name": "f", "args": {}}}
    other = {"functionCall": {"name": "g", "args": {}}}
    said = [{"functionResponse": {"name": name, "response": {"output": text}}} for name, text in ("gx", "f1", "f2")]
    contents = [
        {"parts": [{"text": "x"}]},
        {"role": "model", "parts": [call, other, call]},
        {"role": "user", "parts": said},
    ]
    request = Gemini().decode_request(json.dumps({"contents": contents}).encode(), Route("m"))
    sent = json.loads(UPSTREAMS[Dialect.CLAUDE].encode_request(request, Target("m", SignatureMemory())).body)
    calls, answers = sent["messages"][1]["content"], sent["messages"][2]["content"]
    assert [block["name"] for block in calls] == ["f", "g", "f"]
    assert [block["tool_use_id"] for block in answers] == [block["id"] for block in calls]
    assert [block["content"][0]["text"] for block in answers] == ["1", "x", "2"]
