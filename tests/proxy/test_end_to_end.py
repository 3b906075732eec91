"""Clients' requests through a worker to the sandbox's real Gemini and Code Assist APIs."""

import asyncio
import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.ipc.schema import Lease
from broker.model.secret import Secret
from broker.sandbox.faults import Cut, ErrorEvent, ErrorStatus, RateLimit, Slow, Target
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings
from broker.system import SystemClock
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.proxy.conftest import MakeProxy, events

USER = "alice@example.com"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
LOGIN = f"gemini/{USER}"
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "count these words"}]}]}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(SandboxSettings(onboarded=True)) as running:
        yield running


def token(sandbox: Sandbox) -> Secret:
    return sandbox.grants.issue(sandbox.client_id, USER, SCOPES, SystemClock().now()).access_token


def login_lease(sandbox: Sandbox, generation: int = 1, secret: Secret | None = None) -> Lease:
    project = sandbox.world.companions.own_project(USER)
    made = lease(LOGIN, generation=generation, facts={"project_id": project})
    return msgspec.structs.replace(made, access_token=secret or token(sandbox))


def with_login(sandbox: Sandbox, secret: Secret | None = None) -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(account(LOGIN, login_lease(sandbox, secret=secret), default=True))
    return daemon


def with_key(sandbox: Sandbox) -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(
        account("gemini-api/key", msgspec.structs.replace(lease("gemini-api/key"), access_token=sandbox.api_key))
    )
    return daemon


BOTH = pytest.mark.parametrize("daemon_of", [with_login, with_key], ids=["code-assist", "gemini-api"])


@BOTH
async def test_a_chat_whole_and_streamed_says_the_same(proxy: MakeProxy, sandbox: Sandbox, daemon_of) -> None:  # type: ignore[no-untyped-def]
    async with proxy(daemon_of(sandbox), sandbox.url) as p:
        whole = await p.chat("Tell me something")
        assert whole.status == 200
        message = whole.json()["choices"][0]["message"]
        assert message["content"]
        assert whole.json()["usage"]["total_tokens"] > 0
        streamed = await p.chat("Tell me something", stream=True, stream_options={"include_usage": True})
        assert streamed.headers["content-type"] == "text/event-stream"
        datas = events(streamed.body)
        assert datas[-1] == "[DONE]"
        chunks = [json.loads(data) for data in datas[:-1]]
        text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
        assert text == message["content"]
        assert chunks[-1]["usage"]["total_tokens"] == whole.json()["usage"]["total_tokens"]


