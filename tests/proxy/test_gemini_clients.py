"""Gemini's clients through a worker to upstreams of other dialects: the forms of the API, and Google's own SDK."""

import contextlib
import json
from collections.abc import AsyncIterator

import google.genai as genai
import pytest
from google.genai.errors import APIError
from google.genai.types import Content, GenerateContentConfig, HttpOptions, Part, ThinkingConfig

from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import Peer, RawUpstream, Taken, answer, chunked
from tests.proxy.conftest import KEY, MakeProxy, Proxy, events

# The SDK subclasses aiohttp's session, which aiohttp discourages: nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

ASKED = {"contents": [{"role": "user", "parts": [{"text": "say hello"}]}]}
TOOLS = [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": {"type": "object"}}]}]


class FakeAnthropic:
    """Thinks, calls `weather` where it may, says what the tool said; takes its own thinking back and counts."""

    provider = "anthropic-compatible"

    async def __call__(self, peer: Peer, taken: Taken) -> None:
        body = json.loads(taken.body)
        if taken.line.startswith("POST /v1/messages/count_tokens"):
            await peer.send(answer(b'{"input_tokens":42}'))
        elif body["model"] == "busy":
            error = {"type": "error", "error": {"type": "rate_limit_error", "message": "too much at once"}}
            await peer.send(answer(json.dumps(error).encode(), "429 Too Many Requests", "retry-after: 7"))
        elif body.get("stream"):
            await peer.send(chunked(*self._pieces(body), headers=("Content-Type: text/event-stream",)))
        else:
            message = {"type": "message", "id": "msg_1", "content": self._blocks(body), "usage": {"input_tokens": 3}}
            await peer.send(answer(json.dumps({**message, "stop_reason": "end_turn"}).encode()))

    def _blocks(self, body: dict) -> list[dict]:  # type: ignore[type-arg]
        last = body["messages"][-1]["content"]
        told = next((block for block in last if block["type"] == "tool_result"), None)
        if told is not None:
            before = body["messages"][-2]["content"]
            proven = "thinking" not in body or before[0] == {"type": "thinking", "thinking": "hm", "signature": "Eq+/"}
            assert proven, before
            assert told["tool_use_id"] == next(block["id"] for block in before if block["type"] == "tool_use")
            return [{"type": "text", "text": f"it is {told['content'][0]['text']}"}]
        thought = [{"type": "thinking", "thinking": "hm", "signature": "Eq+/"}] if "thinking" in body else []
        if body.get("tools"):
            return [*thought, {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Ulm"}}]
        return [*thought, {"type": "text", "text": "hello"}]

    def _pieces(self, body: dict) -> list[bytes]:  # type: ignore[type-arg]
        told: list[dict] = [{"type": "message_start", "message": {"type": "message", "usage": {"input_tokens": 3}}}]  # type: ignore[type-arg]
        for index, block in enumerate(self._blocks(body)):
            deltas = _deltas(block)
            told += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            if block["type"] == "tool_use":
                told.append({"type": "content_block_start", "index": index, "content_block": block})
                told.append({"type": "content_block_stop", "index": index})
        if body["model"] == "failing":
            told.append({"type": "error", "error": {"type": "overloaded_error", "message": "too many people"}})
        told += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
        return [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in told]


def _deltas(block: dict) -> list[dict]:  # type: ignore[type-arg]
    if block["type"] == "thinking":
        return [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    if block["type"] == "text":
        return [{"type": "text_delta", "text": block["text"][:2]}, {"type": "text_delta", "text": block["text"][2:]}]
    return []


class FakeOpenAI:
    """The same in chat completions, which has no thinking to give back and counts nothing."""

    provider = "openai-compatible"

    async def __call__(self, peer: Peer, taken: Taken) -> None:
        body = json.loads(taken.body)
        if body["model"] == "busy":
            error = {"error": {"message": "too much at once", "type": "rate_limit_error"}}
            await peer.send(answer(json.dumps(error).encode(), "429 Too Many Requests", "retry-after: 7"))
            return
        message = self._message(body)
        whole = {"id": "c-1", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            await peer.send(answer(json.dumps({**whole, "choices": [choice]}).encode()))
            return
        text = message.get("content") or ""
        deltas = [{"content": text[:2]}, {"content": text[2:]}] if text else [message]
        chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        if body["model"] == "failing":
            chunks.append({"error": {"message": "too many people", "type": "server_error", "code": 503}})  # type: ignore[dict-item]
        chunks.append({**whole, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})  # type: ignore[dict-item]
        pieces = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
        await peer.send(chunked(*pieces, b"data: [DONE]\n\n", headers=("Content-Type: text/event-stream",)))

    def _message(self, body: dict) -> dict:  # type: ignore[type-arg]
        last = body["messages"][-1]
        if last["role"] == "tool":
            assert last["tool_call_id"] == body["messages"][-2]["tool_calls"][0]["id"]
            return {"content": f"it is {last['content']}"}
        if body.get("tools"):
            function = {"name": "weather", "arguments": '{"city": "Ulm"}'}
            return {
                "content": None,
                "tool_calls": [{"id": "call_1", "index": 0, "type": "function", "function": function}],
            }
        return {"content": "hello"}


BOTH = pytest.mark.parametrize("fake", [FakeAnthropic(), FakeOpenAI()], ids=["anthropic", "openai"])
Fake = FakeAnthropic | FakeOpenAI


@contextlib.asynccontextmanager
async def served(proxy: MakeProxy, fake: Fake) -> AsyncIterator[Proxy]:
    async with RawUpstream([fake]) as upstream:
        daemon = FakeDaemon()
        name = f"{fake.provider}/key"
        daemon.put(account(name, lease(name, facts={"base_url": upstream.url})))
        async with proxy(daemon) as running:
            yield running


def said(chunks: list[dict]) -> str:  # type: ignore[type-arg]
    parts = [part for chunk in chunks for each in chunk["candidates"] for part in each["content"]["parts"]]
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


@BOTH
async def test_all_forms_of_the_api(proxy: MakeProxy, fake: Fake) -> None:
    async with served(proxy, fake) as p:
        base = f"/v1beta/models/{fake.provider}/m"
        whole = await p.ask("POST", f"{base}:generateContent", ASKED)
        assert whole.status == 200, whole.body
        assert said([whole.json()]) == "hello"
        assert whole.json()["usageMetadata"]["promptTokenCount"] == 3
        assert whole.json()["modelVersion"] == f"{fake.provider}/m"
        as_events = await p.ask("POST", f"{base}:streamGenerateContent?alt=sse", ASKED)
        assert as_events.headers["content-type"] == "text/event-stream"
        chunks = [json.loads(data) for data in events(as_events.body)]
        assert said(chunks) == "hello"
        assert [each["candidates"][0].get("finishReason") for each in chunks] == [None, None, "STOP"]
        as_array = await p.ask("POST", f"{base}:streamGenerateContent", ASKED)
        assert as_array.headers["content-type"] == "application/json"
        assert [each["candidates"] for each in as_array.json()] == [each["candidates"] for each in chunks]


@BOTH
async def test_what_fails_is_told_in_google_s_words(proxy: MakeProxy, fake: Fake) -> None:
    async with served(proxy, fake) as p:
        base = f"/v1beta/models/{fake.provider}"
        refused = await p.ask("POST", f"{base}/m:generateContent", {"contents": [{"parts": [{"executableCode": {}}]}]})
        assert (refused.status, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        violation = refused.json()["error"]["details"][-1]["fieldViolations"][0]
        assert violation["field"] == "contents[0].parts[0].executableCode"
        busy = await p.ask("POST", f"{base}/busy:generateContent", ASKED)
        assert (busy.status, busy.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert int(busy.headers["retry-after"]) <= 7
        for query, read in (("?alt=sse", events), ("", lambda body: [json.dumps(each) for each in json.loads(body)])):
            cut = await p.ask("POST", f"{base}/failing:streamGenerateContent{query}", ASKED)
            *before, last = [json.loads(each) for each in read(cut.body)]
            assert said(before) == "hello"
            assert last["error"]["message"] == "too many people"


async def test_tokens_are_counted_where_the_upstream_can(proxy: MakeProxy) -> None:
    async with served(proxy, FakeAnthropic()) as p:
        counted = await p.ask("POST", "/v1beta/models/anthropic-compatible/m:countTokens", ASKED)
        assert counted.json() == {"totalTokens": 42}
        whole = {"generateContentRequest": {"model": "models/m", **ASKED}}
        assert (await p.ask("POST", "/v1/models/anthropic-compatible/m:countTokens", whole)).json() == counted.json()
    async with served(proxy, FakeOpenAI()) as p:
        refused = await p.ask("POST", "/v1beta/models/openai-compatible/m:countTokens", ASKED)
        assert (refused.status, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_a_client_that_leaves_thoughts_out_gives_their_proof_back(proxy: MakeProxy) -> None:
    """As the Gemini CLI does: of an answer it keeps what is no thought."""
    thinking = {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 8192}}
    asked = {"contents": list(ASKED["contents"]), "tools": TOOLS, "generationConfig": thinking}
    target = "/v1beta/models/anthropic-compatible/claude-sonnet-4-5:streamGenerateContent?alt=sse"
    async with served(proxy, FakeAnthropic()) as p:
        first = await p.ask("POST", target, asked)
        parts = [part for data in events(first.body) for part in json.loads(data)["candidates"][0]["content"]["parts"]]
        assert parts[0] == {"text": "hm", "thought": True}
        kept = [part for part in parts if not part.get("thought")]
        call = kept[-1]["functionCall"]
        result = {"functionResponse": {"id": call["id"], "name": call["name"], "response": {"output": "sunny"}}}
        turns = [{"role": "model", "parts": kept}, {"role": "user", "parts": [result]}]
        second = await p.ask("POST", target, {**asked, "contents": [*asked["contents"], *turns]})
        assert said([json.loads(data) for data in events(second.body)]) == "it is sunny"


@contextlib.asynccontextmanager
async def sdk(p: Proxy) -> AsyncIterator["genai.client.AsyncClient"]:
    client = genai.Client(api_key=KEY, http_options=HttpOptions(base_url=p.url)).aio
    try:
        yield client
    finally:
        await client.aclose()


@BOTH
async def test_the_sdk_asks_whole_and_streamed_and_is_told_what_fails(proxy: MakeProxy, fake: Fake) -> None:
    async with served(proxy, fake) as p, sdk(p) as client:
        models = client.models
        whole = await models.generate_content(model=f"{fake.provider}/m", contents="Say hello")
        assert whole.text == "hello"
        streamed = await models.generate_content_stream(model=f"{fake.provider}/m", contents="Say hello")
        assert "".join([chunk.text or "" async for chunk in streamed]) == "hello"
        chat = client.chats.create(model=f"{fake.provider}/m")
        for _ in range(2):
            pieces = [chunk.text or "" async for chunk in await chat.send_message_stream("Say hello")]
            assert "".join(pieces) == "hello"
        with pytest.raises(APIError, match="too much at once") as caught:
            await models.generate_content(model=f"{fake.provider}/busy", contents="x")
        assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
        with pytest.raises(APIError, match="too many people"):
            async for _ in await models.generate_content_stream(model=f"{fake.provider}/failing", contents="x"):
                pass


@BOTH
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_sdk_calls_a_tool_and_says_what_came_of_it(proxy: MakeProxy, fake: Fake, streamed: bool) -> None:
    thinking = ThinkingConfig(include_thoughts=True, thinking_budget=8192)
    config = GenerateContentConfig(tools=TOOLS, thinking_config=thinking)
    model = f"{fake.provider}/claude-sonnet-4-5"
    async with served(proxy, fake) as p, sdk(p) as client:
        contents = [Content(role="user", parts=[Part(text="What is the weather in Ulm?")])]
        if streamed:
            stream = await client.models.generate_content_stream(model=model, contents=contents, config=config)
            answers = [chunk async for chunk in stream]
        else:
            answers = [await client.models.generate_content(model=model, contents=contents, config=config)]
        (call,) = [call for each in answers for call in each.function_calls or []]
        assert (call.name, call.args) == ("weather", {"city": "Ulm"})
        contents += [each.candidates[0].content for each in answers]  # type: ignore[index, misc]
        contents.append(
            Content(role="user", parts=[Part.from_function_response(name="weather", response={"result": "sunny"})])
        )
        done = await client.models.generate_content(model=model, contents=contents, config=config)
        assert done.text == "it is sunny"
