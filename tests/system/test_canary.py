"""Promise P1: at debug level, on every way a secret comes in or is made, none is written anywhere but into the files that are there to hold it."""

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp

from broker.cli.demo.stage import Stage, headers
from broker.cli.demo.steps import chat, stream
from broker.ipc.client import BrokerClient
from broker.ipc.schema import KeyAdd, LoginStart, LoginView, Report
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from tests.fakes.vendors.claude import ClaudeVendor
from tests.fakes.vendors.copilot import CopilotVendor
from tests.fakes.vendors.kiro import KiroVendor
from tests.fakes.vendors.server import Fault, VendorServer
from tests.fakes.vendors.vertex import VertexVendor, key_file
from tests.system.conftest import staged

DEBUG = '[logging]\nlevel = "debug"\nformat = "json"'
# Names of fields that hold a secret, in auth files and in requests, however they are spelt. A `code` is an authorization code.
SECRET_FIELD = re.compile(r"(?i)(token|secret|(private|api)_?key|code|verifier|assertion)$")
HARMLESS_FIELD = {"user_code", "userCode"}


def secret_values(document: object, name: str = "") -> Iterator[str]:
    """Every secret in a document. Of a text of several lines the longest: line ends are written in more than one way."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from secret_values(value, str(key))
    elif isinstance(document, list):
        for value in document:
            yield from secret_values(value, name)
    elif isinstance(document, str) and SECRET_FIELD.search(name) and name not in HARMLESS_FIELD and len(document) >= 8:
        yield max(document.splitlines(), key=len)


def in_files(stage: Stage) -> set[str]:
    return {value for path in stage.auth_dir.glob("*.json") for value in secret_values(json.loads(path.read_bytes()))}


def written(stage: Stage, holders: set[Path]) -> dict[str, str]:
    """All text below the home but the files that are there to hold secrets; and what the processes were started with."""
    found = {
        str(path.relative_to(stage.home)): path.read_bytes().decode(errors="replace")
        for path in stage.home.rglob("*")
        if path.is_file() and path not in holders and stage.auth_dir not in path.parents
    }
    for name, process in stage.processes.items():
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (process.pid, *children):
            for what in ("cmdline", "environ"):
                found[f"{what} of the {name} ({pid})"] = Path(f"/proc/{pid}/{what}").read_text()
    return found


def nowhere(secrets: set[str], texts: Mapping[str, str]) -> None:
    for where, text in texts.items():
        for value in secrets:
            assert value not in text, f"{value[:24]}… stands in {where}"


async def said(stage: Stage, *arguments: str, stdin: str = "") -> str:
    """What a command prints, on both streams."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "broker", *arguments, env=stage.env, stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    text, _ = await command.communicate(stdin.encode())
    return text.decode()


PROXY_KEYS = {"fake-key-of-the-proxy", "fake-key-that-is-wrong"}


async def test_no_secret_of_a_proxied_gemini_account_is_written_anywhere() -> None:
    proxy = '[proxy]\napi_keys = ["fake-key-of-the-proxy"]\nworkers = 2\n\n[request_log]\nenabled = true'
    async with staged(config=f"{DEBUG}\n\n{proxy}") as stage, stage.client() as client:
        seen = in_files(stage) | PROXY_KEYS
        await chat(stage, lambda _: None)
        await stream(stage, lambda _: None)
        lease = await client.lease("gemini")
        await client.report(Report(account=lease.account, generation=lease.generation, outcome="rejected"))
        seen |= in_files(stage)
        await client.refresh("gemini/alice@example.com")
        seen |= in_files(stage) | {stage.home.joinpath("client-secret").read_text().strip()}
        await chat(stage, lambda _: None)
        views = {path: await (await _get(stage, path)).text() for path in ("/health", "/v1/models")}
        for key in PROXY_KEYS:
            views |= {
                f"models for {key[-5:]}": await (await _get(stage, f"/v1beta/models?key={key}", plain=True)).text()
            }
        seen |= await _repeat_secrets(stage, seen)
        views["what the config is said to be"] = await said(stage, "config", "show")
        views["what the daemon says of the config"] = await said(stage, "config", "show", "--effective", "--json")
        assert len(seen) >= 9
        texts = written(stage, {stage.home / "client-secret", stage.config_file})
        assert sum(where.startswith("cmdline of the proxy") for where in texts) == 3
        assert "refresh ended" in texts["serve.log"]
        assert sum(where.endswith("upstream-request-1") for where in texts) == 4
        nowhere(seen, texts | views | {"accounts": repr(await client.accounts())})