@BOTH
async def test_an_image(proxy: MakeProxy, sandbox: Sandbox, daemon_of) -> None:  # type: ignore[no-untyped-def]
    async with proxy(daemon_of(sandbox), sandbox.url) as p:
        options = {"modalities": ["image", "text"], "image_config": {"aspect_ratio": "16:9", "image_size": "1K"}}
        got = await p.chat("a cute cat", model="gemini-3-pro-image-preview", **options)
        url = got.json()["choices"][0]["message"]["images"][0]["image_url"]["url"]
        assert url.startswith("data:image/png;base64,")
        seen = [{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": url}}]
        back = await p.ask(
            "POST",
            "/v1/chat/completions",
            {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": seen}]},
        )
        assert back.status == 200


@BOTH
async def test_a_gemini_client_in_all_its_forms(proxy: MakeProxy, sandbox: Sandbox, daemon_of) -> None:  # type: ignore[no-untyped-def]
    async with proxy(daemon_of(sandbox), sandbox.url) as p:
        for version in ("v1", "v1beta"):
            base = f"/{version}/models/gemini-2.5-flash"
            whole = await p.ask("POST", f"{base}:generateContent", CONTENTS)
            assert whole.status == 200
            text = whole.json()["candidates"][0]["content"]["parts"][0]["text"]
            as_events = await p.ask("POST", f"{base}:streamGenerateContent?alt=sse", CONTENTS)
            parts = [json.loads(data)["candidates"][0] for data in events(as_events.body.replace(b"\r\n", b"\n"))]
            assert _text(parts) == text
            as_array = await p.ask("POST", f"{base}:streamGenerateContent", CONTENTS)
            assert as_array.headers["content-type"].startswith("application/json")
            assert _text([each["candidates"][0] for each in as_array.json()]) == text
            counted = await p.ask("POST", f"{base}:countTokens", CONTENTS)
            assert counted.json()["totalTokens"] > 0


def _text(candidates: list[dict]) -> str:  # type: ignore[type-arg]
    return "".join(part["text"] for each in candidates for part in each.get("content", {}).get("parts", []))


async def test_an_expired_token_is_renewed_behind_the_client_s_back(proxy: MakeProxy, sandbox: Sandbox) -> None:
    daemon = with_login(sandbox, Secret("fake-access-unknown"))
    daemon.renew = lambda _name: login_lease(sandbox, 2)
    async with proxy(daemon, sandbox.url) as p:
        answers = await asyncio.gather(*(p.chat(f"question {number}") for number in range(20)))
        assert {each.status for each in answers} == {200}
        assert {report.generation for report in daemon.reports} == {1}
        reported = len(daemon.reports)
        assert (await p.chat()).status == 200
        assert len(daemon.reports) == reported


@pytest.mark.parametrize("streamed", [True, False])
async def test_failures_before_the_first_byte_move_from_login_to_key(
    proxy: MakeProxy, sandbox: Sandbox, streamed: bool
) -> None:
    daemon = with_login(sandbox)
    daemon.put(*with_key(sandbox).accounts.values())
    async with proxy(daemon, sandbox.url) as p:
        sandbox.faults.add(Target.GENERATE, RateLimit(30.0))
        assert (await p.chat(stream=streamed)).status == 200
        await asyncio.sleep(0.02)
        assert [(report.outcome, report.account) for report in daemon.reports] == [("limited", LOGIN)]
        sandbox.faults.add(Target.GENERATE, ErrorStatus(503))
        assert (await p.chat(model="gemini-2.5-pro", stream=streamed)).status == 200


async def test_quota_is_told_with_the_time_to_wait(proxy: MakeProxy, sandbox: Sandbox) -> None:
    async with proxy(with_login(sandbox), sandbox.url) as p:
        sandbox.faults.add(Target.GENERATE, RateLimit(90.0), None)
        for _ in range(2):
            got = await p.chat()
            assert got.status == 429
            assert 85 <= int(got.headers["retry-after"]) <= 90
        assert sandbox.stats.calls(status=429) == 1, "a limited account is not asked again"


async def test_a_client_that_leaves_is_seen_by_the_upstream(proxy: MakeProxy, sandbox: Sandbox) -> None:
    async with proxy(with_login(sandbox), sandbox.url) as p:
        sandbox.faults.add(Target.GENERATE, Slow(0.2))
        body = json.dumps(
            {
                "model": "gemini-2.5-flash",
                "stream": True,
                "messages": [{"role": "user", "content": "tell me a long story"}],
            }
        )
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/chat/completions", body.encode()))
        await reader.readuntil(b"data: ")
        writer.transport.abort()
        async with asyncio.timeout(2):
            while not sandbox.stats.streams_abandoned:
                await asyncio.sleep(0.01)
        assert not p.daemon.reports


@BOTH
async def test_streams_that_fail_half_way_say_so(proxy: MakeProxy, sandbox: Sandbox, daemon_of) -> None:  # type: ignore[no-untyped-def]
    async with proxy(daemon_of(sandbox), sandbox.url) as p:
        for fault in (Cut(), ErrorEvent(1, 503)):
            sandbox.faults.add(Target.GENERATE, fault)
            got = await p.chat("Tell me a long story", stream=True)
            assert got.status == 200
            assert "error" in json.loads(events(got.body)[-1])


async def test_upstream_connections_are_reused_with_real_peers(proxy: MakeProxy, sandbox: Sandbox) -> None:
    async with proxy(with_login(sandbox), sandbox.url) as p:
        for number in range(20):
            await p.chat(f"question {number}", stream=bool(number % 2))
        assert p.worker.pool.opened == 1


ASKED = {"model": "gemini-2.5-flash", "max_tokens": 500, "messages": [{"role": "user", "content": "Tell me something"}]}


@BOTH
async def test_an_anthropic_client_whole_and_streamed_and_counted(  # type: ignore[no-untyped-def]
    proxy: MakeProxy, sandbox: Sandbox, daemon_of
) -> None:
    async with proxy(daemon_of(sandbox), sandbox.url) as p:
        whole = (await p.ask("POST", "/v1/messages?beta=true", ASKED)).json()
        assert (whole["type"], whole["stop_reason"], whole["model"]) == ("message", "end_turn", "gemini-2.5-flash")
        assert whole["usage"]["output_tokens"] > 0
        streamed = await p.ask("POST", "/v1/messages", {**ASKED, "stream": True})
        told = [json.loads(data) for data in events(streamed.body)]
        assert [told[0]["type"], told[-1]["type"]] == ["message_start", "message_stop"]
        text = "".join(each["delta"]["text"] for each in told if each["type"] == "content_block_delta")
        assert text == whole["content"][0]["text"]
        counted = await p.ask("POST", "/v1/messages/count_tokens", {key: ASKED[key] for key in ("model", "messages")})
        assert counted.json()["input_tokens"] > 0
        refused = await p.ask("POST", "/v1/messages", {**ASKED, "max_tokens": 0})
        assert (refused.status, refused.json()["error"]["type"]) == (400, "invalid_request_error")


@BOTH
async def test_an_anthropic_client_calls_a_tool_and_says_what_came_of_it(  # type: ignore[no-untyped-def]
    proxy: MakeProxy, sandbox: Sandbox, daemon_of
) -> None:
    tool = {"name": "weather", "description": "the weather", "input_schema": {"type": "object", "properties": {}}}
    async with proxy(daemon_of(sandbox), sandbox.url) as p:
        asked = {**ASKED, "messages": [{"role": "user", "content": "call weather"}], "tools": [tool]}
        first = (await p.ask("POST", "/v1/messages", asked)).json()
        assert first["stop_reason"] == "tool_use"
        call = next(block for block in first["content"] if block["type"] == "tool_use")
        assert call["name"] == "weather"
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}
        turns = [
            *asked["messages"],
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": [result]},
        ]
        second = await p.ask("POST", "/v1/messages", {**asked, "messages": turns})
        assert second.status == 200, second.body
        assert second.json()["content"]


@BOTH
async def test_a_responses_client_whole_and_streamed(proxy: MakeProxy, sandbox: Sandbox, daemon_of) -> None:  # type: ignore[no-untyped-def]
    asked = {"model": "gemini-2.5-flash", "input": "Tell me something", "instructions": "be kind", "store": False}
    async with proxy(daemon_of(sandbox), sandbox.url) as p:
        whole = (await p.ask("POST", "/v1/responses", asked)).json()
        assert (whole["object"], whole["status"], whole["instructions"]) == ("response", "completed", "be kind")
        streamed = await p.ask("POST", "/v1/responses", {**asked, "stream": True})
        told = [json.loads(data) for data in events(streamed.body)]
        assert told[-1]["type"] == "response.completed"
        assert told[-1]["response"]["output"][0]["content"] == whole["output"][0]["content"]
        assert [each["sequence_number"] for each in told] == list(range(len(told)))
        refused = await p.ask("POST", "/v1/responses", {**asked, "previous_response_id": "resp_1"})
        assert (refused.status, refused.json()["error"]["param"]) == (400, "previous_response_id")
