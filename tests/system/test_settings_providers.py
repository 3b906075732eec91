"""Settings of providers: seen in what the OAuth server is asked, and in what the daemon says."""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from broker.cli.demo.stage import DemoFailedError, Stage
from broker.ipc.client import BrokerClient
from broker.ipc.schema import LoginStart, LoginView
from broker.model.errors import BrokerError
from tests.system.conftest import staged
from tests.system.settings_table import covers
from tests.system.test_one_post import refresh_posts


async def requests_seen(stage: Stage) -> list[Mapping[str, object]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{stage.sandbox_url}/sandbox/requests?last=500") as answer,
    ):
        found: list[Mapping[str, object]] = await answer.json()
        return found


async def paths_seen(stage: Stage) -> set[str]:
    return {str(each["path"]) for each in await requests_seen(stage)}


async def approve(client: BrokerClient, provider: str) -> tuple[LoginView, dict[str, list[str]]]:
    """Log in as a browser would; return how it ended, and the authorization request's parameters."""
    view = await client.start_login(LoginStart(provider=provider))
    asked = parse_qs(urlsplit(str(view.url)).query)
    async with aiohttp.ClientSession() as browser, browser.get(str(view.url)) as page:
        await page.read()
    while view.state in {"waiting", "finishing"}:
        view = await client.login(view.id, wait=5)
    return view, asked


@covers("providers.kind", "providers.title", "providers.issuer", "providers.scopes", "providers.extra_params")
async def test_a_provider_of_the_users_own_is_discovered_and_logged_in_to() -> None:
    config = '[providers.sandbox]\ntitle = "My Own"\nextra_params = { audience = "demo" }'
    async with staged(config=config, logged_in=False, proxy=False) as stage, stage.client() as client:
        named = {each.name: each.title for each in (await client.health()).providers}
        assert named["sandbox"] == "My Own"
        view, asked = await approve(client, "sandbox")
        assert view.account == "sandbox/alice@example.com"
        assert "/.well-known/oauth-authorization-server" in await paths_seen(stage)
        assert asked["scope"] == ["openid email"]
        assert asked["audience"] == ["demo"]
        assert asked["code_challenge_method"] == ["S256"]
        assert (await client.lease("sandbox")).access_token


@covers(
    "providers.authorize_url",
    "providers.token_url",
    "providers.api_url",
    "providers.client_id",
)
async def test_every_built_in_endpoint_can_be_moved() -> None:
    async with staged(logged_in=False, proxy=False) as stage, stage.client() as client:
        view, asked = await approve(client, "gemini")
        assert view.state == "done"
        assert str(view.url).startswith(stage.sandbox_url) or asked
        seen = await paths_seen(stage)
        assert {"/authorize", "/token", "/v1internal:loadCodeAssist"} <= seen
        assert asked["client_id"][0] in stage.config_file.read_text()


@covers("providers.revoke_url")
@pytest.mark.parametrize("known", [True, False])
async def test_logout_revokes_where_the_provider_can(known: bool) -> None:
    async with staged(proxy=False) as stage, stage.client() as client:
        if not known:
            await stage.stop("daemon")
            text = stage.config_file.read_text()
            stage.config_file.write_text(text.replace(f"{stage.sandbox_url}/revoke", f"{stage.sandbox_url}/elsewhere"))
            await stage.start_daemon()
        await client.logout("gemini/alice@example.com")
        assert ("/revoke" in await paths_seen(stage)) is known
        assert not list(stage.auth_dir.glob("*.json"))


@covers("providers.client_secret_file")
async def test_a_wrong_secret_is_a_fault_of_the_configuration() -> None:
    async with staged(proxy=False) as stage, stage.client() as client:
        (stage.home / "client-secret").write_text("fake-wrong-secret\n")
        await stage.stop("daemon")
        await stage.start_daemon()
        with pytest.raises(BrokerError) as caught:
            await client.refresh("gemini/alice@example.com")
        assert caught.value.code.value == "misconfigured"
        assert (await client.lease("gemini")).access_token


