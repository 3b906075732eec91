"""The Anthropic messages codec as a whole: the contract, and what the official SDK makes of it."""

import json

import anthropic
import pytest
from aiohttp import web

from broker.translate.claude import Claude
from broker.translate.exchange import Reply, Route
from broker.translate.fold import fold
from broker.translate.ir import Failure, FailureKind
from broker.translate.sse import SseParser
from tests.contract.codec_contract import IDS, ClientCodecContract, events_of

PIECES = [("thinking", "hm"), ("text", "hi"), ("call", '{"a": 1}'), ("call", "{}")]
MINIMAL = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}


def put_together(data):
    """Apply the events as clients do: blocks by their index, each opened once and closed once."""
    message, open_blocks, arguments = {}, set(), {}
    for event in SseParser().feed(data):
        body = json.loads(event.data)
        assert event.name == body["type"]
        match body["type"]:
            case "message_start":
                assert not message
                message = body["message"]
            case "content_block_start":
                assert body["index"] == len(message["content"])
                message["content"].append(body["content_block"])
                open_blocks.add(body["index"])
            case "content_block_delta":
                assert body["index"] in open_blocks
                apply(message["content"][body["index"]], body["delta"], arguments, body["index"])
            case "content_block_stop":
                open_blocks.remove(body["index"])
            case "message_delta":
                message |= body["delta"]
                message["usage"] |= body["usage"]
            case "message_stop":
                assert not open_blocks
    for index, text in arguments.items():
        message["content"][index]["input"] = json.loads(text)
    return message


def apply(block, delta, arguments, index):
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            arguments[index] = arguments.get(index, "") + delta["partial_json"]


class TestContract(ClientCodecContract):
    codec = Claude()
    minimal = MINIMAL

    def reassembled(self, data):
        return put_together(data)


def test_a_route_adds_nothing():
    body = json.dumps(MINIMAL).encode()
    assert Claude().decode_request(body, Route("other", True)) == Claude().decode_request(body)


async def test_the_sdk_reads_whole_answers_and_streams_alike(aiohttp_server):
    events = events_of(PIECES)
    reply = Reply(IDS, "asked")
    encoder = Claude().stream_encoder(reply)
    stream = encoder.encode(events) + encoder.close()
    whole = Claude().encode_answer(fold(events), reply)

    async def answer(request: web.Request) -> web.Response:
        streamed = (await request.json()).get("stream")
        kind = "text/event-stream" if streamed else "application/json"
        return web.Response(body=stream if streamed else whole, content_type=kind)

    async with sdk(await serving(aiohttp_server, answer)) as client:
        message = await client.messages.create(**MINIMAL)
        async with client.messages.stream(**MINIMAL) as streamed:
            final = await streamed.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.stop_reason == "tool_use"
    assert message.usage.input_tokens == 3
    for field in ("id", "content", "stop_reason", "usage", "model"):
        assert final.to_dict()[field] == message.to_dict()[field]


async def test_the_sdk_raises_what_an_error_means(aiohttp_server):
    body = Claude().encode_error(Failure(429, FailureKind.RATE_LIMITED, "not now"))

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=429, body=body, content_type="application/json")

    async with sdk(await serving(aiohttp_server, refuse)) as client:
        with pytest.raises(anthropic.RateLimitError, match="not now"):
            await client.messages.create(**MINIMAL)


async def serving(aiohttp_server, handler):
    app = web.Application()
    app.router.add_post("/v1/messages", handler)
    return await aiohttp_server(app)


def sdk(server):
    return anthropic.AsyncAnthropic(api_key="fake", base_url=str(server.make_url("/")), max_retries=0)
