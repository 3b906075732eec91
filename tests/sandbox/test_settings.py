"""Settings are checked as a whole, whatever changes."""

import msgspec
import pytest

from broker.sandbox.devices import DevicePolicy
from broker.sandbox.grants import Policy, RefreshGiven, Rotation
from broker.sandbox.settings import SandboxSettings, changed


def test_defaults_are_the_policies_defaults():
    assert SandboxSettings().policy() == Policy()
    assert SandboxSettings().device_policy() == DevicePolicy()


def test_every_policy_field_follows_its_setting():
    settings = SandboxSettings(
        access_lifetime=1,
        rotate=Rotation.OFF,
        grace_seconds=2,
        code_lifetime=3,
        require_pkce=True,
        refresh_given=RefreshGiven.OFFLINE,
        device_interval=4,
        device_lifetime=5,
    )
    assert settings.policy() == Policy(1, Rotation.OFF, 2, 3, True, RefreshGiven.OFFLINE)
    assert settings.device_policy() == DevicePolicy(4, 5)


def test_a_change_keeps_the_rest():
    before = SandboxSettings(users=("b@example.com",))
    after = changed(before, {"rotate": "on", "access_lifetime": 2})
    assert after == SandboxSettings(users=("b@example.com",), rotate=Rotation.ON, access_lifetime=2)


@pytest.mark.parametrize(
    "bad",
    [
        {"users": []},
        {"access_lifetime": 0},
        {"grace_seconds": -1},
        {"shape": "round"},
        {"surplus": 1},
        {"quota_requests": -1},
    ],
)
def test_nonsense_is_refused(bad):
    with pytest.raises(msgspec.ValidationError):
        changed(SandboxSettings(), bad)
