"""Logins against the sandbox: a real authorization server, real sockets, a browser made of an HTTP client."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from broker.config import Config
from broker.daemon.outbound import Outbound
from broker.ipc.schema import LoginStart, LoginView, encode
from broker.login.clients import Clients
from broker.login.ports import bind_loopback
from broker.login.session import ByCode
from broker.login.sessions import MAX_LOGINS, Kept, Logins
from broker.model.account import Record
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.observe.tasks import spawn
from broker.providers.base import Client
from broker.providers.registry import build
from broker.sandbox.faults import ErrorStatus, Target
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings
from broker.settings.reading import parse
from broker.system import SystemChance
from tests.fakes.clock import FakeClock, settle


@dataclass
class Keeper:
    """Takes what logins hand over."""

    kept: list[tuple[Record, Client, tuple[str, ...]]] = field(default_factory=list)
    refuse: BrokerError | Exception | None = None
    hold: asyncio.Event | None = None

    async def __call__(self, record: Record, client: Client, notes: tuple[str, ...]) -> Kept:
        if self.hold is not None:
            await self.hold.wait()
        if self.refuse is not None:
            raise self.refuse
        self.kept.append((record, client, notes))
        return Kept(record.account, f"{record.account.provider}-file.json")


@dataclass
class Counting:
    """The real way out, with what went through it."""

    outbound: Outbound
    asked: list[HttpRequest] = field(default_factory=list)

    def on_behalf(self, provider: str, own: object = None) -> "Counting":
        return self

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.asked.append(request)
        return await self.outbound.send(request)


@dataclass
class World:
    sandbox: Sandbox
    logins: Logins
    keeper: Keeper
    clock: FakeClock
    transport: Counting
    http: aiohttp.ClientSession

    async def visit(self, view: LoginView) -> tuple[int, str]:
        """Be the person's browser: follow the redirects to the end."""
        assert view.url is not None
        async with self.http.get(view.url) as answer:
            return answer.status, await answer.text()

    async def approve(self, view: LoginView) -> str:
        """Be the person's browser up to the redirect; return where it points."""
        assert view.url is not None
        async with self.http.get(view.url, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            return answer.headers["Location"]

    async def end(self, view: LoginView) -> LoginView:
        for _ in range(500):
            view = await self.logins.follow(view.id)
            if view.state in {"done", "failed"}:
                return view
            await asyncio.sleep(0.01)
        raise AssertionError(f"still {view.state}")


async def refused(work: "asyncio.Future[LoginView] | object", code: ErrorCode) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await work  # type: ignore[misc]
    assert caught.value.code is code, caught.value.detail
    return caught.value


def config_of(sandbox: Sandbox, folder: Path) -> Config:
    secret = folder / "client-secret"
    secret.write_text(sandbox.client_secret.reveal())
    secret.chmod(0o600)
    return parse(sandbox.config_toml(secret).encode())


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(SandboxSettings(require_pkce=True)) as running:
        yield running


@pytest.fixture
async def world(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[World]:
    config = config_of(sandbox, tmp_path)
    clock, keeper = FakeClock(), Keeper()
    async with Outbound(timeout=10) as outbound, aiohttp.ClientSession() as http:
        transport = Counting(outbound)
        clients = Clients(config.providers, [tmp_path], transport, clock, {"HOME": str(tmp_path), "PATH": ""})
        logins = Logins(build(config.providers), clients, transport, clock, SystemChance(), keeper)
        yield World(sandbox, logins, keeper, clock, transport, http)
        await logins.close()


GEMINI = LoginStart(provider="gemini")
GENERIC = LoginStart(provider="sandbox")


async def test_gemini_from_the_address_to_the_account(world: World) -> None:
    world.sandbox.change(onboarded=True)
    view = await world.logins.start(GEMINI)
    assert (view.state, view.provider, view.flow) == ("waiting", "gemini", "code")
    assert view.expires_at == world.clock.wall + 300
    status, text = await world.visit(view)
    assert status == 200
    assert "You are logged in" in text
    assert "gemini/alice@example.com" in text
    done = await world.end(view)
    assert (done.state, done.account, done.file) == ("done", "gemini/alice@example.com", "gemini-file.json")
    assert done.url is None
    ((record, client, notes),) = world.keeper.kept
    assert record.email == "alice@example.com"
    assert record.facts["project_id"]
    assert record.tokens.refresh_token
    assert world.sandbox.grants.accepts(record.tokens.refresh_token)
    assert client == Client(world.sandbox.client_id, world.sandbox.client_secret)
    assert done.notes == notes


async def test_the_request_has_pkce_and_google_s_parameters(world: World) -> None:
    view = await world.logins.start(GEMINI)
    query = parse_qs(urlsplit(view.url or "").query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["access_type"] == ["offline"]
    assert query["prompt"] == ["consent"]
    assert query["redirect_uri"] == [view.redirect_uri]
    assert (view.redirect_uri or "").startswith("http://localhost:")
    assert (view.redirect_uri or "").endswith("/oauth2callback")


async def test_an_account_is_set_up_with_pauses_where_it_is_new(world: World) -> None:
    view = await world.logins.start(GEMINI)
    visit = spawn(world.visit(view), name="visit")
    while not world.keeper.kept:
        await asyncio.sleep(0.01)
        if any(":onboardUser" in request.url for request in world.transport.asked):
            world.clock.advance(5.0)
    assert (await visit)[0] == 200
    assert (await world.end(view)).state == "done"


async def test_a_generic_provider_by_discovery(world: World) -> None:
    view = await world.logins.start(GENERIC)
    await world.visit(view)
    done = await world.end(view)
    assert done.account == "sandbox/alice@example.com"
    assert world.transport.asked[0].url == f"{world.sandbox.url}/.well-known/oauth-authorization-server"


async def test_a_label_and_a_project_are_passed_on(world: World) -> None:
    world.sandbox.change(onboarded=True)
    view = await world.logins.start(LoginStart(provider="sandbox", label="work", project="p-1"))
    await world.visit(view)
    assert (await world.end(view)).account == "sandbox/work"
    assert world.keeper.kept[0][0].facts == {"project_id": "p-1"}


# --- by hand ---


@pytest.mark.parametrize(
    "cut",
    [
        lambda url: url,
        lambda url: "?" + urlsplit(url).query,
        lambda url: urlsplit(url).query,
        lambda url: parse_qs(urlsplit(url).query)["code"][0],
        lambda url: f"  {url}\n",
    ],
)
async def test_a_pasted_callback_finishes_a_login(world: World, cut: Callable[[str], str]) -> None:
    view = await world.logins.start(LoginStart(provider="sandbox", callback=False))
    assert urlsplit(view.redirect_uri or "").port in range(49_152, 65_536)
    location = await world.approve(view)
    finishing = await world.logins.finish(view.id, Secret(cut(location)))
    assert finishing.state in {"finishing", "done"}
    assert (await world.end(view)).state == "done"


async def test_pasting_works_beside_a_listener_and_the_later_one_finds_it_done(world: World) -> None:
    view = await world.logins.start(GENERIC)
    location = await world.approve(view)
    await world.logins.finish(view.id, Secret(location))
    done = await world.end(view)
    assert done.state == "done"
    assert (await world.logins.finish(view.id, Secret(location))).state == "done"
    assert len(world.keeper.kept) == 1


async def test_a_listener_beside_a_paste_shows_that_it_is_over(world: World) -> None:
    world.keeper.hold = asyncio.Event()
    view = await world.logins.start(GENERIC)
    location = await world.approve(view)
    await world.logins.finish(view.id, Secret(location))
    async with world.http.get(location) as answer:
        assert answer.status == 410
    world.keeper.hold.set()
    assert (await world.end(view)).state == "done"


async def test_a_fixed_port_stands_in_the_address_though_nobody_listens(world: World, tmp_path: Path) -> None:
    config = parse(
        b'[providers.acme]\nkind="oauth2"\nclient_id="me"\nredirect_port=1455\nauthorize_url="https://x.example/a"\ntoken_url="https://x.example/t"'
    )
    clients = Clients(config.providers, [tmp_path], world.transport, world.clock, {"HOME": str(tmp_path)})
    logins = Logins(build(config.providers), clients, world.transport, world.clock, SystemChance(), world.keeper)
    view = await logins.start(LoginStart(provider="acme", callback=False))
    assert view.redirect_uri == "http://localhost:1455/callback"
    await logins.close()


async def test_what_is_no_callback_leaves_the_login_waiting(world: World) -> None:
    view = await world.logins.start(LoginStart(provider="sandbox", callback=False))
    await refused(world.logins.finish(view.id, Secret("https://x.example/")), ErrorCode.BAD_REQUEST)
    error = await refused(world.logins.finish(view.id, Secret("?code=fake-code&state=other")), ErrorCode.BAD_REQUEST)
    assert "another login" in error.detail
    assert (await world.logins.follow(view.id)).state == "waiting"


# --- what goes wrong ---


async def test_a_refusal_is_told_in_plain_words(world: World) -> None:
    world.sandbox.change(deny=True)
    view = await world.logins.start(GENERIC)
    status, text = await world.visit(view)
    assert status == 200
    assert "The access was refused on the provider&#x27;s page" in text
    failed = await world.end(view)
    assert failed.problem is not None
    assert failed.problem.code == "login_denied"


async def test_an_account_that_may_not_use_the_service_is_told_why(world: World) -> None:
    world.sandbox.change(ineligible_users=("alice@example.com",))
    view = await world.logins.start(GEMINI)
    await world.visit(view)
    failed = await world.end(view)
    assert failed.problem is not None
    assert failed.problem.code == "login_denied"
    assert "Code Assist" in failed.problem.detail
    assert not world.keeper.kept


async def test_a_code_that_is_refused_ends_the_login(world: World) -> None:
    view = await world.logins.start(LoginStart(provider="sandbox", callback=False))
    await world.logins.finish(view.id, Secret("fake-code-nobody-issued"))
    failed = await world.end(view)
    assert failed.problem is not None
    assert failed.problem.code == "login_failed"
    assert "did not accept the code" in failed.problem.detail


async def test_a_token_endpoint_in_trouble_ends_the_login_and_may_be_tried_again(world: World) -> None:
    view = await world.logins.start(GENERIC)
    world.sandbox.faults.add(Target.TOKEN, ErrorStatus(status=503))
    await world.visit(view)
    failed = await world.end(view)
    assert failed.problem is not None
    assert (failed.problem.code, failed.problem.retryable) == ("login_failed", True)


async def test_storage_that_refuses_is_told(world: World) -> None:
    world.keeper.refuse = BrokerError(ErrorCode.STORAGE_UNWRITABLE, "no space")
    view = await world.logins.start(GENERIC)
    _, text = await world.visit(view)
    assert "No space." in text
    failed = await world.end(view)
    assert failed.problem is not None
    assert failed.problem.code == "storage_unwritable"


async def test_a_fault_of_ours_ends_the_login_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.keeper.refuse = RuntimeError("secret detail")
    view = await world.logins.start(GENERIC)
    await world.visit(view)
    failed = await world.end(view)
    assert failed.problem is not None
    assert failed.problem.code == "internal"
    assert "secret detail" not in failed.problem.detail + caplog.text


async def test_nobody_coming_back_ends_it(world: World) -> None:
    view = await world.logins.start(LoginStart(provider="sandbox", timeout=120))
    await settle()
    await world.clock.run(121)
    failed = await world.end(view)
    assert failed.problem is not None
    assert failed.problem.code == "login_expired"
    assert "2 min" in failed.problem.detail
    assert await free(view)


async def free(view: LoginView) -> bool:
    """Tell whether the callback's port is free, giving its listener a moment to go."""
    port = urlsplit(view.redirect_uri or "").port or 0
    for _ in range(100):
        try:
            _, sockets = bind_loopback(port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            for one in sockets:
                one.close()
            return True
    return False


# --- following, cancelling, ending ---


async def test_following_returns_when_something_changed(world: World) -> None:
    view = await world.logins.start(GENERIC)
    following = spawn(world.logins.follow(view.id, 60), name="follow")
    await settle()
    assert not following.done()
    await world.visit(view)
    assert (await asyncio.wait_for(following, 5)).state in {"finishing", "done"}


async def test_following_returns_when_its_time_is_over(world: World) -> None:
    view = await world.logins.start(GENERIC)
    following = spawn(world.logins.follow(view.id, 7), name="follow")
    await settle()
    await world.clock.run(7)
    assert (await following).state == "waiting"


async def test_an_ended_login_is_followed_at_once_and_forgotten_later(world: World) -> None:
    view = await world.logins.start(GENERIC)
    await world.visit(view)
    await world.end(view)
    assert (await world.logins.follow(view.id, 60)).state == "done"
    world.clock.advance(601)
    await refused(world.logins.follow(view.id), ErrorCode.UNKNOWN_LOGIN)


async def test_cancelling_ends_it_and_frees_the_port(world: World) -> None:
    view = await world.logins.start(GENERIC)
    cancelled = await world.logins.cancel(view.id)
    assert cancelled.problem is not None
    assert cancelled.problem.code == "login_cancelled"
    assert await free(view)
    assert (await world.logins.cancel(view.id)).state == "failed"
    await refused(world.logins.cancel(view.id), ErrorCode.UNKNOWN_LOGIN)


async def test_a_login_being_stored_is_not_cut_off(world: World) -> None:
    world.keeper.hold = asyncio.Event()
    view = await world.logins.start(GENERIC)
    visit = spawn(world.visit(view), name="visit")
    while (await world.logins.follow(view.id)).state == "waiting":
        await asyncio.sleep(0.01)
    while not world.logins._sessions[view.id].keeping:
        await asyncio.sleep(0.01)
    cancelling = spawn(world.logins.cancel(view.id), name="cancel")
    await settle()
    assert not cancelling.done()
    world.keeper.hold.set()
    assert (await cancelling).state == "done"
    assert (await visit)[0] == 200


async def test_a_slow_end_sends_the_browser_to_the_terminal(world: World) -> None:
    world.keeper.hold = asyncio.Event()
    view = await world.logins.start(GENERIC)
    visit = spawn(world.visit(view), name="visit")
    while view.id not in world.logins._sessions or not world.logins._sessions[view.id].keeping:
        await asyncio.sleep(0.01)
    await world.clock.run(21)
    status, text = await visit
    assert status == 200
    assert "Almost done" in text
    world.keeper.hold.set()
    assert (await world.end(view)).state == "done"


async def test_closing_ends_every_login_and_starts_no_more(world: World) -> None:
    views = [await world.logins.start(GENERIC) for _ in range(3)]
    await world.logins.close()
    for view in views:
        ended = await world.logins.follow(view.id)
        assert ended.problem is not None
        assert ended.problem.code == "stopping"
        assert await free(view)
    await refused(world.logins.start(GENERIC), ErrorCode.STOPPING)


async def test_cancelling_before_the_first_step_still_frees_the_port(world: World) -> None:
    view = await world.logins.start(GENERIC)
    session = world.logins._sessions[view.id]
    assert session.task is not None
    session.task.cancel()
    await world.logins._stop(session, BrokerError(ErrorCode.LOGIN_CANCELLED, "x"))
    assert await free(view)


async def test_a_newer_login_takes_the_fixed_port(world: World, tmp_path: Path) -> None:
    port, sockets = bind_loopback(0)
    for one in sockets:
        one.close()
    text = f'[providers.acme]\nkind="oauth2"\nclient_id="me"\nredirect_port={port}\nauthorize_url="https://x.example/a"\ntoken_url="https://x.example/t"'
    config = parse(text.encode())
    clients = Clients(config.providers, [tmp_path], world.transport, world.clock, {"HOME": str(tmp_path)})
    logins = Logins(build(config.providers), clients, world.transport, world.clock, SystemChance(), world.keeper)
    older = await logins.start(LoginStart(provider="acme"))
    newer = await logins.start(LoginStart(provider="acme"))
    ended = await logins.follow(older.id)
    assert ended.problem is not None
    assert "newer login" in ended.problem.detail
    assert (await logins.follow(newer.id)).state == "waiting"
    await logins.close()


async def test_a_port_somebody_else_has_is_told(world: World, tmp_path: Path) -> None:
    port, sockets = bind_loopback(0)
    text = f'[providers.acme]\nkind="oauth2"\nclient_id="me"\nredirect_port={port}\nauthorize_url="https://x.example/a"\ntoken_url="https://x.example/t"'
    config = parse(text.encode())
    clients = Clients(config.providers, [tmp_path], world.transport, world.clock, {"HOME": str(tmp_path)})
    logins = Logins(build(config.providers), clients, world.transport, world.clock, SystemChance(), world.keeper)
    error = await refused(logins.start(LoginStart(provider="acme")), ErrorCode.LOGIN_FAILED)
    assert str(port) in error.detail
    for one in sockets:
        one.close()
    await logins.close()


# --- what is refused at the start ---


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (LoginStart(provider="nope"), ErrorCode.UNKNOWN_PROVIDER),
        (LoginStart(provider="gemini", flow="device"), ErrorCode.UNSUPPORTED),
        (LoginStart(provider="gemini-api"), ErrorCode.UNSUPPORTED),
        (LoginStart(provider="gemini", timeout=0), ErrorCode.BAD_REQUEST),
        (LoginStart(provider="gemini", timeout=1e9), ErrorCode.BAD_REQUEST),
        (LoginStart(provider="gemini", timeout=float("nan")), ErrorCode.BAD_REQUEST),
        (LoginStart(provider="gemini", label="a/b"), ErrorCode.BAD_REQUEST),
        (LoginStart(provider="gemini", project=""), ErrorCode.BAD_REQUEST),
        (LoginStart(provider="gemini", project="a\nb"), ErrorCode.BAD_REQUEST),
    ],
)
async def test_a_start_that_cannot_be(world: World, start: LoginStart, code: ErrorCode) -> None:
    await refused(world.logins.start(start), code)


@pytest.mark.parametrize(
    ("provider", "hint"),
    [("gemini-api", "ccs-broker add-key gemini-api"), ("vertex", "ccs-broker import vertex --file KEY.json")],
)
async def test_where_there_is_no_login_the_way_in_is_told(world: World, provider: str, hint: str) -> None:
    error = await refused(world.logins.start(LoginStart(provider=provider)), ErrorCode.UNSUPPORTED)
    assert error.detail == f"there is no login at {provider}"
    assert error.hint.endswith(hint)


async def test_too_many_logins_are_refused_and_ended_ones_do_not_count(world: World) -> None:
    views = [await world.logins.start(GENERIC) for _ in range(MAX_LOGINS)]
    await refused(world.logins.start(GENERIC), ErrorCode.TOO_MANY)
    await world.logins.cancel(views[0].id)
    assert (await world.logins.start(GENERIC)).state == "waiting"


async def test_an_unknown_login(world: World) -> None:
    await refused(world.logins.follow("nope"), ErrorCode.UNKNOWN_LOGIN)
    await refused(world.logins.finish("nope", Secret("fake-code")), ErrorCode.UNKNOWN_LOGIN)


async def test_without_endpoints_there_is_no_login(world: World, tmp_path: Path) -> None:
    config = parse(b'[providers.acme]\nkind="oauth2"\nclient_id="me"\ntoken_url="https://x.example/t"')
    clients = Clients(config.providers, [tmp_path], world.transport, world.clock, {"HOME": str(tmp_path)})
    logins = Logins(build(config.providers), clients, world.transport, world.clock, SystemChance(), world.keeper)
    error = await refused(logins.start(LoginStart(provider="acme")), ErrorCode.MISCONFIGURED)
    assert "authorize_url" in error.detail


async def test_an_issuer_without_metadata_is_told(world: World, tmp_path: Path) -> None:
    text = f'[providers.acme]\nkind="oauth2"\nclient_id="me"\nissuer="{world.sandbox.url}/nowhere"'
    config = parse(text.encode())
    clients = Clients(config.providers, [tmp_path], world.transport, world.clock, {"HOME": str(tmp_path)})
    logins = Logins(build(config.providers), clients, world.transport, world.clock, SystemChance(), world.keeper)
    await refused(logins.start(LoginStart(provider="acme")), ErrorCode.MISCONFIGURED)


# --- what never leaves ---


async def test_no_view_and_no_log_holds_a_secret(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    view = await world.logins.start(GENERIC)
    session = world.logins._sessions[view.id]
    assert isinstance(session.way, ByCode)
    location = await world.approve(view)
    code = parse_qs(urlsplit(location).query)["code"][0]
    _, page = await world.visit(view)
    done = await world.end(view)
    tokens = world.keeper.kept[0][0].tokens
    hidden = [session.way.authorization.verifier, tokens.access_token, tokens.refresh_token, tokens.id_token]
    shown = json.dumps([json.loads(encode(one)) for one in (view, done)]) + page
    for secret in hidden:
        assert secret is not None
        assert secret.reveal() not in shown + caplog.text
    assert code not in shown + caplog.text
    assert session.way.authorization.state.reveal() not in caplog.text + page


async def test_a_login_without_a_refresh_token_says_so(world: World) -> None:
    world.sandbox.change(refresh_given="offline")
    view = await world.logins.start(GENERIC)
    await world.visit(view)
    done = await world.end(view)
    assert done.state == "done"
    assert any("no refresh token" in note for note in done.notes)
