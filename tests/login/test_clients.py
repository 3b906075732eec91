import errno
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from broker.config import ProviderConfig
from broker.login.clients import Clients
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import HttpResponse
from broker.providers import antigravity
from broker.providers.base import Client, Provider
from broker.providers.gemini import CLIENT_ID
from broker.providers.registry import build
from tests.fakes.clock import FakeClock
from tests.fakes.transport import ScriptedTransport

ISSUER = "https://idp.example.com"
OWN = ProviderConfig(kind="oauth2", issuer=ISSUER, client_id="me")
METADATA = HttpResponse(
    200,
    body=json.dumps(
        {"issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/a", "token_endpoint": f"{ISSUER}/t"}
    ).encode(),
)


class Desk:
    """A finder over an empty home, and what it stands on."""

    def __init__(self, home: Path, tables: Mapping[str, ProviderConfig], env: Mapping[str, str] | None = None) -> None:
        self.auth = home / "auth"
        self.auth.mkdir(exist_ok=True)
        self.clock = FakeClock()
        self.transport = ScriptedTransport()
        self.registry = build(tables)
        self.env = {"HOME": str(home), "PATH": "", **(env or {})}
        self.clients = Clients(tables, [self.auth], self.transport, self.clock, self.env)

    @property
    def gemini(self) -> Provider:
        return self.registry.get("gemini")

    async def refused(self, provider: Provider, carried: Client | None = None) -> BrokerError:
        with pytest.raises(BrokerError) as caught:
            await self.clients.find(provider, carried)
        assert caught.value.code is ErrorCode.MISCONFIGURED
        return caught.value


def secret_file(folder: Path, text: str = "fake-secret\n", mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def auth_file(folder: Path, secret: str = "fake-from-file", client_id: str = CLIENT_ID) -> None:
    token = {"access_token": "fake", "client_id": client_id, "client_secret": secret}
    (folder / "gemini-a.json").write_text(json.dumps({"type": "gemini", "token": token}))


# --- the config's ---


async def test_the_secret_of_a_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(secret_file(tmp_path)))})
    assert await desk.clients.find(desk.gemini) == Client(CLIENT_ID, Secret("fake-secret"))


async def test_a_path_with_a_tilde_is_in_the_home(tmp_path: Path) -> None:
    secret_file(tmp_path)
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file="~/secret")})
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-secret")


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = secret_file(tmp_path)
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(path))})
    await desk.clients.find(desk.gemini)
    path.write_text("fake-other")
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-other")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
async def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, mode=mode)
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(path))})
    error = await desk.refused(desk.gemini)
    assert f"chmod 600 {path}" in error.detail
    assert "fake-secret" not in error.detail


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away takes root")
async def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path)
    os.chown(path, 12345, -1)
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(path))})
    assert "another user" in (await desk.refused(desk.gemini)).detail


@pytest.mark.parametrize("text", ["", "  \n", "x" * 70_000, "two\nlines"])
async def test_a_file_without_a_secret_is_refused(tmp_path: Path, text: str) -> None:
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(secret_file(tmp_path, text)))})
    await desk.refused(desk.gemini)


async def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, why in (("absent", "No such file"), ("auth", "directory"), ("pipe", "regular file")):
        desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(tmp_path / name))})
        error = await desk.refused(desk.gemini)
        assert "providers.gemini.client_secret_file" in error.detail
        assert name == "auth" or why in error.detail


async def test_a_machine_short_of_descriptors_is_no_fault_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(secret_file(tmp_path)))})

    def full(path: Path) -> Secret:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr("broker.login.clients._read_secret_file", full)
        with pytest.raises(BrokerError) as caught:
            await desk.clients.find(desk.gemini)
        assert caught.value.code is ErrorCode.REFRESH_FAILED
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-secret")