@covers("providers.client_secret_env")
async def test_the_secret_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(logged_in=False, proxy=False) as stage, stage.client() as client:
        await stage.stop("daemon")
        secret = stage.home / "client-secret"
        stage.extra_env["MY_CLIENT_SECRET"] = secret.read_text().strip()
        text = stage.config_file.read_text()
        stage.config_file.write_text(
            text.replace(f'client_secret_file = "{secret}"', 'client_secret_env = "MY_CLIENT_SECRET"')
        )
        await stage.start_daemon()
        assert (await approve(client, "sandbox"))[0].state == "done"


@covers("store.provider_credentials")
async def test_a_registration_may_come_from_a_file_of_its_own_that_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "registrations.json"

    def register(**entry: str) -> None:
        path.with_suffix(".new").touch(mode=0o600)
        path.with_suffix(".new").write_text(json.dumps({"sandbox": entry}))
        path.with_suffix(".new").replace(path)

    config = f'[store]\nprovider_credentials = "{path}"'
    async with staged(config=config, logged_in=False, proxy=False) as stage, stage.client() as client:
        await stage.stop("daemon")
        secret = stage.home / "client-secret"
        register(clientSecret=secret.read_text().strip())
        stage.config_file.write_text(stage.config_file.read_text().replace(f'client_secret_file = "{secret}"', ""))
        await stage.start_daemon()
        assert (await approve(client, "sandbox"))[0].state == "done"
        assert (await client.refresh("sandbox/alice@example.com")).state == "active"
        register(clientSecret=secret.read_text().strip(), refreshUrl=f"{stage.sandbox_url}/elsewhere")
        with pytest.raises(BrokerError, match="404"):
            await client.refresh("sandbox/alice@example.com")


@covers("providers.client_auth")
@pytest.mark.parametrize("method", ["basic", "post"])
async def test_the_client_proves_itself_as_it_is_told(method: str) -> None:
    config = f'[providers.sandbox]\nclient_auth = "{method}"'
    async with staged(config=config, logged_in=False, proxy=False) as stage, stage.client() as client:
        assert (await approve(client, "sandbox"))[0].state == "done"
        exchange = [each for each in await requests_seen(stage) if each["path"] == "/token"][-1]
        headers, body = exchange["headers"], exchange["body"]
        assert isinstance(headers, Mapping)
        assert isinstance(body, Mapping)
        names = {name.lower() for name in headers}
        assert ("authorization" in names) is (method == "basic")
        assert ("client_secret" in body) is (method == "post")


@covers("providers.redirect_port")
async def test_the_callback_is_where_it_is_told() -> None:
    async with staged(logged_in=False, proxy=False) as stage, stage.client() as client:
        await stage.stop("daemon")
        text = stage.config_file.read_text()
        stage.config_file.write_text(text.replace("redirect_port = 0", "redirect_port = 18085", 1))
        await stage.start_daemon()
        view = await client.start_login(LoginStart(provider="gemini"))
        assert str(view.redirect_uri).startswith("http://localhost:18085/")
        await client.cancel_login(view.id)


@covers("providers.lead_seconds")
@pytest.mark.parametrize(("lead", "renewed"), [(1790, True), (60, False)])
async def test_the_lead_decides_when_a_token_is_renewed(lead: float, renewed: bool) -> None:
    # 3,600 s tokens: at most half of that is lead, so the login of just now is due at once only with the jitter on top.
    config = f"[providers.gemini]\nlead_seconds = {lead}"
    async with staged(lifetime=3600, config=config, proxy=False) as stage, stage.client() as client:
        due = (await client.accounts())[0].next_refresh
        assert due is not None
        assert (due - stage.clock.now().wall < 2000) is renewed
        await asyncio.sleep(0)
        assert await refresh_posts(stage) == 0


@covers("providers.user_agent")
async def test_requests_to_a_provider_call_themselves_as_told() -> None:
    async with staged(config='[providers.gemini]\nuser_agent = "mine/7"', proxy=False) as stage:
        seen = {
            str(each["path"]): str(dict(cast("Mapping[str, object]", each["headers"])))
            for each in await requests_seen(stage)
        }
        assert "mine/7" in seen["/token"]
        assert "mine/7" in next(headers for path, headers in seen.items() if path.endswith(":loadCodeAssist"))


@covers("providers.options")
async def test_an_option_no_login_of_the_provider_has_is_refused_at_start() -> None:
    async with staged(logged_in=False, proxy=False) as stage:
        await stage.stop("daemon")
        stage.config_file.write_text(stage.config_file.read_text() + '\n[providers.gemini.options]\ncolour = "red"\n')
        with pytest.raises(DemoFailedError):
            await stage.start_daemon()
        assert "there is no 'colour'" in stage.tail()


