import pytest

from broker.model.account import Tokens
from broker.model.secret import Secret
from broker.providers.base import Identity
from broker.providers.native.antigravity_pool import FORMAT
from broker.providers.native.base import Login, Refused
from tests.fakes.native import golden, refused


def ann(project: str) -> Login:
    identity = Identity("ann@example.com", facts={"project_id": project})
    return Login(Tokens(None, Secret("fake-refresh-1")), identity, "ann@example.com")


def test_the_file_of_opencodes_plugin() -> None:
    assert FORMAT.read(golden("antigravity-proxy", "opencode.json"), {}) == (
        ann("my-project"),
        Login(Tokens(None, Secret("fake-refresh-2")), Identity(facts={"project_id": "managed-2"}), "1"),
    )


def test_the_file_of_the_claude_proxy() -> None:
    found = FORMAT.read(golden("antigravity-proxy", "accounts.json"), {})
    assert found == (
        ann("my-project"),
        Refused("has an account without a refresh token, which cannot be renewed", "bob@example.com", blank=True),
        Refused("has an account that its program found dead", "eve@example.com"),
    )


def test_an_account_without_a_project() -> None:
    (found,) = FORMAT.read({"accounts": [{"refreshToken": "fake-refresh-1"}]}, {})
    assert isinstance(found, Login)
    assert found.identity == Identity()


@pytest.mark.parametrize("accounts", [[], [7]])
def test_nobody_is_logged_in(accounts: list[object]) -> None:
    assert refused(FORMAT, {"accounts": accounts}).blank


def test_no_login() -> None:
    assert refused(FORMAT, golden("antigravity-proxy", "blank.json")).blank
    assert refused(FORMAT, {}).reason == "has no list of accounts"
    assert refused(FORMAT, {"accounts": [{"refreshToken": 7}]}).reason == "refreshToken is not text"