async def test_the_secret_of_a_variable(tmp_path: Path) -> None:
    table = {"gemini": ProviderConfig(client_secret_env="MINE")}
    desk = Desk(tmp_path, table, {"MINE": " fake-env "})
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-env")
    unset = Desk(tmp_path, table)
    assert "MINE, which is not set" in (await unset.refused(unset.gemini)).detail


# --- the auth file's own ---


async def test_a_grant_is_renewed_by_the_client_it_was_made_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(secret_file(tmp_path)))})
    other = Client("other", Secret("fake-other"), expires_at=1_757_776_000.0)
    assert await desk.clients.find(desk.gemini, other) == other


async def test_the_config_counts_before_the_file_for_the_same_client(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(secret_file(tmp_path)))})
    carried = Client(CLIENT_ID, Secret("fake-carried"))
    assert (await desk.clients.find(desk.gemini, carried)).secret == Secret("fake-secret")
    plain = Desk(tmp_path, {})
    assert await plain.clients.find(plain.gemini, carried) == carried


async def test_a_client_of_the_file_s_own_without_a_secret_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_secret_file=str(secret_file(tmp_path)))})
    assert "client id of its own" in (await desk.refused(desk.gemini, Client("other"))).detail


async def test_a_public_client_needs_no_secret(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"acme": OWN})
    assert await desk.clients.find(desk.registry.get("acme")) == Client("me")


async def test_without_a_client_id_there_is_no_client(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"acme": replace_id(OWN)})
    assert "client_id" in (await desk.refused(desk.registry.get("acme"))).detail


def replace_id(table: ProviderConfig) -> ProviderConfig:
    return ProviderConfig(kind=table.kind, issuer=table.issuer)


# --- looking for it ---


async def test_another_auth_file_has_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {})
    auth_file(desk.auth)
    (desk.auth / "0-broken.json").write_text("{")
    (desk.auth / "1-folder.json").mkdir()
    assert await desk.clients.find(desk.gemini, Client(CLIENT_ID)) == Client(CLIENT_ID, Secret("fake-from-file"))


async def test_an_auth_file_of_another_client_has_not(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {})
    auth_file(desk.auth, client_id="other")
    await desk.refused(desk.gemini)


async def test_an_installed_tool_has_it(tmp_path: Path) -> None:
    key = "GOC" + "SPX-" + "k" * 28
    bundle = tmp_path / "prefix/lib/node_modules/@google/gemini-cli/bundle"
    bundle.mkdir(parents=True)
    (bundle / "chunk-A.js").write_text("nothing")
    (bundle / "chunk-B.js").write_text(f'var OAUTH_CLIENT_ID = "{CLIENT_ID}";\nvar OAUTH_CLIENT_SECRET = "{key}";\n')
    desk = Desk(tmp_path, {}, {"NPM_CONFIG_PREFIX": str(tmp_path / "prefix")})
    assert (await desk.clients.find(desk.gemini)).secret == Secret(key)


async def test_a_variable_named_after_the_tool_has_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {}, {"GEMINI_CLI_OAUTH_CLIENT_SECRET": "fake-env"})
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-env")


async def test_where_it_was_looked_for_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {})
    error = await desk.refused(desk.gemini)
    for place in (str(desk.auth), "@google/gemini-cli", "@google/gemini-cli-core", "GEMINI_OAUTH_CLIENT_SECRET"):
        assert place in error.detail
    assert "client_secret_file" in error.hint


NEED_A_SECRET = [each for each in build({}) if each.needs_secret]


@pytest.mark.parametrize("provider", NEED_A_SECRET, ids=lambda each: each.name)
async def test_the_hint_names_the_page_that_says_where_a_secret_comes_from(tmp_path: Path, provider: Provider) -> None:
    error = await Desk(tmp_path, {}).refused(provider)
    [page] = re.findall(r"docs/providers\S*\.md", error.hint)
    assert page == f"docs/providers/{provider.name}.md"
    assert "## The client secret" in (Path(__file__).parents[2] / page).read_text()