async def _repeat_secrets(stage: Stage, seen: set[str]) -> set[str]:
    """Ask with a key and every token in as many places as a client has; wait until all requests are in the request log."""
    token = json.loads(next(stage.auth_dir.glob("*.json")).read_bytes())["token"]["access_token"]
    own = {"fake-cookie-value", "fake-password-in-a-tool"}
    tool = json.dumps({"password": "fake-password-in-a-tool", "access_token": token})
    said = f"{token} fake-key-of-the-proxy {tool} {json.dumps(tool)} {'x' * 4090} {token}"
    sent = {"Cookie": "session=fake-cookie-value", "X-Other": token}
    url = f"{stage.proxy_url}/v1beta/models/gemini-2.5-flash:generateContent?key=fake-key-of-the-proxy"
    body = {"contents": [{"role": "user", "parts": [{"text": said}]}]}
    assert token in seen
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=sent) as answer:
        assert answer.status == 200, await answer.text()
    folder = stage.home / "state" / "ccs-broker-proxy" / "request-log"
    async with asyncio.timeout(20):
        while len(list(folder.glob("2*"))) < 4:
            await asyncio.sleep(0.02)
    return own


async def _get(stage: Stage, path: str, *, plain: bool = False) -> aiohttp.ClientResponse:
    sent = {} if plain else headers()
    async with aiohttp.ClientSession() as session, session.get(stage.proxy_url + path, headers=sent) as answer:
        await answer.read()
        return answer


class Vendors:
    """The vendors' servers, each with secrets of its own shape, and what was sent to them."""

    def __init__(self) -> None:
        self.claude, self.copilot, self.kiro, self.vertex = (
            ClaudeVendor(),
            CopilotVendor(),
            KiroVendor(),
            VertexVendor(),
        )
        self.all: tuple[VendorServer, ...] = (self.claude, self.copilot, self.kiro, self.vertex)

    def sent(self) -> set[str]:
        """Codes, verifiers, device codes, assertions, client secrets, refresh tokens."""
        return {value for vendor in self.all for each in vendor.seen for value in secret_values(dict(each.fields))}


async def ended(client: BrokerClient, view: LoginView) -> LoginView:
    while view.state in {"waiting", "finishing"}:
        view = await client.login(view.id, wait=10)
    assert view.state == "done", view.problem
    return view


async def log_in_everywhere(client: BrokerClient, vendors: Vendors) -> set[str]:
    """By a pasted code, by device codes, by a callback; return the codes."""
    pasted = await client.start_login(LoginStart(provider="claude", callback=False))
    code = await vendors.claude.approve(str(pasted.url))
    await ended(client, await client.finish_login(pasted.id, Secret(code)))
    devices = {
        vendor: await client.start_login(LoginStart(provider=vendor.name, flow="device"))
        for vendor in (vendors.copilot, vendors.kiro)
    }
    for vendor, view in devices.items():
        await vendor.approve_device(str(view.user_code))
    for view in devices.values():
        await ended(client, view)
    async with aiohttp.ClientSession() as browser:
        view = await client.start_login(LoginStart(provider="sandbox"))
        async with browser.get(str(view.url)) as page:
            assert "code" not in await page.text()
        await ended(client, view)
    return {code.partition("#")[0], page.url.query["code"]}


