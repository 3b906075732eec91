"""Settings of models and of where to ask for them, each seen in what clients are told and upstreams are asked."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from broker.cli.demo.stage import headers
from tests.system.conftest import staged
from tests.system.settings_table import covers
from tests.system.test_files import drop
from tests.system.test_settings_daemon import eventually
from tests.system.test_settings_providers import requests_seen

CONFIG = """\
[routing]
discover_models = false

[models."gemini-2.5-flash"]
title = "Mine"
owner = "me"
input_tokens = 777
output_tokens = 55
thinking = { kind = "budget", low = 100, high = 200 }

[models."gemini-2.5-p*"]
providers = ["openai-compatible"]"""


@asynccontextmanager
async def own_api(seen: list[str]) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.path}")
        message = {"role": "assistant", "content": "from my own"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response({"id": "c", "choices": choices, "data": [{"id": "llama"}]})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@covers(
    "models.providers", "models.title", "models.owner", "models.input_tokens", "models.output_tokens", "models.thinking",
    "routing.discover_models",
)  # fmt: skip
async def test_what_the_config_says_of_models() -> None:
    seen: list[str] = []
    async with own_api(seen) as url, staged(config=CONFIG, proxy=False) as stage, stage.client() as client:
        kind = {"type": "api-key", "provider": "openai-compatible", "label": "mine"}
        drop(stage.auth_dir, "openai-compatible-mine.json", {**kind, "api_key": "fake-key-of-mine", "base_url": url})

        async def there() -> bool:
            return any(each.provider == "openai-compatible" for each in await client.accounts())

        await eventually(there)
        await stage.start_proxy()
        async with aiohttp.ClientSession(stage.proxy_url, headers=headers()) as session:
            async with session.get("/v1/models") as got:
                listed = {each["id"]: each["owned_by"] for each in (await got.json())["data"]}
            assert listed["gemini-2.5-flash"] == "me"
            assert seen == [], "nobody is asked for a list"
            assert not any("llama" in name for name in listed)
            async with session.get("/v1beta/models/gemini-2.5-flash") as got:
                told = await got.json()
            assert [told[name] for name in ("displayName", "inputTokenLimit", "outputTokenLimit")] == ["Mine", 777, 55]
            body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000, "reasoning_effort": "high"}
            async with session.post("/v1/chat/completions", json={"model": "gemini-2.5-flash", **body}) as got:
                assert got.status == 200, await got.text()
            async with session.post("/v1/chat/completions", json={"model": "gemini-2.5-pro", **body}) as got:
                assert (await got.json())["choices"][0]["message"]["content"] == "from my own"
        asked = [each["body"] for each in await requests_seen(stage) if "enerateContent" in str(each["path"])]
        assert len(asked) == 1
        assert isinstance(asked[0], Mapping)
        sent = json.loads(json.dumps(asked[0]))
        generation = sent.get("request", sent)["generationConfig"]
        assert generation["maxOutputTokens"] == 55
        assert generation["thinkingConfig"]["thinkingBudget"] == 200
