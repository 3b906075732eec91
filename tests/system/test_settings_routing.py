"""Settings of account choice and of model names, each seen in what the upstream is asked and the client is told."""

import json
from collections.abc import Mapping

import aiohttp
import pytest

from broker.cli.demo.stage import Stage, headers
from broker.ipc.client import BrokerClient
from broker.ipc.schema import LoginStart
from tests.system.conftest import staged
from tests.system.settings_table import covers
from tests.system.test_settings_daemon import eventually, fault
from tests.system.test_settings_providers import requests_seen

MODEL = "gemini-2.5-flash"
ALICE, BOB = "gemini/alice@example.com", "gemini/bob@example.com"


async def log_in(stage: Stage, client: BrokerClient, user: str) -> None:
    view = await client.start_login(LoginStart(provider="gemini"))
    async with aiohttp.ClientSession() as browser, browser.get(f"{view.url}&sandbox_user={user}") as page:
        await page.read()
    while view.state in {"waiting", "finishing"}:
        view = await client.login(view.id, wait=5)
    assert view.state == "done", view.problem

    async def known() -> bool:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{stage.proxy_url}/metrics", headers=headers()) as page,
        ):
            return f'leases{{worker="0"}} {len(await client.accounts())}.0' in await page.text()

    await eventually(known)


async def answer(stage: Stage, prompt: str = "hello", model: str = MODEL, *, streamed: bool = False) -> str:
    body = {"model": model, "stream": streamed, "messages": [{"role": "user", "content": prompt}]}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{stage.proxy_url}/v1/chat/completions", json=body, headers=headers()) as got:
            text = await got.text()
            assert got.status == 200, text
            return text


async def bearers(stage: Stage) -> list[str]:
    """Return which token each chat went out with, in order."""
    found = []
    for each in await requests_seen(stage):
        sent = each["headers"]
        assert isinstance(sent, Mapping)
        if "enerateContent" in str(each["path"]):
            found += [value for name, value in sent.items() if name.lower() == "authorization"]
    return found


@covers("routing.sticky")
async def test_a_conversation_stays_with_its_account_unless_told_otherwise() -> None:
    for sticky in ("true", "false"):
        async with staged(config=f"[routing]\nsticky = {sticky}") as stage, stage.client() as client:
            await log_in(stage, client, "bob@example.com")
            for _ in range(6):
                await answer(stage)
            assert len(set(await bearers(stage))) == (1 if sticky == "true" else 2)


@covers("routing.strategy")
async def test_one_account_is_filled_first() -> None:
    config = '[routing]\nsticky = false\nstrategy = "fill-first"'
    async with staged(config=config) as stage, stage.client() as client:
        await log_in(stage, client, "bob@example.com")
        for number in range(6):
            await answer(stage, f"hello {number}")
        assert len(set(await bearers(stage))) == 1
        await client.set_default(BOB)
        before = (await bearers(stage))[-1]

        async def moved() -> bool:
            await answer(stage)
            return (await bearers(stage))[-1] != before

        await eventually(moved)


@covers("routing.aliases")
async def test_a_name_of_one_s_own_is_what_the_client_sees() -> None:
    config = '[routing]\naliases = { mine = "gemini/gemini-2.5-flash", "wild-*" = "gemini-*" }'
    async with staged(config=config) as stage:
        assert json.loads(await answer(stage, model="mine"))["model"] == "mine"
        assert json.loads(await answer(stage, model="wild-2.5-flash"))["model"] == "wild-2.5-flash"
        assert '"model":"mine"' in (await answer(stage, model="mine", streamed=True)).replace(" ", "")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{stage.proxy_url}/v1/models", headers=headers()) as got:
                listed = [each["id"] for each in (await got.json())["data"]]
        assert "mine" in listed
        assert "wild-*" not in listed


@covers("combos.models", "combos.strategy")
async def test_a_chain_of_models_goes_on_to_the_next() -> None:
    config = '[combos.best]\nmodels = ["gemini/no-such-model", "gemini-2.5-flash"]\nstrategy = "round-robin"'
    async with staged(config=config) as stage:
        for _ in range(3):
            assert json.loads(await answer(stage, model="best"))["model"] == "best"
        asked = [each["body"] for each in await requests_seen(stage) if "enerateContent" in str(each["path"])]
        models = [str(body["model"]) for body in asked if isinstance(body, Mapping)]
        # The first use begins with the first, the second with the second; a model that is not there costs a request.
        assert models == ["no-such-model", MODEL, MODEL, "no-such-model", MODEL]


@covers("routing.rounds", "routing.max_wait_seconds")
@pytest.mark.parametrize("setting", ["rounds = 1", "max_wait_seconds = 0"])
async def test_how_long_a_request_is_tried(setting: str) -> None:
    async with staged(config=f"[routing]\n{setting}") as stage:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
        async with aiohttp.ClientSession(headers=headers()) as session:
            await fault(stage, "generate", "rate_limit", seconds=1.0)
            async with session.post(f"{stage.proxy_url}/v1/chat/completions", json=body) as got:
                assert got.status == 429, await got.text()
