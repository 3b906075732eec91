"""Accounts are asked which models they have, and what they say is listed, found and routed; against APIs on loopback, by a real worker."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from broker.config import RoutingConfig, UpstreamConfig
from broker.model.told import ToldModel
from broker.proxy import discovery, models
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.proxy.conftest import MakeProxy, Proxy

ASKING = RoutingConfig()


@dataclass
class Lists:
    """An API that has a list of models, and answers chats and messages by repeating who it is and which model was asked for."""

    models: object = None
    status: int = 200
    hold: asyncio.Event | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    chats: list[str] = field(default_factory=list)
    dropping: int = 0
    """How many requests more are answered by closing the connection."""
    url: str = ""

    async def list(self, request: web.Request) -> web.StreamResponse:
        credential = request.headers.get("authorization") or request.headers.get("x-api-key", "")
        self.asked.append((request.path_qs, credential))
        if self.dropping:
            self.dropping -= 1
            assert request.transport is not None
            request.transport.close()
        if self.hold is not None:
            await self.hold.wait()
        body = self.models if isinstance(self.models, bytes) else json.dumps(self.models).encode()
        return web.Response(status=self.status, body=body, content_type="application/json")

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.chats.append((await request.json())["model"])
        message = {"role": "assistant", "content": "hello"}
        return web.json_response({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Lists], Any]]:
    runners: list[web.AppRunner] = []

    async def start(api: Lists) -> Lists:
        app = web.Application()
        app.router.add_get("/{tail:.*}", api.list)
        app.router.add_post("/v1internal:fetchAvailableModels", api.list)
        app.router.add_post("/{tail:.*}", api.chat)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return api

    yield start
    for runner in runners:
        await runner.cleanup()


def key(name: str, api: Lists, token: str = "fake-access-1", path: str = "/v1") -> Any:
    return account(name, lease(name, token, facts={"base_url": api.url + path}))


def names(*each: str) -> dict[str, object]:
    return {"object": "list", "data": [{"id": name, "owned_by": "us"} for name in each]}


async def listed(proxy: Proxy, query: str = "") -> list[str]:
    answer = await proxy.ask("GET", f"/v1/models{query}")
    assert answer.status == 200
    return [each["id"] for each in answer.json()["data"]]


async def test_the_models_of_keys_of_one_s_own_are_listed_and_routed_to_those_who_have_them(
    proxy: MakeProxy, serve: Any
) -> None:
    one, two = await serve(Lists(names("llama-4", "both"))), await serve(Lists(names("meta/phi", "both")))
    daemon = FakeDaemon()
    daemon.put(key("openai-compatible/one", one, "fake-access-1"), key("openai-compatible/two", two, "fake-access-2"))
    async with proxy(daemon, routing=ASKING) as p:
        own = ["openai-compatible/both", "openai-compatible/llama-4", "openai-compatible/meta/phi"]
        assert await listed(p) == own
        assert await listed(p) == own
        assert one.asked == [("/v1/models", "Bearer fake-access-1")], "asked once, with the account's own key"
        assert two.asked == [("/v1/models", "Bearer fake-access-2")]
        for model in ("openai-compatible/llama-4", "llama-4"):
            for _ in range(2):
                assert (await p.chat(model=model)).status == 200
        assert (one.chats, two.chats) == (["llama-4"] * 4, [])
        assert (await p.chat(model="meta/phi")).status == 200
        assert two.chats == ["meta/phi"]
        assert (await p.ask("GET", "/v1/models/openai-compatible/llama-4")).json()["owned_by"] == "us"
        assert (await p.chat(model="mystery")).status == 404
        assert len(one.asked) == 1


async def test_a_name_that_nobody_is_known_for_is_looked_for_first(proxy: MakeProxy, serve: Any) -> None:
    api = await serve(Lists(names("llama-4")))
    claude = await serve(Lists({"data": [{"id": "claude-opus-4-5", "display_name": "Opus"}]}))
    daemon = FakeDaemon()
    daemon.put(key("openai-compatible/one", api), key("anthropic-compatible/two", claude, path=""))
    async with proxy(daemon, routing=ASKING) as p:
        assert (await p.chat(model="llama-4")).status == 200
        assert claude.asked == [("/v1/models?limit=1000", "fake-access-1")]
        message = {"model": "claude-opus-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        assert (await p.ask("POST", "/v1/messages", message)).status == 200, (
            "no login of Claude's, but a key that has it"
        )
        assert claude.chats == ["claude-opus-4-5"]
        assert await listed(p) == ["anthropic-compatible/claude-opus-4-5", "openai-compatible/llama-4"]


async def test_vendors_are_asked_too_and_the_table_stands_whatever_they_say(
    proxy: MakeProxy, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [Lists({"error": "no"}, status=500), Lists(b"<html>"), Lists(names("x"), status=302)]
    daemon = FakeDaemon()
    for number, api in enumerate(bad):
        daemon.put(key(f"openai-compatible/{number}", await serve(api)))
    gone = Lists(url="http://127.0.0.1:9")
    daemon.put(key("openai-compatible/gone", gone), account("kimi/x", lease("kimi/x")))
    async with proxy(daemon, routing=ASKING) as p:
        with caplog.at_level(logging.WARNING):
            assert await listed(p) == ["kimi-for-coding", "kimi-k2.5"]
        told = [record for record in caplog.records if record.message == "list of models not had"]
        assert len(told) == 4
        assert not any("fake-access" in str(record.__dict__) for record in told)
        assert await listed(p) == ["kimi-for-coding", "kimi-k2.5"]
        assert [len(api.asked) for api in bad] == [1, 1, 1], "left alone for a while"


async def test_a_list_too_deep_to_read_is_told_and_not_asked_for_at_each_request(
    proxy: MakeProxy, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    api = await serve(Lists(b'{"data":[],"x":' + b"[" * 100_000))
    daemon = FakeDaemon()
    daemon.put(key("openai-compatible/deep", api))
    async with proxy(daemon, routing=ASKING) as p:
        with caplog.at_level(logging.WARNING):
            assert await listed(p) == []
            assert await listed(p) == []
    assert len(api.asked) == 1
    assert [record.message for record in caplog.records] == ["list of models not had"]


async def test_what_fails_after_the_asking_is_answered_too(
    proxy: MakeProxy, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await serve(Lists(names("llama-4")))
    daemon = FakeDaemon()
    daemon.put(key("openai-compatible/one", api))
    async with proxy(daemon, routing=ASKING) as p:

        def fail(*_: object) -> None:
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(models, "listed", fail)
        answer = await p.ask("GET", "/v1/models")
        assert answer.status == 500
        assert "a fault of the proxy" in answer.body.decode()
        assert len(api.asked) == 1, "it failed after that"


async def test_a_list_that_does_not_come_keeps_nobody_waiting(
    proxy: MakeProxy, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PATIENCE_SECONDS", 0.05)
    slow = await serve(Lists(names("late"), hold=asyncio.Event()))
    daemon = FakeDaemon()
    daemon.put(key("openai-compatible/slow", slow))
    async with proxy(daemon, routing=ASKING) as p:
        assert await listed(p) == []
        assert await listed(p) == []
        assert len(slow.asked) == 1, "one question at a time"
        assert slow.hold is not None
        slow.hold.set()
        async with asyncio.timeout(10):
            while not await listed(p):
                await asyncio.sleep(0.02)
        assert await listed(p) == ["openai-compatible/late"]


async def test_a_client_that_leaves_does_not_stop_the_asking(proxy: MakeProxy, serve: Any) -> None:
    slow = await serve(Lists(names("late"), hold=asyncio.Event()))
    daemon = FakeDaemon()
    daemon.put(key("openai-compatible/slow", slow))
    async with proxy(daemon, routing=ASKING) as p:
        _, writer = await p.dial()
        writer.write(p.request("GET", "/v1/models"))
        async with asyncio.timeout(10):
            while not slow.asked:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            slow.hold.set()
            while not await listed(p):
                await asyncio.sleep(0.02)
        assert len(slow.asked) == 1


async def test_accounts_are_asked_anew_on_request_and_not_at_all_where_that_is_off(
    proxy: MakeProxy, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.proxy.learnt.FRESH_SECONDS", 0.0)
    api = await serve(Lists(names("a")))
    daemon = FakeDaemon()
    daemon.put(key("openai-compatible/x", api))
    async with proxy(daemon, routing=ASKING) as p:
        assert await listed(p) == ["openai-compatible/a"]
        api.models = names("b")
        assert await listed(p) == ["openai-compatible/a"]
        assert await listed(p, "?refresh=true") == ["openai-compatible/b"]
        daemon.remove("openai-compatible/x")
        async with asyncio.timeout(10):
            while await listed(p):
                await asyncio.sleep(0.01)
    api.asked.clear()
    daemon.put(key("openai-compatible/x", api))
    async with proxy(daemon, routing=RoutingConfig(discover_models=False)) as p:
        assert await listed(p, "?refresh=true") == []
        assert (await p.chat(model="b")).status == 404
        assert api.asked == []


async def test_a_token_is_borrowed_where_there_is_none_and_who_cannot_serve_is_not_asked(
    proxy: MakeProxy, serve: Any
) -> None:
    api = await serve(Lists(names("a")))
    daemon = FakeDaemon()
    name = "openai-compatible/x"
    made = lease(name, "fake-access-9", 2, facts={"base_url": api.url + "/v1"})
    daemon.renew = lambda _: made
    daemon.put(account(name, None), account("openai-compatible/paused", made, paused=True))
    async with proxy(daemon, routing=ASKING) as p:
        assert await listed(p) == ["openai-compatible/a"]
        assert api.asked == [("/v1/models", "Bearer fake-access-9")]
        daemon.renew = None
        daemon.put(account("openai-compatible/y", None))
        assert await listed(p) == ["openai-compatible/a"]


async def test_models_of_the_config_are_served_listed_and_asked_to_think(proxy: MakeProxy, serve: Any) -> None:
    api = await serve(Lists(names()))
    daemon = FakeDaemon()
    daemon.put(key("openai-compatible/x", api))
    told = {"mine-1": ToldModel(providers=("openai-compatible",), title="Mine", input_tokens=9)}
    async with proxy(daemon, models=told, routing=ASKING) as p:
        assert await listed(p) == ["mine-1"]
        gemini = (await p.ask("GET", "/v1beta/models/mine-1")).json()
        assert (gemini["displayName"], gemini["inputTokenLimit"]) == ("Mine", 9)
        assert "outputTokenLimit" not in gemini
        assert (await p.chat(model="mine-1")).status == 200
        assert api.chats == ["mine-1"]


async def test_codex_reads_a_list_of_its_own(proxy: MakeProxy, serve: Any) -> None:
    entry = {"slug": "gpt-5", "display_name": "GPT-5", "base_instructions": "theirs", "context_window": 7}
    api = await serve(Lists({"models": [entry]}))
    daemon = FakeDaemon()
    daemon.put(account("codex/me", lease("codex/me", facts={"account_id": "a"})), account("kimi/x", lease("kimi/x")))
    async with proxy(daemon, upstreams={"codex": UpstreamConfig(base_url=api.url)}, routing=ASKING) as p:
        found = (await p.ask("GET", "/v1/models?client_version=0.169.0")).json()["models"]
        assert found[0] == entry
        assert [each["slug"] for each in found[1:]] == ["kimi-for-coding", "kimi-k2.5"]
        assert all(each["base_instructions"] for each in found)
        assert api.asked[0][0].startswith("/models?client_version=")
        assert "gpt-5" in await listed(p)


async def test_a_kept_connection_that_has_died_is_no_failure_and_too_long_a_list_is(
    proxy: MakeProxy, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.proxy.learnt.FRESH_SECONDS", 0.0)
    api = await serve(Lists(names("a")))
    daemon = FakeDaemon()
    daemon.put(key("openai-compatible/x", api))
    async with proxy(daemon, routing=ASKING) as p:
        assert await listed(p) == ["openai-compatible/a"]
        assert p.worker.pool.idle() == 1
        assert await listed(p, "?refresh=true") == ["openai-compatible/a"]
        assert p.worker.pool.opened == 1, "over the same connection"
        api.models = names("b")
        api.dropping = 1
        assert await listed(p, "?refresh=true") == ["openai-compatible/b"]
        monkeypatch.setattr(discovery, "_MAX_BYTES", 5)
        api.models = names("c")
        assert await listed(p, "?refresh=true") == ["openai-compatible/b"], "the last one stands"


async def test_a_file_that_names_its_models_is_believed_and_nobody_asked(proxy: MakeProxy, serve: Any) -> None:
    api = await serve(Lists(names("other")))
    daemon = FakeDaemon()
    facts = {"base_url": api.url + "/v1", "models": "big,small"}
    daemon.put(account("openai-compatible/x", lease("openai-compatible/x", facts=facts)))
    for asks in (True, False):
        async with proxy(daemon, routing=RoutingConfig(discover_models=asks)) as p:
            assert (await p.chat(model="big")).status == 200
            assert await listed(p, "?refresh=true") == ["openai-compatible/big", "openai-compatible/small"]
            assert (await p.chat(model="other")).status == 404
    assert api.asked == []
    assert api.chats == ["big", "big"]


async def test_antigravity_is_asked_by_a_post(proxy: MakeProxy, serve: Any) -> None:
    api = await serve(Lists({"models": {"gemini-9-ultra": {"displayName": "Nine"}}}))
    daemon = FakeDaemon()
    daemon.put(account("antigravity/me", lease("antigravity/me", facts={"project_id": "p"})))
    there = {"antigravity": UpstreamConfig(base_url=api.url)}
    async with proxy(daemon, upstreams=there, routing=ASKING) as p:
        assert "gemini-9-ultra" in await listed(p)
        assert api.asked == [("/v1internal:fetchAvailableModels", "Bearer fake-access-1")]
