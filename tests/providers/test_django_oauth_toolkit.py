"""The generic provider logs in by each of its flows at a server that we did not write: django-oauth-toolkit."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import pytest

from broker.daemon.outbound import Outbound
from broker.ipc.schema import LoginStart, LoginView
from broker.login.clients import Clients
from broker.login.sessions import Kept, Logins
from broker.model.account import Record
from broker.model.secret import Secret
from broker.oauth.failures import Failure, FlowFailedError, Misconfigured, Permanent
from broker.oauth.revoke import revoked
from broker.providers.base import Client, LoginFlow, Provider
from broker.providers.registry import build
from broker.settings.reading import parse
from broker.system import SystemChance
from tests.fakes.clock import LiveClock

pytestmark = pytest.mark.skipif(
    find_spec("oauth2_provider") is None, reason="django-oauth-toolkit is not installed (the test extra)"
)
SERVER = Path(__file__).parents[1] / "fakes" / "vendors" / "django_flows.py"


@dataclass
class Desk:
    """The provider, its server, and the way between them."""

    url: str
    provider: Provider
    client: Client
    outbound: Outbound
    clock: LiveClock
    logins: Logins
    kept: list[Record]

    async def log_in(self) -> Record:
        """Log in as a person would, where one is needed."""
        view = await self.logins.start(LoginStart(provider="toolkit", callback=False, timeout=60.0))
        if view.user_code:
            await self._approve_device(view.user_code)
        elif view.url:
            async with aiohttp.ClientSession() as browser, browser.get(view.url, allow_redirects=False) as answer:
                await self.logins.finish(view.id, Secret(answer.headers["Location"]))
        view = await self.ended(view)
        assert view.state == "done", view.problem
        return self.kept[-1]

    async def ended(self, view: LoginView) -> LoginView:
        while view.state in {"waiting", "finishing"}:
            view = await self.logins.follow(view.id, 30.0)
        return view

    async def renew(self, record: Record) -> Record:
        flow = self.provider.refresh(record, self.client, self.clock.now())
        try:
            request = next(flow)
            assert request.spends
            flow.send(await self.outbound.send(request))
        except StopIteration as ended:
            return replace(record, tokens=ended.value)
        raise AssertionError("it asked more than once")

    async def failure(self, record: Record) -> Failure:
        with pytest.raises(FlowFailedError) as caught:
            await self.renew(record)
        return caught.value.failure

    def again(self, record: Record) -> Record:
        """The record as its file has it."""
        name, document = self.provider.create(record, self.client, self.clock.now())
        return self.provider.read(json.loads(json.dumps(document)), name)

    async def _approve_device(self, user_code: str) -> None:
        pages = (f"{self.url}/o/device/", f"{self.url}/o/device-confirm/fake-device/{user_code}")
        async with aiohttp.ClientSession() as browser:
            for page in pages:
                form = {"user_code": user_code, "action": "accept"}
                async with browser.post(page, data=form, allow_redirects=False) as answer:
                    assert answer.status == 302, await answer.text()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


@asynccontextmanager
async def desk(url: str, folder: Path, text: str) -> AsyncIterator[Desk]:
    async with Outbound(timeout=30) as outbound:
        config = parse(f'[providers.toolkit]\nkind = "oauth2"\ntoken_url = "{url}/o/token/"\n{text}'.encode())
        clock, kept, registry = LiveClock(), list[Record](), build(config.providers)
        env = {"HOME": str(folder), "PATH": "", "KEY": "fake-program-secret"}
        clients = Clients(config.providers, [folder], outbound, clock, env)

        async def keep(record: Record, _client: Client, _notes: tuple[str, ...]) -> Kept:
            kept.append(record)
            return Kept(record.account, "x.json")

        logins = Logins(registry, clients, outbound, clock, SystemChance(), keep)
        provider = registry.get("toolkit")
        try:
            yield Desk(url, provider, await clients.find(provider), outbound, clock, logins, kept)
        finally:
            await logins.close()


async def reaches(url: str, record: Record) -> bool:
    token = record.tokens.access_token
    assert token is not None
    headers = {"Authorization": f"Bearer {token.reveal()}"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status == 200


async def test_by_code(url: str, tmp_path: Path) -> None:
    text = f'authorize_url = "{url}/o/authorize/"\nclient_id = "fake-person"\nscopes = ["email"]\nuserinfo_url = "{url}/userinfo"\n'
    async with desk(url, tmp_path, text) as there:
        await a_person_s_login(there, await there.log_in())


@pytest.mark.skipif(
    int(version("oauthlib").split(".")[0]) > 3, reason="the toolkit's device flow does not work with oauthlib 4"
)
async def test_by_device_code(url: str, tmp_path: Path) -> None:
    text = (
        f'device_url = "{url}/o/device-authorization/"\nclient_id = "fake-device"\nscopes = ["email"]\n'
        f'userinfo_url = "{url}/userinfo"\n'
    )
    async with desk(url, tmp_path, text) as there:
        await a_person_s_login(there, await there.log_in())


async def a_person_s_login(there: Desk, record: Record) -> None:
    assert record.email == "ann@example.com"
    renewed = await there.renew(there.again(record))
    assert renewed.tokens.access_token != record.tokens.access_token
    assert renewed.tokens.refresh_token != record.tokens.refresh_token
    assert await reaches(f"{there.url}/userinfo", renewed)
    assert isinstance(await there.failure(record), Permanent)  # its refresh token was good once


PROGRAM = 'client_id = "fake-program"\nclient_secret_env = "KEY"\nscopes = ["read"]\n'


@pytest.mark.parametrize("auth", ["post", "basic"])
async def test_without_a_person(url: str, tmp_path: Path, auth: str) -> None:
    text = f'{PROGRAM}client_auth = "{auth}"\nrevoke_url = "{url}/o/revoke_token/"\n'
    async with desk(url, tmp_path, text) as there:
        assert there.provider.flows == (LoginFlow.CLIENT_CREDENTIALS,)
        record = await there.log_in()
        assert str(record.account) == "toolkit/fake-program"
        assert await reaches(f"{url}/things", record)
        renewed = await there.renew(there.again(record))
        assert renewed.tokens.access_token != record.tokens.access_token
        assert await reaches(f"{url}/things", renewed)
        request = there.provider.revoke(renewed, there.client)
        assert request is not None
        assert revoked(await there.outbound.send(request))
        assert not await reaches(f"{url}/things", renewed)
        assert await reaches(f"{url}/things", await there.renew(renewed))


async def test_a_wrong_secret_is_the_config_s_fault(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path, PROGRAM.replace("fake-program", "fake-other")) as there:
        view = await there.ended(await there.logins.start(LoginStart(provider="toolkit", timeout=60.0)))
        assert view.state == "failed"
        assert view.problem is not None
        assert view.problem.code == "misconfigured"


async def test_a_renewal_with_a_wrong_secret_leaves_the_account_alive(url: str, tmp_path: Path) -> None:
    async with desk(url, tmp_path, PROGRAM) as there:
        record = await there.log_in()
        there.client = Client("fake-other", there.client.secret)
        assert isinstance(await there.failure(record), Misconfigured)
