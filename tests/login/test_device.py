"""Logins by device code against the sandbox: the person decides on another screen, an HTTP client here."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from broker.daemon.outbound import Outbound
from broker.ipc.schema import LoginStart, LoginView, encode
from broker.login.clients import Clients
from broker.login.ports import bind_loopback
from broker.login.session import ByDevice
from broker.login.sessions import Logins
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.providers.base import Client, LoginFlow
from broker.providers.registry import build
from broker.sandbox.faults import ErrorStatus, Target
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings
from broker.settings.reading import parse
from broker.system import SystemChance
from tests.fakes.clock import FakeClock, settle
from tests.login.test_sessions import Counting, Keeper, World, config_of, refused

DEVICE = LoginStart(provider="sandbox", flow="device")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    # The sandbox lives in real time and this clock jumps: at an interval of nothing no poll is early.
    async with (
        await Sandbox.start(SandboxSettings(device_interval=0, device_lifetime=240)) as sandbox,
        Outbound(timeout=10) as outbound,
        aiohttp.ClientSession() as http,
    ):
        clock, keeper, transport = FakeClock(), Keeper(), Counting(outbound)
        made = World(sandbox, logins(sandbox, tmp_path, transport, clock, keeper), keeper, clock, transport, http)
        yield made
        await made.logins.close()


def logins(
    sandbox: Sandbox, folder: Path, transport: Counting, clock: FakeClock, keeper: Keeper, text: str | None = None
) -> Logins:
    config = config_of(sandbox, folder) if text is None else parse(text.encode())
    clients = Clients(config.providers, [folder], transport, clock, {"HOME": str(folder), "PATH": ""})
    return Logins(build(config.providers), clients, transport, clock, SystemChance(), keeper)


def own(world: World, folder: Path, text: str) -> Logins:
    """The logins of a provider `acme` that the config text describes."""
    head = f'[providers.acme]\nkind = "oauth2"\nclient_id = "{world.sandbox.client_id}"\n'
    secret = folder / "client-secret"
    head += f'client_secret_file = "{secret}"\ntoken_url = "{world.sandbox.url}/token"\n'
    return logins(world.sandbox, folder, world.transport, world.clock, world.keeper, head + text)


async def decide(world: World, view: LoginView, decision: str) -> None:
    """Be the person at the provider's page."""
    form = {"user_code": view.user_code or "", "decision": decision}
    async with world.http.post(f"{world.sandbox.url}/device", data=form) as page:
        assert page.status == 200, await page.text()


async def ended(world: World, view: LoginView, logins: Logins | None = None) -> LoginView:
    """Let seconds pass until the login is over."""
    for _ in range(500):
        view = await (logins or world.logins).follow(view.id)
        if view.state in {"done", "failed"}:
            return view
        world.clock.advance(0.5)
        await asyncio.sleep(0.01)
    raise AssertionError(f"still {view.state}")


def polls(world: World) -> int:
    return sum(each.url.endswith("/token") for each in world.transport.asked)


async def test_from_the_code_to_the_account(world: World) -> None:
    view = await world.logins.start(DEVICE)
    assert (view.state, view.flow, view.redirect_uri) == ("waiting", "device", None)
    assert view.user_code
    assert view.url == f"{world.sandbox.url}/device?user_code={view.user_code}"
    assert view.expires_at == world.clock.wall + 240
    await decide(world, view, "approve")
    done = await ended(world, view)
    assert (done.state, done.account, done.file) == ("done", "sandbox/alice@example.com", "sandbox-file.json")
    assert (done.url, done.user_code, done.flow) == (None, None, "device")
    ((record, client, _),) = world.keeper.kept
    assert record.tokens.refresh_token
    assert world.sandbox.grants.accepts(record.tokens.refresh_token)
    assert client == Client(world.sandbox.client_id, world.sandbox.client_secret)


