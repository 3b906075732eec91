"""The device flow, step by step."""

import pytest

from broker.model.clock import Now
from broker.sandbox.devices import Decision, DevicePolicy, Devices
from broker.sandbox.grants import Client, GrantError, Grants, Policy
from tests.fakes.clock import FakeChance

CLIENT = Client("cli")


def at(seconds: float) -> Now:
    return Now(0, 100 + seconds)


@pytest.fixture
def grants() -> Grants:
    made = Grants(Policy(), FakeChance())
    made.add_client(CLIENT)
    return made


@pytest.fixture
def devices() -> Devices:
    return Devices(DevicePolicy(interval=5, lifetime=60), FakeChance(0.1, 0.2, 0.3, 0.4, 0.7, 0.9, 0.99))


def refused(error: str):
    return pytest.raises(GrantError, check=lambda e: e.error == error)


def test_approval(grants, devices):
    start = devices.start(CLIENT, ("a",), at(0))
    assert (start.interval, start.expires_in) == (5, 60)
    assert len(start.user_code) == 9
    with refused("authorization_pending"):
        devices.poll(grants, CLIENT, start.device_code, at(5))
    assert devices.decide(start.user_code.lower().replace("-", " "), Decision.APPROVED, "a@example.com", at(6))
    assert not devices.decide(start.user_code, Decision.DENIED, "b@example.com", at(7))
    issued = devices.poll(grants, CLIENT, start.device_code, at(10))
    assert (issued.user, issued.scopes) == ("a@example.com", ("a",))
    with refused("invalid_grant"):
        devices.poll(grants, CLIENT, start.device_code, at(15))


def test_impatience_makes_the_interval_grow(grants, devices):
    start = devices.start(CLIENT, (), at(0))
    with refused("authorization_pending"):
        devices.poll(grants, CLIENT, start.device_code, at(0))
    with refused("slow_down"):
        devices.poll(grants, CLIENT, start.device_code, at(4.9))
    with refused("slow_down"):  # 10 seconds by now
        devices.poll(grants, CLIENT, start.device_code, at(14.8))
    with refused("authorization_pending"):  # 15
        devices.poll(grants, CLIENT, start.device_code, at(29.8))


def test_denial_expiry_and_strangers(grants, devices):
    denied = devices.start(CLIENT, (), at(0))
    assert devices.decide(denied.user_code, Decision.DENIED, "a@example.com", at(1))
    with refused("invalid_grant"):
        devices.poll(grants, Client("other"), denied.device_code, at(5))
    with refused("access_denied"):
        devices.poll(grants, CLIENT, denied.device_code, at(5))
    late = devices.start(CLIENT, (), at(0))
    assert not devices.decide(late.user_code, Decision.APPROVED, "a@example.com", at(60))
    with refused("expired_token"):
        devices.poll(grants, CLIENT, late.device_code, at(60))
    assert not devices.decide("NONE-SUCH", Decision.APPROVED, "a@example.com", at(0))
