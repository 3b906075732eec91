"""Clients of each dialect through a whole worker to what speaks OpenAI Responses: a ChatGPT login, an xAI login, a key of OpenAI."""

import json
import time
from typing import Any

import openai
import pytest

from broker.config import UpstreamConfig
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.openai_api import ENCRYPTED, OpenAIApi
from tests.proxy.conftest import KEY, MakeProxy, Proxy, events

MODELS = {"codex": "gpt-5-codex", "xai": "grok-4", "openai-api": "openai-api/gpt-5"}
KINDS = {"codex": "codex", "xai": "xai", "openai-api": "openai"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
SCHEMAS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}},
    "/v1/messages": {"name": "weather", "input_schema": PARAMETERS},
    "/v1/responses": {"type": "function", "name": "weather", "parameters": PARAMETERS},
}
CALL = {"city": "Zürich"}


def with_login(provider: str = "codex", **facts: str) -> FakeDaemon:
    daemon = FakeDaemon()
    name = f"{provider}/a"
    told = {"account_id": "acc-1", **facts} if provider == "codex" else facts
    daemon.put(account(name, lease(name, facts=told), default=True))
    return daemon


def at(api: OpenAIApi, provider: str = "codex") -> dict[str, UpstreamConfig]:
    return {KINDS[provider]: UpstreamConfig(base_url=api.url)}


def asked(path: str, text: str = "hi there", provider: str = "codex", **fields: object) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    body: dict[str, Any] = {"model": MODELS[provider], **fields}
    if path == "/v1/responses":
        return body | {"input": messages}
    return body | {"messages": messages} | ({"max_tokens": 999} if path == "/v1/messages" else {})


def text_of(path: str, body: Any) -> str:
    """Return what a whole answer says."""
    match path:
        case "/v1/chat/completions":
            return str(body["choices"][0]["message"]["content"])
        case "/v1/messages":
            return "".join(block["text"] for block in body["content"] if block["type"] == "text")
        case _:
            parts = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
            return "".join(part["text"] for part in parts)


def streamed_text(path: str, body: bytes) -> str:
    """Return what a stream says, checking that it is complete."""
    told = events(body)
    if path == "/v1/chat/completions":
        assert told.pop() == "[DONE]"
    seen = [json.loads(data) for data in told]
    match path:
        case "/v1/chat/completions":
            assert [c["choices"][0]["finish_reason"] for c in seen if c["choices"]][-1] == "stop"
            return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in seen if chunk["choices"])
        case "/v1/messages":
            assert seen[-1]["type"] == "message_stop"
            return "".join(each["delta"].get("text", "") for each in seen if each["type"] == "content_block_delta")
        case _:
            assert seen[-1]["type"] == "response.completed"
            return "".join(each["delta"] for each in seen if each["type"] == "response.output_text.delta")


def call_of(path: str, body: Any) -> tuple[str, str, Any]:
    """Return id, name and arguments of the one call of a whole answer."""
    match path:
        case "/v1/chat/completions":
            assert body["choices"][0]["finish_reason"] == "tool_calls"
            (call,) = body["choices"][0]["message"]["tool_calls"]
            return call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])
        case "/v1/messages":
            assert body["stop_reason"] == "tool_use"
            (block,) = [block for block in body["content"] if block["type"] == "tool_use"]
            return block["id"], block["name"], block["input"]
        case _:
            (item,) = [item for item in body["output"] if item["type"] == "function_call"]
            return item["call_id"], item["name"], json.loads(item["arguments"])


def answered(path: str, request: dict[str, Any], body: Any, told: str) -> dict[str, Any]:
    """Return the request of the next turn: the answer given back, and what the tool said."""
    identifier, _, _ = call_of(path, body)
    match path:
        case "/v1/chat/completions":
            said = body["choices"][0]["message"]
            more = [said, {"role": "tool", "tool_call_id": identifier, "content": told}]
            return request | {"messages": request["messages"] + more}
        case "/v1/messages":
            result = {"type": "tool_result", "tool_use_id": identifier, "content": told}
            more = [{"role": "assistant", "content": body["content"]}, {"role": "user", "content": [result]}]
            return request | {"messages": request["messages"] + more}
        case _:
            more = [*body["output"], {"type": "function_call_output", "call_id": identifier, "output": told}]
            return request | {"input": request["input"] + more}