async def test_opening_the_address_is_enough_where_it_has_the_code_in_it(world: World) -> None:
    view = await world.logins.start(DEVICE)
    await world.visit(view)
    assert (await ended(world, view)).state == "done"


async def test_it_is_polled_for_until_the_person_decides(world: World) -> None:
    view = await world.logins.start(DEVICE)
    while polls(world) < 3:
        world.clock.advance(0.5)
        await asyncio.sleep(0.01)
    assert (await world.logins.follow(view.id)).state == "waiting"
    await decide(world, view, "approve")
    assert (await ended(world, view)).state == "done"


async def test_a_refusal_is_told_in_plain_words(world: World) -> None:
    view = await world.logins.start(DEVICE)
    await decide(world, view, "deny")
    failed = await ended(world, view)
    assert failed.problem is not None
    assert (failed.problem.code, failed.url, failed.user_code) == ("login_denied", None, None)
    assert "refused on the provider's page" in failed.problem.detail
    assert not world.keeper.kept


async def test_a_code_that_expired_at_the_server_ends_it(world: World) -> None:
    world.sandbox.change(device_lifetime=0.001)
    view = await world.logins.start(LoginStart(provider="sandbox", flow="device"))
    failed = await ended(world, view)
    assert failed.problem is not None
    assert failed.problem.code == "login_expired"


async def test_the_person_s_time_ends_it_where_that_is_shorter(world: World) -> None:
    view = await world.logins.start(LoginStart(provider="sandbox", flow="device", timeout=60))
    assert view.expires_at == world.clock.wall + 60
    await settle()
    world.clock.advance(61)
    failed = await ended(world, view)
    assert failed.problem is not None
    assert failed.problem.code == "login_expired"
    assert "within 1 min" in failed.problem.detail
    before = len(world.transport.asked)
    await world.clock.run(60)
    assert len(world.transport.asked) == before


async def test_trouble_at_the_token_endpoint_is_ridden_out(world: World) -> None:
    world.sandbox.faults.add(Target.TOKEN, ErrorStatus(status=503), times=2)
    view = await world.logins.start(DEVICE)
    await decide(world, view, "approve")
    assert (await ended(world, view)).state == "done"
    assert polls(world) == 3


async def test_cancelling_stops_the_polling(world: World) -> None:
    view = await world.logins.start(DEVICE)
    await settle()
    cancelled = await world.logins.cancel(view.id)
    assert cancelled.problem is not None
    assert cancelled.problem.code == "login_cancelled"
    await world.clock.run(60)
    assert polls(world) == 0


async def test_closing_ends_it(world: World) -> None:
    view = await world.logins.start(DEVICE)
    await world.logins.close()
    closed = await world.logins.follow(view.id)
    assert closed.problem is not None
    assert closed.problem.code == "stopping"


async def test_there_is_nothing_to_hand_in(world: World) -> None:
    view = await world.logins.start(DEVICE)
    error = await refused(world.logins.finish(view.id, Secret("fake-code")), ErrorCode.BAD_REQUEST)
    assert "nothing to hand in" in error.detail
    assert (await world.logins.follow(view.id)).state == "waiting"


async def test_a_label_and_a_project_are_passed_on(world: World) -> None:
    view = await world.logins.start(LoginStart(provider="sandbox", flow="device", label="work", project="p-1"))
    await world.visit(view)
    assert (await ended(world, view)).account == "sandbox/work"
    assert world.keeper.kept[0][0].facts == {"project_id": "p-1"}


async def test_storage_that_refuses_is_told(world: World) -> None:
    world.keeper.refuse = BrokerError(ErrorCode.STORAGE_UNWRITABLE, "no space")
    view = await world.logins.start(DEVICE)
    await world.visit(view)
    failed = await ended(world, view)
    assert failed.problem is not None
    assert failed.problem.code == "storage_unwritable"


# --- which flow ---


