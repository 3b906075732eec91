"""Grants of the program's own through a running daemon: there is no refresh token anywhere, and they are renewed all the same."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from broker.ipc.schema import AccountView, LoginStart, LoginView
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from tests.fakes.broker import Running, running_daemon

MACHINE = AccountId("machine", "program")


class Endpoint:
    """A token endpoint for one registration."""

    def __init__(self) -> None:
        self.issued = 0
        self.refuse: str | None = None
        self.url = ""

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert (form["grant_type"], form["client_id"], form["client_secret"]) == (
            "client_credentials", "program", "fake-program-secret",
        )  # fmt: skip
        if self.refuse:
            return web.json_response({"error": self.refuse}, status=400)
        self.issued += 1
        return web.json_response({"access_token": f"fake-access-{self.issued}", "expires_in": 3600})


@asynccontextmanager
async def machine() -> AsyncIterator[tuple[Endpoint, Running]]:
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_post("/token", endpoint.token)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    table = f'[providers.machine]\nkind = "oauth2"\ntoken_url = "{endpoint.url}"\nclient_id = "program"\nclient_secret_file = "~/key"\n'
    try:
        async with running_daemon(config=table) as running:
            key = running.folder / "key"
            key.write_text("fake-program-secret")
            key.chmod(0o600)
            yield endpoint, running
    finally:
        await runner.cleanup()


async def login(running: Running) -> LoginView:
    view = await running.client.start_login(LoginStart(provider="machine"))
    assert view.flow == "client-credentials"
    assert view.url is None
    while view.state in {"waiting", "finishing"}:
        view = await running.client.login(view.id, wait=10)
    return view


async def test_a_login_needs_nobody_and_is_renewed_by_asking_again() -> None:
    async with machine() as (_, running):
        view = await login(running)
        assert (view.state, view.account, view.notes) == ("done", str(MACHINE), ())
        [path] = running.auth.glob("machine-*.json")
        assert "refresh_token" not in json.loads(path.read_text())
        before = await running.client.account(MACHINE)
        assert before.renewable
        after = await running.client.refresh(MACHINE)
        assert after.generation > before.generation
        lease = await running.client.lease(MACHINE)
        assert lease.access_token == Secret("fake-access-2")
        assert "refresh_token" not in json.loads(path.read_text())
        assert not list(running.auth.rglob("*.rotation"))


async def test_a_restart_loses_nothing_and_a_second_login_makes_no_second_account() -> None:
    async with machine() as (_, running):
        await login(running)
        await running.stop()
        await running.start()
        assert (await running.client.lease(MACHINE)).access_token == Secret("fake-access-1")
        await login(running)
        assert [each.account for each in await accounts(running)] == [str(MACHINE)]
        assert (await running.client.lease(MACHINE)).access_token == Secret("fake-access-2")


async def test_a_refused_registration_is_never_taken_for_a_dead_login() -> None:
    async with machine() as (endpoint, running):
        await login(running)
        for code in ("invalid_grant", "invalid_client"):
            endpoint.refuse = code
            with pytest.raises(BrokerError) as caught:
                await running.client.refresh(MACHINE)
            assert caught.value.code is ErrorCode.MISCONFIGURED
            [view] = await accounts(running)
            assert view.state == "backoff"
        endpoint.refuse = None
        await login(running)
        [view] = await accounts(running)
        assert view.state == "active"


async def accounts(running: Running) -> list[AccountView]:
    return [each for each in await running.client.accounts() if each.provider == "machine"]