async def take_over(stage: Stage, client: BrokerClient, vendors: Vendors) -> set[Path]:
    """Share Claude Code's login of somebody else, and take in a service account's key; returns the files they lie in."""
    refresh = vendors.claude.fresh("refresh-of-claude-code")
    access = vendors.claude.fresh("access-of-claude-code")
    vendors.claude.refreshes.add(refresh)
    native, key = stage.home / ".claude" / ".credentials.json", stage.home / "service-account.json"
    native.parent.mkdir(mode=0o700)
    grant = {
        "accessToken": access,
        "refreshToken": refresh,
        "expiresAt": 4_000_000_000_000,
        "scopes": ["user:inference"],
    }
    native.write_text(json.dumps({"claudeAiOauth": grant}))
    profile = {"oauthAccount": {"emailAddress": "bob@example.com", "accountUuid": "3333", "organizationUuid": "4444"}}
    (stage.home / ".claude.json").write_text(json.dumps(profile))
    key.write_text(json.dumps(key_file()))
    native.chmod(0o600)
    key.chmod(0o600)
    output = await said(stage, "import", "claude-code", "--linked")
    output += await said(stage, "import", "vertex", "--file", str(key))
    assert "bob@example.com" in output
    nowhere({refresh, access, *secret_values(key_file())}, {"what import printed": output})
    await client.refresh("claude/bob@example.com")
    assert json.loads(native.read_bytes())["claudeAiOauth"]["refreshToken"] != refresh
    await client.lease("vertex")
    return {native, key}


async def refused_with_the_token_repeated(stage: Stage, client: BrokerClient, vendors: Vendors) -> None:
    """A provider whose error page repeats the refresh token, and then its error does."""
    token = json.loads(next(stage.auth_dir.glob("claude-user*.json")).read_bytes())["refresh_token"]
    refusal = json.dumps({"error": "invalid_grant", "error_description": f"no such token: {token}"})
    for fault in (Fault(400, f"<html>cannot renew {token}</html>", "text/html"), Fault(400, refusal)):
        vendors.claude.fail(vendors.claude.refresh_path, fault)
        with suppress(BrokerError):
            await client.refresh("claude/user@example.com")
    assert (await client.account("claude/user@example.com")).state == "needs_login"


def credentials_file(stage: Stage) -> Path:
    """Registrations of which some cannot be used, and are told of in the log."""
    path = stage.config_file.with_name("provider-credentials.json")
    path.touch(mode=0o600)
    told = {
        "antigravity": {"clientId": "fake-client", "clientSecret": "fake-registered-secret"},
        "nobody": {"clientSecret": "fake-secret-of-nobody"},
        "kimi": {"clientSecret": ["fake-secret-in-a-list"], "client_secrets": "fake-secret-misspelt"},
    }
    path.write_text(json.dumps(told))
    return path


async def test_no_secret_of_any_kind_of_login_is_written_anywhere() -> None:
    vendors = Vendors()
    async with AsyncExitStack() as stack:
        for vendor in vendors.all:
            await stack.enter_async_context(vendor)
        config = "\n\n".join([DEBUG, *(vendor.config(Path()) for vendor in vendors.all)])
        stage = await stack.enter_async_context(staged(config=config, logged_in=False, proxy=False))
        client = await stack.enter_async_context(stage.client())

        registered = credentials_file(stage)
        await client.add_key(KeyAdd(provider="openai-api", key=Secret("fake-key-given-by-socket")))
        output = await said(stage, "add-key", "anthropic-api", stdin="fake-key-given-by-pipe\n")
        seen = await log_in_everywhere(client, vendors) | in_files(stage)
        holders = await take_over(stage, client, vendors) | {stage.home / "client-secret", registered}
        for account in await client.accounts():
            if account.renewable:
                await client.refresh(account.account)
                seen |= in_files(stage)
        await refused_with_the_token_repeated(stage, client, vendors)
        for query in (["list"], ["status", "--json"], ["quota"], ["doctor", "--json"], ["config", "show"]):
            output += await said(stage, *query)
        assert output.count("needs_login") > 1

        seen |= vendors.sent() | {stage.home.joinpath("client-secret").read_text().strip()}
        assert {"fake-key-given-by-socket", "fake-key-given-by-pipe", "fake-device", "fake-device-code"} <= seen
        assert len(seen) > 30
        seen |= set(re.findall(r"fake-[a-z-]*secret[a-z-]*", registered.read_text()))
        views = {"accounts": repr(await client.accounts()), "what commands printed": output}
        texts = written(stage, {*holders, stage.home / "api-key"})
        assert "nobody" in texts["serve.log"]
        nowhere(seen, texts | views)
