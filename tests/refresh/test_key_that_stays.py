"""A vendor whose renewals may leave what is leased as it is: the new end must be learned all the same, on disk and in memory."""

import json
from pathlib import Path

from broker.config import RefreshConfig
from broker.model.account import AccountId, Active
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.providers.base import Client, Provider
from broker.providers.registry import build
from broker.refresh.engine import Engine
from broker.store.store import FileStore
from tests.fakes.clock import START_WALL, FakeChance, LiveClock
from tests.fakes.token_endpoint import Heard, answer

ACCOUNT = AccountId("iflow", "user@example.com")
LIFETIME = 172_800


class IFlow:
    """Gives a new account token each time, the same refresh token and the same key."""

    def __init__(self) -> None:
        self.renewals = 0

    def on_behalf(self, provider: str, own: object = None) -> "IFlow":
        return self

    async def send(self, request: HttpRequest, *, heard: Heard = None, **_: object) -> HttpResponse:
        if request.method == "GET":
            return answer(success=True, data={"apiKey": "fake-key"})
        self.renewals += 1
        said = answer(access_token=f"fake-account-{self.renewals}", expires_in=LIFETIME)
        if heard is not None:
            heard(said)
        return said


class Clients:
    async def find(self, provider: Provider, carried: Client | None) -> Client:
        return Client(provider.client_id, Secret("fake-client-key"))

    async def resolve(self, provider: Provider) -> Provider:
        return provider

    def forget(self, provider: str) -> None:
        raise AssertionError


async def test_the_new_end_of_a_key_that_stays_is_stored_and_believed(tmp_path: Path) -> None:
    auth = tmp_path / "auth"
    auth.mkdir(mode=0o700)
    path = auth / "iflow-user.json"
    path.write_text(
        json.dumps(
            {
                "type": "iflow",
                "access_token": "fake-account-0",
                "refresh_token": "fake-refresh",
                "api_key": "fake-key",
                "email": ACCOUNT.label,
                "expired": "2025-01-01T00:00:00Z",
            }
        )
    )
    path.chmod(0o600)
    clock, chance, registry, vendor = LiveClock(), FakeChance(0.0), build({}), IFlow()
    store = FileStore([auth], registry, tmp_path / "state", clock, chance)
    await store.open()
    engine = Engine(store, registry, vendor, Clients(), clock, chance, RefreshConfig(ahead=False))
    await engine.start()
    grant = await engine.lease(ACCOUNT, min_validity=60.0, max_wait=10.0)
    assert grant.tokens.expires_at == START_WALL + LIFETIME
    assert grant.tokens.access_token == Secret("fake-key")
    await engine.lease(ACCOUNT, min_validity=60.0, max_wait=10.0)
    assert vendor.renewals == 1
    assert engine.state(ACCOUNT) == Active()
    assert json.loads(path.read_text())["access_token"] == "fake-account-1"
    await engine.stop()
    await store.close()
