import pytest

from broker.model.secret import Secret
from broker.providers.base import Client, FormatError, Identity
from broker.providers.native.base import Login, Refused
from broker.providers.native.xai import FORMAT
from tests.fakes.native import golden, login, refused, renewed

KEY = "https://auth.x.ai::client-1"


def test_the_golden_file() -> None:
    found = login(FORMAT, golden("xai", "auth.json"))
    assert found.tokens.access_token == Secret("fake-access-1")
    assert found.tokens.refresh_token == Secret("fake-refresh-1")
    assert found.tokens.last_refresh is not None
    assert (found.key, found.client) == (KEY, Client("client-1"))
    assert found.identity == Identity("ann@example.com", "user-1")


def test_the_client_stands_in_the_key_too() -> None:
    grant = {"key": "fake-access-1", "refresh_token": "fake-refresh-1"}
    assert login(FORMAT, {KEY: grant}).client == Client("client-1")
    assert login(FORMAT, {"https://auth.x.ai": grant}).client is None


def test_no_login() -> None:
    assert refused(FORMAT, golden("xai", "blank.json")).blank
    assert refused(FORMAT, {"version": 1}).blank
    assert refused(FORMAT, {KEY: {"auth_mode": "api_key", "key": "fake"}}).reason == "is no OAuth login"


def test_one_bad_entry_spoils_no_other() -> None:
    found = FORMAT.read({"a": {"key": 7}, **golden("xai", "auth.json")}, {})
    assert found[0] == Refused("key is not text", "a")
    assert isinstance(found[1], Login)


def test_written_back() -> None:
    document = golden("xai", "auth.json")
    entry = document[KEY]
    assert isinstance(entry, dict)
    grant = {"key": "fake-access-2", "refresh_token": "fake-refresh-2", "expires_at": "2025-10-09T12:40:00.000000000Z"}
    made = renewed(FORMAT, document, KEY)
    assert made == {KEY: {**entry, **grant, "create_time": "2025-10-09T11:40:00.000000000Z"}}
    with pytest.raises(FormatError):
        renewed(FORMAT, document, "another")
