"""The OpenAI chat completions codec as a whole: the contract, and what the official SDK makes of it."""

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.exchange import Reply, Route, Target
from broker.translate.fold import fold
from broker.translate.ir import Request
from broker.translate.openai_chat import OpenAIChat
from broker.translate.signatures import SignatureMemory
from broker.translate.sse import SseParser
from tests.contract.codec_contract import IDS, ClientCodecContract, events_of

PIECES = [("thinking", "hm"), ("text", "hi"), ("image", "AAAA"), ("call", '{"a": 1}')]


def put_together(data):
    """Join chunks as clients do: text and arguments are appended, lists merged by index."""
    *chunks, done = [event.data for event in SseParser().feed(data)]
    assert done == b"[DONE]"
    whole = {}
    choices = {}
    for chunk in map(json.loads, chunks):
        whole |= {"id": chunk["id"], "object": "chat.completion", "created": chunk["created"], "model": chunk["model"]}
        whole["usage"] = chunk["usage"]
        for choice in chunk["choices"]:
            blank = {"index": choice["index"], "message": {}, "logprobs": None}
            into = choices.setdefault(choice["index"], blank)
            join(into["message"], choice["delta"])
            into["finish_reason"] = choice["finish_reason"]
            into["native_finish_reason"] = choice.get("native_finish_reason")
    return whole | {"choices": [choices[index] for index in sorted(choices)]}


def join(message, delta):
    for key, value in delta.items():
        if key == "tool_calls":
            for call in value:
                calls = message.setdefault("tool_calls", [])
                if "id" in call:
                    assert call.pop("index") == len(calls)
                    calls.append(call)
                else:
                    calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
        elif key == "images":
            message.setdefault("images", []).extend(value)
        elif isinstance(value, str) and isinstance(message.get(key), str):
            message[key] += value
        elif value is not None or key not in message:
            message[key] = value


class TestContract(ClientCodecContract):
    codec = OpenAIChat()
    minimal = {"model": "m", "messages": [{"role": "user", "content": "x"}]}  # noqa: RUF012

    def reassembled(self, data):
        return put_together(data)


def test_a_route_adds_nothing():
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
    assert OpenAIChat().decode_request(body, Route("other", stream=True)) == OpenAIChat().decode_request(body)


def test_the_official_sdk_understands_a_whole_answer():
    body = OpenAIChat().encode_answer(fold(events_of(PIECES)), Reply(IDS, "asked"))
    answer = ChatCompletion.model_validate_json(body)
    message = answer.choices[0].message
    assert (message.content, message.tool_calls[0].function.arguments) == ("hi", '{"a": 1}')
    assert message.model_extra["images"][0]["image_url"]["url"] == "data:image/png;base64,AAAA"
    assert (answer.choices[0].finish_reason, answer.usage.total_tokens) == ("tool_calls", 7)


def test_the_official_sdk_understands_every_chunk():
    encoder = OpenAIChat().stream_encoder(Reply(IDS, "asked", include_usage=True))
    *chunks, _ = SseParser().feed(encoder.encode(events_of(PIECES)) + encoder.close())
    parsed = [ChatCompletionChunk.model_validate_json(chunk.data) for chunk in chunks]
    assert [chunk.choices[0].finish_reason for chunk in parsed if chunk.choices][-1] == "tool_calls"
    assert (parsed[-1].choices, parsed[-1].usage.total_tokens) == ([], 7)


def test_nothing_is_counted():
    with pytest.raises(BrokerError) as caught:
        OpenAIChat().encode_count(Request("m", (), "m"), Target("m", SignatureMemory()))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert OpenAIChat().decode_count(b'{"totalTokens":1}') is None
