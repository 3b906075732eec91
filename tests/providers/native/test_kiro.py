from broker.model.secret import Secret
from broker.providers.base import Client
from broker.providers.native.kiro import FORMAT
from tests.fakes.native import golden, login, refused, renewed

ENDS_REGISTRATION = 1_765_270_400.0
SIBLINGS = {
    "siblings": {
        "0123abcd.json": golden("kiro/siblings", "0123abcd.json"), "broken.json": "no JSON", "other.json": golden("kiro/siblings", "other.json"),
    }
}  # fmt: skip


def test_the_golden_file() -> None:
    found = login(FORMAT, golden("kiro", "kiro-auth-token.json"), SIBLINGS)
    assert found.client == Client("client-1", Secret("fake-registration-1"), expires_at=ENDS_REGISTRATION)
    assert found.identity.facts == {"region": "us-east-1", "client_id_hash": "0123abcd", "auth_method": "builder-id"}
    assert found.tokens.expires_at == 1_760_000_000.0


def test_a_social_login_needs_no_registration() -> None:
    found = login(FORMAT, golden("kiro", "social.json"))
    assert found.client is None
    assert found.identity.facts["auth_method"] == "social"
    assert found.identity.facts["provider"] == "Google"
    assert found.identity.facts["profile_arn"].startswith("arn:aws:")


def test_the_registration_whose_client_id_the_login_names() -> None:
    document = golden("kiro", "client-id.json")
    found = login(FORMAT, document, SIBLINGS)
    assert found.client == Client("client-2", Secret("fake-registration-2"), expires_at=ENDS_REGISTRATION)
    assert found.identity.facts["auth_method"] == "idc"
    assert login(FORMAT, {**document, "authMethod": None}, SIBLINGS).identity.facts["auth_method"] == "idc"


def test_the_login_itself_is_no_registration() -> None:
    document = golden("kiro", "client-id.json")
    beside = {"siblings": {"kiro-auth-token.json": document, **SIBLINGS["siblings"]}}
    assert login(FORMAT, document, beside).client == login(FORMAT, document, SIBLINGS).client


def test_never_one_that_only_lies_there() -> None:
    document = golden("kiro", "client-id.json")
    assert "no client registration" in refused(FORMAT, {**document, "clientId": "client-9"}, SIBLINGS).reason
    assert "no client registration" in refused(FORMAT, {**document, "clientId": None}, SIBLINGS).reason
    assert "no client registration" in refused(FORMAT, document).reason
    for half in ({"clientSecret": "fake"}, {"clientId": "client-1"}):
        without = {"siblings": {"0123abcd.json": half}}
        assert "no client registration" in refused(FORMAT, golden("kiro", "kiro-auth-token.json"), without).reason


def test_no_login() -> None:
    assert refused(FORMAT, golden("kiro", "blank.json")).blank
    assert refused(FORMAT, golden("kiro/siblings", "other.json")).reason == "is no token of Kiro's"


def test_written_back() -> None:
    document = golden("kiro", "kiro-auth-token.json")
    grant = {"accessToken": "fake-access-2", "refreshToken": "fake-refresh-2", "expiresAt": "2025-10-09T12:40:00.000Z"}
    assert renewed(FORMAT, document) == {**document, **grant}
