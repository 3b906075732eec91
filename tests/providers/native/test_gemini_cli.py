from broker.model.secret import Secret
from broker.providers.base import Identity
from broker.providers.native.gemini_cli import FORMAT
from tests.fakes.native import ENDS, golden, jwt, login, refused, renewed

ACCOUNTS = golden("gemini-cli", "google_accounts.json")


def test_the_golden_file() -> None:
    found = login(FORMAT, golden("gemini-cli", "oauth_creds.json"), {"accounts": ACCOUNTS})
    assert found.identity == Identity("ann@example.com")
    assert found.tokens.refresh_token == Secret("fake-refresh-1")
    assert found.tokens.expires_at == 1_760_000_000.0
    assert len(found.tokens.scopes) == 2


def test_an_id_token_says_more_than_the_list() -> None:
    document = {**golden("gemini-cli", "oauth_creds.json"), "id_token": jwt({"email": "eve@example.com", "sub": "7"})}
    assert login(FORMAT, document, {"accounts": ACCOUNTS}).identity == Identity("eve@example.com", "7")


def test_nobody_is_named() -> None:
    document = golden("gemini-cli", "oauth_creds.json")
    for accounts in (None, [], {}, {"active": " "}, {"active": 7}):
        assert login(FORMAT, document, {"accounts": accounts}).identity == Identity()


def test_blank() -> None:
    assert refused(FORMAT, golden("gemini-cli", "blank.json")).blank


def test_written_back() -> None:
    document = golden("gemini-cli", "oauth_creds.json")
    assert renewed(FORMAT, document) == {
        **document, "access_token": "fake-access-2", "refresh_token": "fake-refresh-2", "expiry_date": int(ENDS * 1000)
    }  # fmt: skip