async def person_decides(stage: Stage, view: LoginView, decision: str) -> None:
    """Be the person at the sandbox's page for device codes."""
    form = {"user_code": str(view.user_code), "decision": decision}
    async with aiohttp.ClientSession() as person, person.post(f"{stage.sandbox_url}/device", data=form) as page:
        assert page.status == 200, await page.text()


async def hurry(stage: Stage) -> None:
    """Let the sandbox take a poll every second."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stage.sandbox_url}/sandbox/settings", json={"device_interval": 1}) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def ended(client: BrokerClient, view: LoginView) -> LoginView:
    while view.state in {"waiting", "finishing"}:
        view = await client.login(view.id, wait=5)
    return view


def own_provider(stage: Stage, name: str, keys: str) -> str:
    """Return a table of explicit URLs for a client the sandbox knows."""
    found = re.search(r'client_id = "(.+)"', stage.config_file.read_text())
    assert found is not None
    client = f'client_id = "{found[1]}"\nclient_secret_file = "{stage.home / "client-secret"}"\n'
    return f'\n[providers.{name}]\nkind = "oauth2"\n{client}token_url = "{stage.sandbox_url}/token"\n{keys}\n'


async def with_provider(stage: Stage, name: str, keys: str) -> None:
    """Restart the daemon with a provider of the user's own in its config."""
    await stage.stop("daemon")
    with stage.config_file.open("a") as config:
        config.write(own_provider(stage, name, keys))
    await stage.start_daemon()


async def test_a_login_by_device_code_goes_to_the_device_endpoint_the_issuer_names() -> None:
    async with staged(logged_in=False, proxy=False) as stage, stage.client() as client:
        await hurry(stage)
        view = await client.start_login(LoginStart(provider="sandbox", flow="device", callback=False))
        assert (view.flow, view.url) == ("device", f"{stage.sandbox_url}/device?user_code={view.user_code}")
        await person_decides(stage, view, "approve")
        assert (await ended(client, view)).account == "sandbox/alice@example.com"
        assert {"/.well-known/oauth-authorization-server", "/device_authorization"} <= await paths_seen(stage)
        assert (await client.lease("sandbox")).access_token


@covers("providers.device_url")
async def test_a_login_by_device_code_goes_to_the_device_endpoint_of_the_config() -> None:
    async with staged(logged_in=False, proxy=False) as stage, stage.client() as client:
        await hurry(stage)
        url = f"{stage.sandbox_url}/device_authorization"
        await with_provider(stage, "acme", f'device_url = "{url}"\nscopes = ["openid", "email"]')
        flows = {each.name: each.flows for each in (await client.health()).providers}
        assert flows["acme"] == ("device", "client-credentials")
        view = await client.start_login(LoginStart(provider="acme"))
        assert (view.flow, view.redirect_uri) == ("device", None)
        await person_decides(stage, view, "deny")
        refused = await ended(client, view)
        assert refused.problem is not None
        assert refused.problem.code == "login_denied"
        view = await client.start_login(LoginStart(provider="acme"))
        await person_decides(stage, view, "approve")
        assert (await ended(client, view)).account == "acme/alice@example.com"
        assert not any("well-known" in path for path in await paths_seen(stage))
        assert (await client.lease("acme")).access_token


@covers("providers.userinfo_url")
@pytest.mark.parametrize("known", [True, False])
async def test_who_logged_in_is_asked_at_the_userinfo_endpoint(known: bool) -> None:
    # Without `openid` there is no ID token that would tell.
    async with staged(logged_in=False, proxy=False) as stage, stage.client() as client:
        keys = f'authorize_url = "{stage.sandbox_url}/authorize"\nscopes = ["email"]\n'
        await with_provider(stage, "acme", keys + (f'userinfo_url = "{stage.sandbox_url}/userinfo"' if known else ""))
        view, asked = await approve(client, "acme")
        assert asked["scope"] == ["email"]
        assert view.state == "done"
        assert ("/userinfo" in await paths_seen(stage)) is known
        assert (view.account == "acme/alice@example.com") is known
