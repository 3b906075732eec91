"""The Responses codec as a whole: the contract, and what the official SDK makes of it."""

import json

import openai
import pytest
from aiohttp import web

from broker.model.errors import BrokerError
from broker.translate.exchange import Reply, Route, Target
from broker.translate.fold import fold
from broker.translate.ir import Failure, FailureKind
from broker.translate.responses import Responses
from broker.translate.signatures import SignatureMemory
from broker.translate.sse import SseParser
from tests.contract.codec_contract import IDS, ClientCodecContract, events_of

PIECES = [("thinking", "hm"), ("text", "hi"), ("image", "AAAA"), ("call", '{"a": 1}'), ("call", "{}")]
MINIMAL = {"model": "m", "input": "x"}


def put_together(data):
    """Apply the events as clients do, checking that the deltas, the done events and the last event agree."""
    items, texts, last = {}, {}, None
    for number, event in enumerate(SseParser().feed(data)):
        last = json.loads(event.data)
        assert event.name == last["type"]
        assert last["sequence_number"] == number
        kind = last["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert last["output_index"] == len(items)
            items[last["output_index"]] = last["item"]
        elif kind == "output_item.done":
            assert items[last["output_index"]]["id"] == last["item"]["id"]
            items[last["output_index"]] = last["item"]
        elif kind.endswith(".delta"):
            assert items[last["output_index"]]["id"] == last["item_id"]
            key = (last["item_id"], kind.removesuffix(".delta"))
            texts[key] = texts.get(key, "") + last["delta"]
        elif kind.endswith(("_text.done", "arguments.done", "_input.done")):
            told = last.get("text", last.get("arguments", last.get("input")))
            assert texts.get((last["item_id"], kind.removesuffix(".done")), "") == told
    assert last is not None
    assert last["response"]["output"] == [items[index] for index in sorted(items)]
    return last["response"]


class TestContract(ClientCodecContract):
    codec = Responses()
    minimal = MINIMAL

    def reassembled(self, data):
        return put_together(data)


def test_tokens_cannot_be_counted():
    codec = Responses()
    with pytest.raises(BrokerError, match="counts tokens"):
        codec.encode_count(codec.decode_request(json.dumps(MINIMAL).encode()), Target("m", SignatureMemory()))
    assert codec.decode_count(b'{"input_tokens":1}') is None


def test_what_a_client_of_the_dialect_says_arrives_as_it_was():
    """Through both halves and back: an agent's conversation with reasoning, a call and its answer."""
    said = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c", "output": "sunny"},
    ]
    asked = {"model": "m", "instructions": "be kind", "input": said, "stream": True, "prompt_cache_key": "k"}
    request = Responses().decode_request(json.dumps(asked).encode())
    made = json.loads(Responses().encode_request(request, Target("m", SignatureMemory())).body)
    assert made == asked | {"store": False, "include": ["reasoning.encrypted_content"]}


def test_a_route_adds_nothing():
    body = json.dumps(MINIMAL).encode()
    assert Responses().decode_request(body, Route("other", True)).model == "m"


async def test_the_sdk_reads_whole_answers_and_streams_alike(aiohttp_server):
    events = events_of(PIECES)
    reply = Reply(IDS, "asked")
    encoder = Responses().stream_encoder(reply)
    stream = encoder.encode(events) + encoder.close()
    whole = Responses().encode_answer(fold(events), reply)

    async def answer(request: web.Request) -> web.Response:
        streamed = (await request.json()).get("stream")
        kind = "text/event-stream" if streamed else "application/json"
        return web.Response(body=stream if streamed else whole, content_type=kind)

    async with sdk(await serving(aiohttp_server, answer)) as client:
        response = await client.responses.create(**MINIMAL)
        async with client.responses.stream(**MINIMAL) as streamed:
            final = await streamed.get_final_response()
    assert [item.type for item in response.output] == [
        "reasoning", "message", "image_generation_call", "function_call", "function_call",
    ]  # fmt: skip
    assert (response.status, response.output_text, response.usage.total_tokens) == ("completed", "hi", 7)
    assert final.output_text == "hi"
    assert [item.to_dict()["id"] for item in final.output] == [item.to_dict()["id"] for item in response.output]


async def test_the_sdk_raises_what_an_error_means(aiohttp_server):
    body = Responses().encode_error(Failure(429, FailureKind.RATE_LIMITED, "not now"))

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=429, body=body, content_type="application/json")

    async with sdk(await serving(aiohttp_server, refuse)) as client:
        with pytest.raises(openai.RateLimitError, match="not now"):
            await client.responses.create(**MINIMAL)


async def serving(aiohttp_server, handler):
    app = web.Application()
    app.router.add_post("/responses", handler)
    return await aiohttp_server(app)


def sdk(server):
    return openai.AsyncOpenAI(api_key="fake", base_url=str(server.make_url("/")), max_retries=0)


@pytest.mark.parametrize("kind", ["compaction_trigger", "context_compaction"])
def test_a_request_for_compaction_says_what_to_do(kind: str) -> None:
    body = json.dumps({"model": "m", "input": [{"role": "user", "content": "hi"}, {"type": kind}]}).encode()
    with pytest.raises(BrokerError, match=r"input\[1\]\.type: only OpenAI can compact"):
        Responses().decode_request(body)