EVERY = pytest.mark.parametrize("path", list(SCHEMAS))
UPSTREAM = pytest.mark.parametrize("provider", list(MODELS))


@EVERY
@UPSTREAM
async def test_whole_and_streamed_say_the_same(proxy: MakeProxy, path: str, provider: str) -> None:
    async with OpenAIApi(chatgpt=provider == "codex") as api:
        async with proxy(with_login(provider), upstreams=at(api, provider)) as p:
            whole = await p.ask("POST", path, asked(path, provider=provider))
            assert (whole.status, text_of(path, whole.json())) == (200, "you said hi there"), whole.body
            assert whole.headers["content-type"].startswith("application/json")
            streamed = await p.ask("POST", path, asked(path, provider=provider, stream=True))
            assert streamed.headers["content-type"] == "text/event-stream"
            assert streamed_text(path, streamed.body) == "you said hi there"
    assert {each.headers["authorization"] for each in api.asked} == {"Bearer fake-access-1"}
    assert {each.body["model"] for each in api.asked} == {MODELS[provider].removeprefix("openai-api/")}
    if provider == "codex":
        assert {each.headers["chatgpt-account-id"] for each in api.asked} == {"acc-1"}


@EVERY
@UPSTREAM
async def test_a_tool_there_and_back(proxy: MakeProxy, path: str, provider: str) -> None:
    async with OpenAIApi(chatgpt=provider == "codex") as api:
        async with proxy(with_login(provider), upstreams=at(api, provider)) as p:
            request = asked(path, "please call", provider, tools=[SCHEMAS[path]])
            first = await p.ask("POST", path, request)
            assert call_of(path, first.json())[1:] == ("weather", CALL), first.body
            last = await p.ask("POST", path, answered(path, request, first.json(), "sunny-42"))
            assert text_of(path, last.json()) == "the tool said sunny-42", last.body


@EVERY
async def test_reasoning_goes_back_to_codex_with_its_call(proxy: MakeProxy, path: str) -> None:
    """Also for clients that have no place for it: it is remembered by the call."""
    async with OpenAIApi(chatgpt=True) as api, proxy(with_login(), upstreams=at(api)) as p:
        request = asked(path, "please call", tools=[SCHEMAS[path]])
        first = await p.ask("POST", path, request)
        await p.ask("POST", path, answered(path, request, first.json(), "sunny"))
    items = api.asked[-1].body["input"]
    kinds = [item.get("type", "message") for item in items]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output"]
    assert items[1]["encrypted_content"] == ENCRYPTED
    assert json.loads(items[2]["arguments"]) == CALL


@EVERY
async def test_thinking_is_shown(proxy: MakeProxy, path: str) -> None:
    wish: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"reasoning_effort": "high"},
        "/v1/messages": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        "/v1/responses": {"reasoning": {"effort": "high", "summary": "auto"}},
    }
    async with OpenAIApi(chatgpt=True) as api, proxy(with_login(), upstreams=at(api)) as p:
        told = await p.ask("POST", path, asked(path, "please call", tools=[SCHEMAS[path]], **wish[path]))
    assert '"hm"' in told.body.decode()
    assert api.asked[0].body["reasoning"]["summary"] == "auto"


USED_UP = {"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus"}}


@EVERY
async def test_errors_are_told_in_the_client_s_words(proxy: MakeProxy, path: str) -> None:
    refused = (400, {}, json.dumps({"detail": "Unsupported parameter: odd"}).encode())
    async with OpenAIApi(chatgpt=True, faults=[refused]) as api, proxy(with_login(), upstreams=at(api)) as p:
        told = await p.ask("POST", path, asked(path))
    assert told.status == 400
    assert told.json()["error"]["message"] == "Unsupported parameter: odd"


