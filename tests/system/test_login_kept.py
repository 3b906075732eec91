"""The old credential stays until a new login has been proven good and is durable."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from broker.cli.demo.stage import DemoFailedError, Stage
from broker.cli.demo.steps import login
from broker.ipc.schema import LoginStart
from tests.system.conftest import staged
from tests.system.test_settings_daemon import fault


async def refused_by_the_token_endpoint(stage: Stage) -> None:
    await fault(stage, "token", "status", status=400)
    with pytest.raises(DemoFailedError, match="failed"):
        await login(stage, lambda _: None)


async def cut_off_after_the_grant(stage: Stage) -> None:
    await fault(stage, "token", "drop_after_grant")
    with pytest.raises(DemoFailedError, match="failed"):
        await login(stage, lambda _: None)


async def given_up_by_the_person(stage: Stage) -> None:
    async with stage.client() as client:
        view = await client.start_login(LoginStart(provider="gemini"))
        await client.cancel_login(view.id)


async def killed_half_way(stage: Stage) -> None:
    await fault(stage, "token", "hang")
    async with stage.client() as client, aiohttp.ClientSession() as browser:
        view = await client.start_login(LoginStart(provider="gemini"))
        page = asyncio.ensure_future(browser.get(str(view.url)))
        await asyncio.sleep(0.5)
        process = stage.processes.pop("daemon")
        process.kill()
        await process.wait()
        await asyncio.gather(page, return_exceptions=True)
    await stage.start_daemon()


@pytest.mark.parametrize(
    "attempt", [refused_by_the_token_endpoint, cut_off_after_the_grant, given_up_by_the_person, killed_half_way]
)
async def test_a_login_that_comes_to_nothing_leaves_the_old_one(attempt: Callable[[Stage], Awaitable[None]]) -> None:
    async with staged(proxy=False) as stage:
        path = next(stage.auth_dir.glob("*.json"))
        before = path.read_bytes()
        await attempt(stage)
        assert path.read_bytes() == before
        assert [each.name for each in stage.auth_dir.glob("*.json")] == [path.name]
        async with stage.client() as client:
            assert (await client.lease("gemini")).access_token.reveal() in before.decode()
            await client.refresh("gemini/alice@example.com")