async def test_the_page_of_a_provider_of_your_own_is_the_general_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"acme": ProviderConfig(kind="oauth2", client_id="me", client_secret_env="ACME")})
    assert "docs/providers.md" in (await desk.refused(desk.registry.get("acme"))).hint


async def test_what_was_found_is_remembered_and_can_be_forgotten(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {})
    auth_file(desk.auth, "fake-1")
    await desk.clients.find(desk.gemini)
    auth_file(desk.auth, "fake-2")
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-1")
    desk.clients.forget("acme")
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-1")
    desk.clients.forget("gemini")
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-2")
    auth_file(desk.auth, "fake-3")
    desk.clock.advance(601)
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-3")


async def test_what_was_not_found_is_looked_for_again_soon(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {})
    await desk.refused(desk.gemini)
    auth_file(desk.auth)
    await desk.refused(desk.gemini)
    desk.clock.advance(31)
    assert (await desk.clients.find(desk.gemini)).secret == Secret("fake-from-file")


# --- endpoints ---


async def test_discovery_is_done_once_a_day(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"acme": OWN})
    acme = desk.registry.get("acme")
    desk.transport.script = [METADATA]
    assert (await desk.clients.resolve(acme)).endpoints.token_url == f"{ISSUER}/t"
    assert (await desk.clients.resolve(acme)).endpoints.authorize_url == f"{ISSUER}/a"
    assert len(desk.transport.asked) == 1
    desk.clock.advance(86_401)
    desk.transport.script = [METADATA]
    await desk.clients.resolve(acme)
    assert len(desk.transport.asked) == 2


async def test_an_old_result_outlives_a_failing_issuer(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"acme": OWN})
    acme = desk.registry.get("acme")
    desk.transport.script = [METADATA]
    await desk.clients.resolve(acme)
    desk.clock.advance(86_401)
    desk.transport.script = [HttpResponse(503), HttpResponse(503)]
    assert (await desk.clients.resolve(acme)).endpoints.token_url == f"{ISSUER}/t"
    await desk.clients.resolve(acme)
    assert len(desk.transport.asked) == 3


async def test_without_one_the_failure_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"acme": OWN})
    desk.transport.script = [HttpResponse(404), HttpResponse(404)]
    with pytest.raises(FlowFailedError):
        await desk.clients.resolve(desk.registry.get("acme"))


async def test_a_provider_that_knows_its_endpoints_is_left_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {})
    assert await desk.clients.resolve(desk.gemini) is desk.gemini


async def test_a_compiled_program_has_it_unless_it_is_not_clear_which(tmp_path: Path) -> None:
    keys = ["GOC" + "SPX-" + letter * 28 for letter in "ab"]
    ours, other = antigravity.CLIENT_ID, f"222222222222-{'c' * 32}.apps.googleusercontent.com"
    program = tmp_path / ".local/bin/agy"
    program.parent.mkdir(parents=True)
    program.write_bytes(f"\x7fELF{ours}{other}{keys[0]}{keys[1]}".encode())
    desk = Desk(tmp_path, {})
    error = await desk.refused(desk.registry.get("antigravity"))
    assert "~/.local/bin/agy" in error.detail
    assert "the program agy on the PATH" in error.detail
    assert "ANTIGRAVITY_CLIENT_SECRET" in error.detail
    program.write_bytes(b"\x7fELF" + b"\0" * 5_000_000 + f"{ours}\0{keys[0]}\0{other}\0{keys[1]}".encode())
    desk.clock.advance(60)
    found = await desk.clients.find(desk.registry.get("antigravity"))
    assert found == Client(ours, Secret(keys[0]))


async def test_a_program_that_cannot_be_read_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / ".local/bin/agy"
    program.parent.mkdir(parents=True)
    program.touch()

    def refuse(path: Path, anchors: tuple[str, ...]) -> str:
        raise PermissionError(path)

    monkeypatch.setattr("broker.login.scan.around", refuse)
    desk = Desk(tmp_path, {})
    await desk.refused(desk.registry.get("antigravity"))
