"""Antigravity, Vertex, Kimi, Qwen and Copilot through a whole worker: every client, whole and streamed, tools, errors, a renewed token."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker.config import UpstreamConfig
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import RawUpstream, Taken, answer, chunked
from tests.proxy.conftest import MakeProxy, Proxy, events

NAME = "gemini-3-flash-preview"
CALL = {"name": "look", "args": {"at": "it"}}
TOOL = {"type": "object", "properties": {"at": {"type": "string"}}}


def _gemini(*parts: object) -> dict[str, object]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}}


def _openai(**message: object) -> dict[str, object]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"id": "c", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}


def _chunk(**message: object) -> dict[str, object]:
    return {"id": "c", "choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}


@dataclass(frozen=True)
class Vendor:
    """What an upstream looks like from outside. `text` and `call` are its answers, `streamed` what a stream's event holds."""

    provider: str
    target: str
    streamed_target: str
    text: dict[str, object]
    call: dict[str, object]
    event: dict[str, object]
    facts: dict[str, str] = field(default_factory=dict)

    def daemon(self) -> FakeDaemon:
        daemon, name = FakeDaemon(), f"{self.provider}/a"
        daemon.put(account(name, lease(name, facts=self.facts)))
        daemon.renew = lambda each: lease(each, "fake-access-2", 2, facts=self.facts)
        return daemon

    def upstreams(self, *urls: str) -> dict[str, UpstreamConfig]:
        return {self.provider: UpstreamConfig(base_url=urls)}


OPENAI_CALL = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at":"it"}'}}]
CHAT = "/chat/completions"
VERTEX = f"/v1/projects/p-1/locations/global/publishers/google/models/{NAME}:"
VENDORS = [
    Vendor(
        "antigravity",
        "/v1internal:generateContent",
        "/v1internal:streamGenerateContent?alt=sse",
        {"response": _gemini({"text": "yes"})},
        {"response": _gemini({"functionCall": CALL})},
        {"response": _gemini({"text": "yes"})},
        {"project_id": "p-1"},
    ),
    Vendor(
        "vertex",
        f"{VERTEX}generateContent",
        f"{VERTEX}streamGenerateContent?alt=sse",
        _gemini({"text": "yes"}),
        _gemini({"functionCall": CALL}),
        _gemini({"text": "yes"}),
        {"project_id": "p-1", "location": "global"},
    ),
    *(
        Vendor(
            provider,
            target,
            target,
            _openai(content="yes"),
            _openai(content=None, tool_calls=OPENAI_CALL),
            _chunk(content="yes"),
            facts,
        )
        for provider, target, facts in (
            ("kimi", f"/v1{CHAT}", {"device_id": "d-1"}),
            ("qwen", CHAT, {}),
            ("github-copilot", CHAT, {"host": "github.com"}),
        )
    ),
]
EACH = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.provider)


def good(body: object) -> bytes:
    return answer(json.dumps(body).encode(), "200 OK", "Content-Type: application/json")


def stream(*bodies: object) -> bytes:
    pieces = [b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies]
    return chunked(*pieces, headers=("Content-Type: text/event-stream",))


def failing(status: str, **error: object) -> bytes:
    return answer(json.dumps({"error": {"message": "no", **error}}).encode(), status)


async def chat(p: Proxy, vendor: Vendor, **fields: object) -> Any:
    return await p.chat(model=f"{vendor.provider}/{NAME}", **fields)


