"""The same against an authorization server that we did not write: django-oauth-toolkit with reuse protection and no grace period."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import pytest

from broker.ipc.client import BrokerClient
from broker.ipc.schema import Lease, LoginStart, Report
from broker.model.errors import BrokerError, ErrorCode
from tests.system.rotation.figures import Figure
from tests.system.rotation.homes import PROVIDER, Home, Truth
from tests.system.rotation.kills import Foundry
from tests.system.rotation.relay import Relay, Way

pytestmark = pytest.mark.figures

ROTATIONS = 20
SLOW = 3
KILLS = {7: "answer:written", 11: "lock:after", 15: "file:exchange1"}


@asynccontextmanager
async def django() -> AsyncIterator[dict[str, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("django_server.py")), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    finally:
        process.kill()
        await process.wait()


def config(home: Home, server: dict[str, str], relay: Relay) -> str:
    url = server["url"]
    return (
        f'[store]\ndirectories = ["{home.auth}"]\n\n[refresh]\nahead = false\n\n'
        f'[providers.{PROVIDER}]\nkind = "oauth2"\nclient_id = "{server["client_id"]}"\nredirect_port = 0\n'
        f'authorize_url = "{url}/o/authorize/"\ntoken_url = "{relay.url}/o/token/"\nuserinfo_url = "{url}/userinfo"\n'
        'scopes = ["openid", "email"]\n'
    )


async def get(url: str, token: str = "") -> tuple[int, dict[str, object]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None) if answer.status == 200 else {}


async def login(home: Home) -> None:
    async with home.client() as client:
        view = await client.start_login(LoginStart(provider=PROVIDER))
        async with aiohttp.ClientSession() as browser, browser.get(str(view.url)) as page:
            assert page.status == 200, await page.text()
        while view.state in {"waiting", "finishing"}:
            view = await client.login(view.id, wait=10)
        assert view.state == "done", view.problem


async def lose(client: BrokerClient, home: Home, relay: Relay, way: Way) -> Lease:
    """Lose a renewal; return the lease that is served on."""
    seen, relay.way = relay.seen, way
    with pytest.raises(BrokerError) as lost:
        await client.refresh(home.account)
    assert lost.value.code is ErrorCode.ANSWER_LOST
    relay.way = Way.PASS
    with pytest.raises(BrokerError):
        await client.refresh(home.account)
    assert (await client.account(home.account)).state == "ambiguous"
    assert relay.seen == seen + 1
    return await client.lease(home.account)


def rejected(home: Home, lease: Lease) -> Report:
    """Say that an API refuses a token: it is of no more use."""
    return Report(
        account=str(home.account), generation=lease.generation, outcome="rejected", min_validity=60, max_wait=20
    )


@pytest.mark.skipif(
    find_spec("oauth2_provider") is None, reason="django-oauth-toolkit is not installed (the test extra)"
)
@pytest.mark.timeout(180)
async def test_login_rotations_and_kills_against_django_oauth_toolkit(figure: Figure) -> None:
    async with (
        django() as server,
        Relay.before(server["url"]) as relay,
        Truth.started() as truth,
        Home.made(truth) as home,
        Foundry.open() as foundry,
    ):
        home.config_file.write_text(config(home, server, relay))
        armed, seen = home.folder / "armed", set()
        victim = await foundry.launch(home, None)
        assert await victim.answers(home)
        await login(home)
        for number in range(1, ROTATIONS + 1):
            if (point := KILLS.get(number)) is not None:
                victim.kill()
                await victim.gone()
                victim = await foundry.launch(home, point)
                assert await victim.answers(home)
                armed.touch()
            relay.way = Way.LATE if number == SLOW else Way.PASS
            async with home.client() as client:
                if point is not None:
                    with pytest.raises(BrokerError):
                        await client.refresh(home.account)
                    await victim.gone()
                    armed.unlink()
                    victim = await foundry.launch(home, None)
                    assert await victim.answers(home)
                else:
                    await client.refresh(home.account)
                assert (await client.account(home.account)).state == "active"
                lease = await client.lease(home.account)
            status, _ = await get(f"{server['url']}/userinfo", lease.access_token.reveal())
            assert status == 200, "a token the server does not accept was served"
            seen.add(str(home.document()["refresh_token"]))
        _, told = await get(f"{server['url']}/witness")
        # One rotation was cut off before anything was sent.
        sent = ROTATIONS - 1
        assert told == {"posts": {"authorization_code": 1, "refresh_token": sent}, "alive": 1}
        assert len(seen) == sent
        async with home.client() as client:
            # A request that never came there: the old refresh token is as good as before.
            lease = await lose(client, home, relay, Way.CUT_REQUEST)
            assert (await get(f"{server['url']}/userinfo", lease.access_token.reveal()))[0] == 200
            answer = await client.report(rejected(home, lease))
            assert answer.lease is not None
            assert (await get(f"{server['url']}/userinfo", answer.lease.access_token.reveal()))[0] == 200
            # An answer that never came here: presenting the old one again ends the family, and the daemon says that a person must log in.
            lease = await lose(client, home, relay, Way.DROP_ANSWER)
            victim.kill()
            await victim.gone()
            victim = await foundry.launch(home, None)
            assert await victim.answers(home)
            assert (await client.account(home.account)).state == "ambiguous"
            with pytest.raises(BrokerError) as refused:
                await client.report(rejected(home, lease))
            assert refused.value.code is ErrorCode.LOGIN_REQUIRED
            _, told = await get(f"{server['url']}/witness")
            assert told == {"posts": {"authorization_code": 1, "refresh_token": sent + 3}, "alive": 0}
            await login(home)
            assert (await client.account(home.account)).state == "active"
        victim.kill()
        await victim.gone()
        figure(
            f"django-oauth-toolkit (reuse protection, no grace): login by code and PKCE, {sent} rotations in {sent} POSTs with SIGKILL at "
            f"{', '.join(KILLS.values())}: 0 replays, no login needed; a request cut off before it: renewed later with the same token; an answer dropped after "
            "it rotated: not presented again before the access token is of no use"
        )