@EVERY
@pytest.mark.parametrize("in_seconds", [True, False])
async def test_a_used_up_plan_is_left_alone(proxy: MakeProxy, path: str, in_seconds: bool) -> None:
    """However the backend says until when."""
    until = {"resets_in_seconds": 600} if in_seconds else {"resets_at": int(time.time()) + 600}
    body = json.dumps({"error": USED_UP["error"] | until}).encode()
    daemon = with_login()
    async with OpenAIApi(chatgpt=True, faults=[(429, {}, body)]) as api, proxy(daemon, upstreams=at(api)) as p:
        told = await p.ask("POST", path, asked(path))
        again = await p.ask("POST", path, asked(path))
    assert (told.status, again.status) == (429, 429)
    assert len(api.asked) == 1
    assert 590 < int(again.headers["retry-after"]) <= 600


@EVERY
async def test_an_account_turned_away_in_its_stream_makes_room_for_the_next(proxy: MakeProxy, path: str) -> None:
    """The API says 200, begins its stream, and refuses in the next event."""
    daemon = with_login()
    failing = {"code": "rate_limit_exceeded", "message": "slow down"}
    async with OpenAIApi(chatgpt=True, failing=failing) as api, proxy(daemon, upstreams=at(api)) as p:
        told = await p.ask("POST", path, asked(path, stream=True))
    assert told.status == 429
    assert told.json()["error"]["message"].count("slow down")
    assert daemon.reports[-1].outcome == "limited"


@EVERY
async def test_the_next_account_serves_what_one_refused_in_its_stream(proxy: MakeProxy, path: str) -> None:
    daemon = with_login()
    daemon.put(account("codex/b", lease("codex/b", "fake-access-2", facts={"account_id": "acc-2"})))
    busy = {"type": "response.failed", "response": {"error": {"code": "server_is_overloaded", "message": "busy"}}}
    first = {"type": "response.created", "response": {"id": "r", "output": []}}
    stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (first, busy))
    fault = (200, {"content-type": "text/event-stream"}, stream)
    async with OpenAIApi(chatgpt=True, faults=[fault]) as api, proxy(daemon, upstreams=at(api)) as p:
        told = await p.ask("POST", path, asked(path, stream=True))
        assert (told.status, streamed_text(path, told.body)) == (200, "you said hi there")
    assert len({each.headers["chatgpt-account-id"] for each in api.asked}) == 2


async def test_a_fault_of_the_request_is_seen_as_it_came(proxy: MakeProxy) -> None:
    failing = {"code": "context_length_exceeded", "message": "too long"}
    async with OpenAIApi(chatgpt=True, failing=failing) as api, proxy(with_login(), upstreams=at(api)) as p:
        told = await p.ask("POST", "/v1/responses", asked("/v1/responses", stream=True))
    last = json.loads(events(told.body)[-1])
    assert (told.status, last["type"], last["response"]["error"]["code"]) == (200, "response.failed", failing["code"])


async def test_a_whole_answer_that_failed_in_its_stream(proxy: MakeProxy) -> None:
    failing = {"code": "server_error", "message": "broken"}
    async with OpenAIApi(chatgpt=True, failing=failing) as api, proxy(with_login(), upstreams=at(api)) as p:
        told = await p.ask("POST", "/v1/responses", asked("/v1/responses"))
    assert told.status == 502
    assert "broken" in told.json()["error"]["message"]


async def test_codex_passes_byte_for_byte(proxy: MakeProxy) -> None:
    raw = b'{ "input":[{"role" :"user","content":"hi"}],"store":false , "stream":true,"odd":1e0,"model":"gpt-5-codex" }'
    headers = {"user-agent": "codex_exec/0.169.0", "originator": "codex_exec", "session-id": "s-1"}
    async with OpenAIApi(chatgpt=True) as api, proxy(with_login(), upstreams=at(api)) as p:
        assert (await p.ask("POST", "/v1/responses", raw, **headers)).status == 200
        named = raw.replace(b'"gpt-5-codex"', b'"codex/gpt-5-codex"')
        assert (await p.ask("POST", "/v1/responses", named)).status == 200
    assert [each.raw for each in api.asked] == [raw, raw]
    assert api.asked[0].path == "/v1/responses"
    assert {name: api.asked[0].headers[name] for name in headers} == headers
    assert api.asked[1].headers["originator"] == "ccs-broker"