async def test_a_provider_with_both_logs_in_by_code_unless_told(world: World) -> None:
    view = await world.logins.start(LoginStart(provider="sandbox"))
    assert (view.flow, view.user_code) == ("code", None)
    assert (await world.logins.start(LoginStart(provider="sandbox", flow="code"))).flow == "code"
    error = await refused(world.logins.start(LoginStart(provider="sandbox", flow="smoke")), ErrorCode.UNSUPPORTED)
    assert "code, device" in error.detail


async def test_a_provider_with_a_device_endpoint_alone_needs_no_telling(world: World, tmp_path: Path) -> None:
    acme = own(world, tmp_path, f'device_url = "{world.sandbox.url}/device_authorization"\nscopes = ["openid"]')
    view = await acme.start(LoginStart(provider="acme"))
    assert view.flow == LoginFlow.DEVICE.value
    await refused(acme.start(LoginStart(provider="acme", flow="code")), ErrorCode.UNSUPPORTED)
    await world.visit(view)
    assert (await ended(world, view, acme)).state == "done"
    await acme.close()


async def test_the_device_endpoint_s_extra_parameters_are_sent(world: World, tmp_path: Path) -> None:
    text = f'device_url = "{world.sandbox.url}/device_authorization"\nextra_params = {{ audience = "api" }}'
    acme = own(world, tmp_path, text)
    await acme.start(LoginStart(provider="acme"))
    assert world.transport.asked[-1].form is not None
    assert world.transport.asked[-1].form["audience"] == "api"
    await acme.close()


async def test_it_takes_no_port_from_a_login_by_code(world: World, tmp_path: Path) -> None:
    port, sockets = bind_loopback(0)
    for one in sockets:
        one.close()
    both = f'authorize_url = "{world.sandbox.url}/authorize"\ndevice_url = "{world.sandbox.url}/device_authorization"'
    acme = own(world, tmp_path, f"{both}\nredirect_port = {port}")
    by_code = await acme.start(LoginStart(provider="acme"))
    by_device = await acme.start(LoginStart(provider="acme", flow="device"))
    assert (by_code.flow, by_device.flow) == ("code", "device")
    assert (await acme.follow(by_code.id)).state == "waiting"
    await acme.close()


# --- what goes wrong at the start ---


async def test_a_device_endpoint_that_is_not_there_is_told(world: World, tmp_path: Path) -> None:
    acme = own(world, tmp_path, f'device_url = "{world.sandbox.url}/nowhere"')
    error = await refused(acme.start(LoginStart(provider="acme")), ErrorCode.LOGIN_FAILED)
    assert "404" in error.detail
    await acme.close()


async def test_a_secret_that_is_refused_is_the_config_s_fault_and_looked_up_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[str] = []
    monkeypatch.setattr(Clients, "forget", lambda _, provider: forgotten.append(provider))
    (tmp_path / "client-secret").write_text("fake-wrong-secret")
    await refused(world.logins.start(DEVICE), ErrorCode.MISCONFIGURED)
    assert forgotten == ["sandbox"]
    by_code = await world.logins.start(LoginStart(provider="sandbox"))
    await world.visit(by_code)
    failed = await world.end(by_code)
    assert failed.problem is not None
    assert failed.problem.code == "misconfigured"
    assert forgotten == ["sandbox", "sandbox"]


# --- what never leaves ---


async def test_the_device_code_is_in_no_view_and_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    view = await world.logins.start(DEVICE)
    session = world.logins._sessions[view.id]
    assert isinstance(session.way, ByDevice)
    await world.visit(view)
    done = await ended(world, view)
    tokens = world.keeper.kept[0][0].tokens
    shown = json.dumps([json.loads(encode(one)) for one in (view, done)]) + caplog.text + repr(session)
    for secret in (session.way.given.device_code, tokens.access_token, tokens.refresh_token):
        assert secret is not None
        assert secret.reveal() not in shown
    assert "sandbox-device-" not in shown
    assert urlsplit(view.url or "").path == "/device"
