import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from broker.config import Config, ProviderConfig, StoreConfig
from broker.login.clients import Clients
from broker.login.credentials import Credentials, file_of
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.oauth.messages import HttpResponse
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
    """A finder of clients over an empty home, with a file of registrations."""

    def __init__(self, home: Path, tables: Mapping[str, ProviderConfig] | None = None) -> None:
        self.path = home / "provider-credentials.json"
        self.registry = build(tables or {})
        self.transport = ScriptedTransport()
        credentials = Credentials(self.path, self.registry.names, tables or {})
        env = {"HOME": str(home), "PATH": ""}
        self.clients = Clients(tables or {}, [home / "auth"], self.transport, FakeClock(), env, credentials)

    def write(self, document: object, mode: int = 0o600) -> None:
        """Put the file there in one step, as an editor does."""
        made = self.path.with_suffix(".new")
        made.write_text(json.dumps(document))
        made.chmod(mode)
        made.replace(self.path)

    def provider(self, name: str = "gemini") -> Provider:
        return self.registry.get(name)


async def test_without_the_file_all_is_as_built_in(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert await desk.clients.resolve(desk.provider()) == desk.provider()
    with pytest.raises(BrokerError, match=r"provider-credentials\.json"):
        await desk.clients.find(desk.provider())


async def test_a_secret_for_the_built_in_client(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write({"gemini": {"clientSecret": "fake-secret"}})
    assert await desk.clients.find(desk.provider()) == Client(CLIENT_ID, Secret("fake-secret"))


async def test_a_registration_of_one_s_own(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write({"gemini": {"clientId": "mine", "clientSecret": "fake-secret"}})
    assert await desk.clients.find(desk.provider()) == Client("mine", Secret("fake-secret"))
    resolved = await desk.clients.resolve(desk.provider(), login=True)
    assert resolved.client_id == "mine"


async def test_a_grant_of_another_client_is_not_given_the_file_s_secret(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write({"gemini": {"clientId": "mine", "clientSecret": "fake-secret"}})
    carried = Client("theirs", Secret("fake-theirs"))
    assert await desk.clients.find(desk.provider(), carried) == carried


async def test_the_config_counts_before_the_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("fake-config")
    secret.chmod(0o600)
    url = "https://config.example/token"
    table = ProviderConfig(client_id="config", client_secret_file=str(secret), token_url=url)
    desk = Desk(tmp_path, {"gemini": table})
    desk.write(
        {
            "gemini": {
                "clientId": "file",
                "clientSecret": "fake-file",
                "tokenUrl": "https://file.example/t",
                "refreshUrl": "https://file.example/r",
            }
        }
    )
    assert await desk.clients.find(desk.provider()) == Client("config", Secret("fake-config"))
    assert (await desk.clients.resolve(desk.provider())).endpoints.token_url == url


async def test_a_secret_of_the_file_s_client_is_not_used_for_the_config_s(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"gemini": ProviderConfig(client_id="config")})
    desk.write({"gemini": {"clientId": "file", "clientSecret": "fake-file"}})
    with pytest.raises(BrokerError):
        await desk.clients.find(desk.provider())


async def test_a_refresh_address_is_for_renewals_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write({"gemini": {"authUrl": "https://own.example/a", "refreshUrl": "https://own.example/r"}})
    login = (await desk.clients.resolve(desk.provider(), login=True)).endpoints
    assert (login.authorize_url, login.token_url) == ("https://own.example/a", desk.provider().endpoints.token_url)
    assert (await desk.clients.resolve(desk.provider())).endpoints.token_url == "https://own.example/r"


async def test_a_token_address_is_for_both(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write({"gemini": {"tokenUrl": "https://own.example/t"}})
    for login in (True, False):
        endpoints = (await desk.clients.resolve(desk.provider(), login=login)).endpoints
        assert endpoints.token_url == "https://own.example/t"


async def test_what_the_file_leaves_out_is_still_discovered(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"acme": OWN})
    desk.write({"acme": {"tokenUrl": "https://own.example/t"}})
    desk.transport.script.append(METADATA)
    endpoints = (await desk.clients.resolve(desk.provider("acme"))).endpoints
    assert (endpoints.authorize_url, endpoints.token_url) == (f"{ISSUER}/a", "https://own.example/t")


async def test_a_secret_makes_a_generic_client_confidential(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"acme": OWN})
    assert await desk.clients.find(desk.provider("acme")) == Client("me")
    desk.write({"acme": {"clientSecret": "fake-secret"}})
    assert await desk.clients.find(desk.provider("acme")) == Client("me", Secret("fake-secret"))


async def test_a_change_is_taken_up_and_so_is_its_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for secret in ("fake-1", "fake-22"):
        desk.write({"gemini": {"clientSecret": secret}})
        assert (await desk.clients.find(desk.provider())).secret == Secret(secret)
    desk.path.unlink()
    with pytest.raises(BrokerError):
        await desk.clients.find(desk.provider())


async def test_a_file_open_to_others_is_not_used_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(tmp_path)
    desk.write({"gemini": {"clientSecret": "fake-secret"}}, mode=0o644)
    for _ in range(2):
        with pytest.raises(BrokerError, match=f"chmod 600 {desk.path}"):
            await desk.clients.find(desk.provider())
    assert len([each for each in caplog.records if "is not used" in each.message]) == 1
    desk.path.chmod(0o600)
    assert (await desk.clients.find(desk.provider())).secret == Secret("fake-secret")


async def test_a_broken_file_is_told_once_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path)
    desk.write({"gemini": {"clientSecret": 1}, "nobody": {}})
    for _ in range(2):
        assert await desk.clients.resolve(desk.provider()) == desk.provider()
    told = [each.message for each in caplog.records]
    assert len(told) == 2
    assert any("gemini.clientSecret is not text" in each for each in told)
    assert any("no provider 'nobody'" in each for each in told)


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(tmp_path)
    desk.path.symlink_to(tmp_path / "elsewhere")
    assert await desk.clients.resolve(desk.provider()) == desk.provider()
    os.mkfifo(tmp_path / "elsewhere", 0o600)
    assert await desk.clients.resolve(desk.provider()) == desk.provider()
    assert "is not a regular file" in caplog.text


def test_the_file_lies_beside_the_config_unless_that_names_another(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "conf")}
    assert file_of(Config(), env) == tmp_path / "conf/ccs-broker/provider-credentials.json"
    named = Config(store=StoreConfig(provider_credentials="~/mine.json"))
    assert file_of(named, env) == tmp_path / "mine.json"