async def messages(p: Proxy, vendor: Vendor, **fields: object) -> Any:
    said = {"model": f"{vendor.provider}/{NAME}", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return await p.ask("POST", "/v1/messages", {**said, **fields})


async def responses(p: Proxy, vendor: Vendor, **fields: object) -> Any:
    return await p.ask("POST", "/v1/responses", {"model": f"{vendor.provider}/{NAME}", "input": "hi", **fields})


def sent(upstream: RawUpstream, at: int = 0) -> tuple[Taken, dict[str, Any]]:
    taken = upstream.requests[at]
    return taken, json.loads(taken.body)


@EACH
async def test_a_chat(proxy: MakeProxy, vendor: Vendor) -> None:
    async with RawUpstream([good(vendor.text)]) as up, proxy(vendor.daemon(), upstreams=vendor.upstreams(up.url)) as p:
        told = await chat(p, vendor)
        assert told.status == 200
        assert told.json()["choices"][0]["message"]["content"] == "yes"
        assert told.json()["usage"]["total_tokens"] == 7
        taken, _ = sent(up)
        assert taken.line == f"POST {vendor.target} HTTP/1.1"
        assert taken.header("authorization") == "Bearer fake-access-1"


@EACH
async def test_a_streamed_chat(proxy: MakeProxy, vendor: Vendor) -> None:
    tail = [] if vendor.provider in ("antigravity", "vertex") else [b"data: [DONE]\n\n"]
    pieces = [b"data: " + json.dumps(vendor.event).encode() + b"\n\n", *tail]
    script = [chunked(*pieces, headers=("Content-Type: text/event-stream",))]
    async with RawUpstream([*script]) as up, proxy(vendor.daemon(), upstreams=vendor.upstreams(up.url)) as p:
        told = await chat(p, vendor, stream=True)
        assert told.status == 200
        data = events(told.body)
        assert data[-1] == "[DONE]"
        chunks = [json.loads(each)["choices"] for each in data[:-1]]
        text = "".join(each[0]["delta"].get("content") or "" for each in chunks if each)
        assert text == "yes"
        assert sent(up)[0].line == f"POST {vendor.streamed_target} HTTP/1.1"


@EACH
async def test_a_call_of_a_tool_and_its_result(proxy: MakeProxy, vendor: Vendor) -> None:
    script = [good(vendor.call), good(vendor.text)]
    async with RawUpstream([*script]) as up, proxy(vendor.daemon(), upstreams=vendor.upstreams(up.url)) as p:
        tools = [{"type": "function", "function": {"name": "look", "parameters": TOOL}}]
        first = await chat(p, vendor, tools=tools)
        said = first.json()["choices"][0]["message"]
        call = said["tool_calls"][0]
        assert json.loads(call["function"]["arguments"]) == {"at": "it"}
        talk = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": said["tool_calls"]},
            {"role": "tool", "tool_call_id": call["id"], "content": "a cat"},
        ]
        second = await chat(p, vendor, tools=tools, messages=talk)
        assert second.json()["choices"][0]["message"]["content"] == "yes"
        assert b"a cat" in sent(up, 1)[0].body


@EACH
async def test_clients_of_every_other_dialect(proxy: MakeProxy, vendor: Vendor) -> None:
    async with RawUpstream([good(vendor.text)]) as up, proxy(vendor.daemon(), upstreams=vendor.upstreams(up.url)) as p:
        told = await responses(p, vendor)
        assert told.json()["output"][-1]["content"][0]["text"] == "yes"
        said = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        told = await p.ask("POST", f"/v1beta/models/{vendor.provider}/{NAME}:generateContent", said)
        assert told.json()["candidates"][0]["content"]["parts"][0]["text"] == "yes"
        if vendor.provider != "kimi":  # which speaks Anthropic's dialect itself
            told = await messages(p, vendor)
            assert told.json()["content"] == [{"type": "text", "text": "yes"}]


@pytest.mark.parametrize("vendor", VENDORS[:2], ids=lambda vendor: vendor.provider)
async def test_a_gemini_client_s_bytes(proxy: MakeProxy, vendor: Vendor) -> None:
    inner = b'{ "contents" : [ {"role":"user", "parts":[ {"text":"hi"} ]} ] }'
    path = f"/v1beta/models/{vendor.provider}/{NAME}"
    script = [good(vendor.text), stream(vendor.event), stream(vendor.event), good({"totalTokens": 5})]
    async with RawUpstream([*script]) as up, proxy(vendor.daemon(), upstreams=vendor.upstreams(up.url)) as p:
        whole = await p.ask("POST", f"{path}:generateContent", inner)
        assert whole.json() == _gemini({"text": "yes"})
        assert b'[ {"role":"user", "parts":[ {"text":"hi"} ]} ]' in up.requests[0].body
        streamed = await p.ask("POST", f"{path}:streamGenerateContent?alt=sse", inner)
        assert json.loads(events(streamed.body)[0]) == _gemini({"text": "yes"})
        if vendor.provider == "antigravity":
            listed = await p.ask("POST", f"{path}:streamGenerateContent", inner)
            assert listed.json() == [_gemini({"text": "yes"})]
        else:
            await p.ask("POST", f"{path}:streamGenerateContent", inner)
        counted = await p.ask("POST", f"{path}:countTokens", inner)
        assert counted.json() == {"totalTokens": 5}


