"""The world keeps its parts in step."""

from broker.sandbox.devices import DevicePolicy
from broker.sandbox.settings import SandboxSettings
from broker.sandbox.world import CLIENT_ID, PUBLIC_CLIENT_ID, build
from tests.fakes.clock import FakeChance, FakeClock


def test_settings_reach_every_part():
    world = build(SandboxSettings(), FakeClock(), FakeChance())
    secret = world.grants.client(CLIENT_ID).secret
    assert secret == world.client_secret
    settings = SandboxSettings(access_lifetime=1, device_interval=2, redirect_uris=("https://x/",), onboarded=True)
    world.apply(settings)
    assert world.grants.policy.access_lifetime == 1
    assert world.devices.policy == DevicePolicy(2)
    assert world.companions.settings is settings
    assert world.grants.client(CLIENT_ID).redirect_uris == ("https://x/",)
    assert world.grants.client(CLIENT_ID).secret == secret
    assert world.grants.client(PUBLIC_CLIENT_ID).secret is None


def test_users_take_turns_and_answers_have_ids_of_their_own():
    world = build(SandboxSettings(users=("a", "b")), FakeClock(), FakeChance())
    assert [world.next_user() for _ in range(3)] == ["a", "b", "a"]
    assert world.response_id() != world.response_id()
    assert world.client_secret != world.api_key
