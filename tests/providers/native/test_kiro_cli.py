import pytest

from broker.model.secret import Secret
from broker.providers.base import Client
from broker.providers.native.kiro_cli import FORMAT
from tests.fakes.native import golden, login, refused


def rows(name: str) -> dict[str, object]:
    made = golden("kiro-cli", name)["auth_kv"]
    assert isinstance(made, dict)
    return made


def test_a_login_of_an_organisation() -> None:
    found = login(FORMAT, golden("kiro-cli", "rows.json"))
    assert found.client == Client("client-1", Secret("fake-registration-1"))
    assert found.key == "kirocli:odic:token"
    assert found.tokens.expires_at == pytest.approx(1_760_000_000.123456, abs=1e-5)
    assert found.identity.facts == {
        "region": "eu-west-1", "profile_arn": "arn:aws:codewhisperer:eu-west-1:1:profile/X", "start_url": "https://acme.awsapps.com/start",
        "auth_method": "idc",
    }  # fmt: skip


def test_a_social_login_needs_no_registration() -> None:
    found = login(FORMAT, golden("kiro-cli", "social.json"))
    assert found.client is None
    assert found.identity.facts == {
        "profile_arn": "arn:aws:codewhisperer:us-east-1:1:profile/Y", "provider": "google", "auth_method": "social"
    }  # fmt: skip


def test_a_row_of_the_predecessor_takes_its_region_from_its_registration() -> None:
    found = login(FORMAT, golden("kiro-cli", "predecessor.json"))
    assert found.client == Client("client-2", Secret("fake-registration-2"))
    assert found.identity.facts["region"] == "us-east-1"
    assert found.identity.facts["profile_arn"].endswith("/Z")


def test_a_registration_that_says_when_it_ends() -> None:
    made = rows("predecessor.json")
    registration = made["codewhisperer:odic:device-registration"]
    assert isinstance(registration, dict)
    registration["client_secret_expires_at"] = 1_760_000_000
    client = login(FORMAT, {"auth_kv": made}).client
    assert client is not None
    assert client.expires_at == 1_760_000_000.0


def test_the_same_registration_under_the_name_that_is_spelt_right() -> None:
    made = rows("rows.json")
    made["kirocli:oidc:token"] = made.pop("kirocli:odic:token")
    assert login(FORMAT, {"auth_kv": made}).client == Client("client-1", Secret("fake-registration-1"))


def test_never_the_registration_of_another_login() -> None:
    made = rows("rows.json")
    made["codewhisperer:odic:token"] = made.pop("kirocli:odic:token")
    assert "no client registration" in refused(FORMAT, {"auth_kv": made}).reason


@pytest.mark.parametrize("document", [{}, {"auth_kv": {}}, {"auth_kv": None}, {"auth_kv": {"kirocli:social:token": 7}}])
def test_nobody_is_logged_in(document: dict[str, object]) -> None:
    assert refused(FORMAT, document).blank


def test_no_login() -> None:
    assert refused(FORMAT, golden("kiro-cli", "blank.json")).blank
    assert (
        refused(FORMAT, {"auth_kv": {"kirocli:social:token": {"access_token": 7}}}).reason == "access_token is not text"
    )
    odd = {"auth_kv": rows("social.json"), "state": {"api.codewhisperer.profile": 7}}
    assert login(FORMAT, odd).identity.facts["profile_arn"].endswith("/Y")