@EACH
@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Internal Server Error"])
async def test_its_errors_reach_the_client(proxy: MakeProxy, vendor: Vendor, status: str) -> None:
    script = [failing(status)]
    async with RawUpstream([*script]) as up, proxy(vendor.daemon(), upstreams=vendor.upstreams(up.url)) as p:
        told = await chat(p, vendor)
        assert told.status == int(status[:3])
        assert "no" in told.json()["error"]["message"]


@EACH
async def test_a_limit_cools_the_account_down_for_the_model(proxy: MakeProxy, vendor: Vendor) -> None:
    limited = answer(b'{"error":{"message":"slow"}}', "429 Too Many Requests", "Retry-After: 30")
    daemon = vendor.daemon()
    async with RawUpstream([limited]) as up, proxy(daemon, upstreams=vendor.upstreams(up.url)) as p:
        assert (await chat(p, vendor)).status == 429
        assert (await chat(p, vendor)).status == 429
        assert len(up.requests) == 1
    assert [(report.outcome, report.model) for report in daemon.reports] == [("limited", NAME)]


@EACH
async def test_a_rejected_token_is_renewed_once(proxy: MakeProxy, vendor: Vendor) -> None:
    daemon = vendor.daemon()
    script = [failing("401 Unauthorized"), good(vendor.text)]
    async with RawUpstream([*script]) as up, proxy(daemon, upstreams=vendor.upstreams(up.url)) as p:
        assert (await chat(p, vendor)).status == 200
        tokens = [taken.header("authorization") for taken in up.requests]
        assert tokens == ["Bearer fake-access-1", "Bearer fake-access-2"]
    assert [report.outcome for report in daemon.reports] == ["rejected"]


@EACH
async def test_its_models_are_listed_while_there_is_an_account(proxy: MakeProxy, vendor: Vendor) -> None:
    async with proxy(vendor.daemon()) as p:
        assert (await p.ask("GET", "/v1/models")).json()["data"]


@EACH
async def test_the_config_s_headers_stand_in_the_place_of_ours(proxy: MakeProxy, vendor: Vendor) -> None:
    async with RawUpstream([good(vendor.text)]) as up:
        own = {vendor.provider: UpstreamConfig(base_url=up.url, headers={"User-Agent": "mine/1", "X-Extra": "2"})}
        async with proxy(vendor.daemon(), upstreams=own) as p:
            assert (await chat(p, vendor)).status == 200
            taken, _ = sent(up)
            assert (taken.header("user-agent"), taken.header("x-extra")) == ("mine/1", "2")
            assert taken.head.lower().count(b"user-agent:") == 1


# --- what is each one's own ---

ANTIGRAVITY, VERTEX_AI, KIMI, QWEN, COPILOT = VENDORS


