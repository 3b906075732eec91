import pytest

from broker.model.secret import Secret
from broker.providers.base import FormatError, Identity
from broker.providers.native.codex import FORMAT
from tests.fakes.native import golden, jwt, login, refused, renewed

AUTH = "https://api.openai.com/auth"
CLAIMS = {
    "email": "ann@example.com",
    "sub": "user-1",
    AUTH: {"chatgpt_account_id": "account-1", "chatgpt_plan_type": "plus"},
}


def with_tokens(name: str, **tokens: object) -> dict[str, object]:
    document = golden("codex", name)
    section = document["tokens"]
    assert isinstance(section, dict)
    return {**document, "tokens": {**section, **tokens}}


def test_the_golden_file() -> None:
    access = jwt({"exp": 1_760_000_000})
    found = login(FORMAT, with_tokens("auth.json", id_token=jwt(CLAIMS), access_token=access))
    assert found.identity == Identity("ann@example.com", "user-1", {"account_id": "account-1", "plan": "plus"})
    assert found.tokens.access_token == Secret(access)
    assert found.tokens.expires_at == 1_760_000_000.0
    assert found.tokens.last_refresh is not None


def test_an_older_file() -> None:
    profile = {"https://api.openai.com/profile": {"email": "bob@example.com"}, AUTH: CLAIMS[AUTH]}
    found = login(FORMAT, with_tokens("older.json", id_token=jwt(profile)))
    assert found.identity.email == "bob@example.com"
    assert found.identity.facts["account_id"] == "account-1"
    assert found.tokens.expires_at == 0.0  # nobody knows: renewed once


def test_a_file_that_tells_next_to_nothing() -> None:
    document = golden("codex", "older.json")
    del document["last_refresh"]
    found = login(FORMAT, document)
    assert found.identity == Identity()
    assert found.tokens.last_refresh is None


def test_no_login() -> None:
    assert "API key" in refused(FORMAT, golden("codex", "api-key.json")).reason
    assert refused(FORMAT, golden("codex", "logged-out.json")).blank
    assert refused(FORMAT, with_tokens("older.json", access_token="", refresh_token="")).blank


def test_written_back() -> None:
    document = golden("codex", "auth.json")
    made = renewed(FORMAT, document)
    assert list(made) == list(document)
    assert made["tokens"] == {
        "id_token": "ID-TOKEN", "access_token": "fake-access-2", "refresh_token": "fake-refresh-2", "account_id": "account-1"
    }  # fmt: skip
    assert made["last_refresh"] == "2025-10-09T11:40:00.000000Z"
    with pytest.raises(FormatError):
        renewed(FORMAT, golden("codex", "logged-out.json"))