async def test_a_key_of_openai_s_gets_responses_untouched(proxy: MakeProxy) -> None:
    raw = b'{ "input":"hi","odd":1e0,"previous_response_id":null, "model":"gpt-5", "max_output_tokens":7 }'
    async with OpenAIApi() as api, proxy(with_login("openai-api"), upstreams=at(api, "openai-api")) as p:
        told = await p.ask("POST", "/v1/responses", raw)
    assert (told.status, api.asked[0].raw, api.asked[0].path) == (200, raw, "/v1/responses")


async def test_what_needs_a_memory_is_refused_for_codex(proxy: MakeProxy) -> None:
    async with OpenAIApi(chatgpt=True) as api, proxy(with_login(), upstreams=at(api)) as p:
        told = await p.ask("POST", "/v1/responses", asked("/v1/responses", previous_response_id="resp_1"))
    assert (told.status, told.json()["error"]["param"]) == (400, "previous_response_id")
    assert not api.asked


async def test_a_gemini_client_there_and_back(proxy: MakeProxy) -> None:
    base = "/v1beta/models/gpt-5-codex"
    declared = [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": PARAMETERS}]}]
    contents: list[Any] = [{"role": "user", "parts": [{"text": "please call"}]}]
    async with OpenAIApi(chatgpt=True) as api, proxy(with_login(), upstreams=at(api)) as p:
        hello = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 9}}
        streamed = await p.ask("POST", f"{base}:streamGenerateContent?alt=sse", hello)
        told = [json.loads(data)["candidates"][0] for data in events(streamed.body.replace(b"\r\n", b"\n"))]
        texts = [part.get("text", "") for each in told for part in each.get("content", {}).get("parts", [])]
        assert "".join(texts) == "you said hi"
        called = await p.ask("POST", f"{base}:generateContent", {"contents": contents, "tools": declared})
        said = called.json()["candidates"][0]["content"]
        (call,) = [part["functionCall"] for part in said["parts"] if "functionCall" in part]
        assert (call["name"], call["args"]) == ("weather", CALL)
        result = {"functionResponse": {"name": "weather", "response": {"result": "sunny-42"}}}
        contents += [said, {"role": "user", "parts": [result]}]
        done = await p.ask("POST", f"{base}:generateContent", {"contents": contents, "tools": declared})
        assert "sunny-42" in done.json()["candidates"][0]["content"]["parts"][-1]["text"]


def sdk(p: Proxy) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{p.url}/v1", api_key=KEY, max_retries=0)


@UPSTREAM
async def test_the_official_sdk(proxy: MakeProxy, provider: str) -> None:
    model = MODELS[provider]
    tool: Any = SCHEMAS["/v1/responses"]
    async with OpenAIApi(chatgpt=provider == "codex") as api:
        async with proxy(with_login(provider), upstreams=at(api, provider)) as p, sdk(p) as client:
            hello: Any = [{"role": "user", "content": "hi"}]
            whole = await client.responses.create(model=model, input="hi")
            assert (whole.status, whole.output_text) == ("completed", "you said hi")
            assert whole.usage is not None
            assert whole.usage.total_tokens == 12
            async with client.responses.stream(model=model, input=hello) as streamed:
                assert "".join([each.delta async for each in streamed if each.type == "response.output_text.delta"])
            asking: Any = [{"role": "user", "content": "please call"}]
            called = await client.responses.create(model=model, input=asking, tools=[tool])
            call = next(item for item in called.output if item.type == "function_call")
            said = [item.model_dump(exclude_none=True) for item in called.output]
            result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny-42"}
            done = await client.responses.create(model=model, input=[*asking, *said, result], tools=[tool])
            assert done.output_text == "the tool said sunny-42"
            chat = await client.chat.completions.create(model=model, messages=hello)
            assert chat.choices[0].message.content == "you said hi"
            assert chat.usage is not None
            assert chat.usage.total_tokens == 12
            chunks = await client.chat.completions.create(model=model, messages=hello, stream=True)
            text = [chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]
            assert "".join(text) == "you said hi"
            api.faults.append((400, {}, b'{"error":{"message":"no such thing","type":"invalid_request_error"}}'))
            with pytest.raises(openai.BadRequestError, match="no such thing"):
                await client.responses.create(model=model, input=hello)