async def test_antigravity_s_envelope(proxy: MakeProxy) -> None:
    async with RawUpstream([good(ANTIGRAVITY.text)]) as up:
        async with proxy(ANTIGRAVITY.daemon(), upstreams=ANTIGRAVITY.upstreams(up.url), safety_off=True) as p:
            assert (await chat(p, ANTIGRAVITY)).status == 200
            tools = [{"type": "function", "function": {"name": "look", "parameters": TOOL}}]
            told = await p.chat(model="antigravity/claude-sonnet-4-5", max_tokens=50, tools=tools)
            assert told.status == 200
        taken, body = sent(up)
        assert taken.header("user-agent") == "antigravity/hub/2.9.1 darwin/arm64"
        assert (body["project"], body["model"], body["userAgent"]) == ("p-1", NAME, "antigravity")
        assert "safetySettings" not in body["request"]
        _, claude = sent(up, 1)
        assert claude["request"]["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
        assert claude["request"]["generationConfig"]["maxOutputTokens"] == 50
        assert claude["requestId"] != body["requestId"]
        assert claude["request"]["sessionId"] == body["request"]["sessionId"]


@pytest.mark.parametrize("status", ["404 Not Found", "429 Too Many Requests", "503 Service Unavailable"])
async def test_antigravity_s_second_host_serves_what_the_first_does_not(proxy: MakeProxy, status: str) -> None:
    daemon = ANTIGRAVITY.daemon()
    async with RawUpstream([failing(status)]) as a, RawUpstream([good(ANTIGRAVITY.text)]) as b:
        async with proxy(daemon, upstreams=ANTIGRAVITY.upstreams(a.url, b.url)) as p:
            assert (await chat(p, ANTIGRAVITY)).status == 200
    assert (len(a.requests), len(b.requests)) == (1, 1)
    assert not daemon.reports


async def test_anthropic_s_clients_reach_kimi_untouched(proxy: MakeProxy) -> None:
    raw = b'{ "model" : "kimi/kimi-k2.5", "odd" : 1e0, "messages": "whatever" }'
    async with RawUpstream([good({"type": "message", "odd": 1})]) as up:
        async with proxy(KIMI.daemon(), upstreams=KIMI.upstreams(up.url)) as p:
            told = await p.ask("POST", "/v1/messages", raw, anthropic_beta="x")
            assert told.json() == {"type": "message", "odd": 1}
    taken, _ = sent(up)
    assert taken.line == "POST /v1/messages HTTP/1.1"
    assert taken.body == raw.replace(b"kimi/kimi-k2.5", b"k2.5")
    assert (taken.header("anthropic-beta"), taken.header("x-msh-device-id")) == ("x", "d-1")
    assert taken.header("x-api-key") is None


async def test_openai_s_clients_reach_what_speaks_like_it_untouched(proxy: MakeProxy) -> None:
    raw = b'{ "model" : "qwen/m", "odd" : 1e0, "messages": "whatever" }'
    async with RawUpstream([good(QWEN.text)]) as up, proxy(QWEN.daemon(), upstreams=QWEN.upstreams(up.url)) as p:
        assert (await p.ask("POST", "/v1/chat/completions", raw)).json() == QWEN.text
        assert up.requests[0].body == raw.replace(b"qwen/m", b"m")
        assert up.requests[0].header("x-dashscope-authtype") == "qwen-oauth"


async def test_copilot_is_told_who_asks_and_of_images(proxy: MakeProxy) -> None:
    async with RawUpstream([good(COPILOT.text)]) as up:
        async with proxy(COPILOT.daemon(), upstreams=COPILOT.upstreams(up.url)) as p:
            await chat(p, COPILOT)
            image = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
            said = [
                {"role": "user", "content": [{"type": "image", "source": image}, {"type": "text", "text": "what?"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a cat"}]},
            ]
            await messages(p, COPILOT, messages=said)
    plain, _ = sent(up)
    assert (plain.header("x-initiator"), plain.header("copilot-vision-request")) == ("user", None)
    assert plain.header("copilot-integration-id") == "vscode-chat"
    seen, _ = sent(up, 1)
    assert (seen.header("x-initiator"), seen.header("copilot-vision-request")) == ("agent", "true")
    assert plain.header("x-request-id") != seen.header("x-request-id")


@pytest.mark.parametrize(
    ("vendor", "facts"),
    [
        (QWEN, {"base_url": "{url}/v1", "resource_url": "{url}"}),
        (COPILOT, {"api_url": "{url}"}),
        (COPILOT, {"host": "evil.example", "api_url": "{url}"}),
        (COPILOT, {"host": "evil.example"}),
        (ANTIGRAVITY, {"base_url": "{url}"}),
        (VERTEX_AI, {"location": "evil.example/"}),
    ],
)
async def test_a_tampered_file_gets_no_token(proxy: MakeProxy, vendor: Vendor, facts: dict[str, str]) -> None:
    async with RawUpstream([good(vendor.text)]) as thief:
        daemon, name = FakeDaemon(), f"{vendor.provider}/a"
        told = {**vendor.facts, **{key: value.format(url=thief.url) for key, value in facts.items()}}
        daemon.put(account(name, lease(name, facts=told)))
        async with proxy(daemon) as p:
            assert (await chat(p, vendor)).status == 503
        assert not thief.connections
