import pytest

from broker.model.secret import Secret
from broker.providers.base import Client, FormatError, Identity
from broker.providers.native.claude_code import FORMAT
from tests.fakes.native import ENDS, golden, login, refused, renewed

PROFILE = golden("claude-code", ".claude.json")


def test_the_golden_file() -> None:
    found = login(FORMAT, golden("claude-code", ".credentials.json"), {"profile": PROFILE})
    assert found.tokens.access_token == Secret("fake-access-1")
    assert found.tokens.refresh_token == Secret("fake-refresh-1")
    assert found.tokens.expires_at == 1_760_000_000.0
    assert found.tokens.scopes == ("user:inference", "user:profile")
    facts = {"account_uuid": "account-1", "organization_uuid": "org-1", "organization_name": "Acme", "plan": "max"}
    assert found.identity == Identity("ann@example.com", "account-1", facts)
    assert found.client is None


def test_an_older_file_with_nothing_beside_it() -> None:
    for profile in (None, [], {}, {"oauthAccount": 7}):
        assert login(FORMAT, golden("claude-code", "older.json"), {"profile": profile}).identity == Identity()


def test_a_profile_of_another_organisation_is_left_from_an_earlier_login() -> None:
    document = {**golden("claude-code", ".credentials.json"), "organizationUuid": "org-2"}
    facts = {"organization_uuid": "org-2", "plan": "max"}
    assert login(FORMAT, document, {"profile": PROFILE}).identity == Identity(facts=facts)


def test_a_setup_token() -> None:
    found = login(FORMAT, golden("claude-code", "setup-token.json"))
    assert found.tokens.refresh_token is None
    assert found.tokens.expires_at is None
    assert found.client == Client("fake-client")
    assert found.identity.facts == {"scope_kind": "setup-token"}


def test_a_login_the_program_gave_up() -> None:
    assert refused(FORMAT, golden("claude-code", "blank.json")).blank
    assert "has no claudeAiOauth" in refused(FORMAT, {"mcpOAuth": {}}).reason
    assert refused(FORMAT, {"claudeAiOauth": 7}).reason == "claudeAiOauth is not an object"


def test_written_back() -> None:
    document = golden("claude-code", ".credentials.json")
    made = renewed(FORMAT, document)
    section = document["claudeAiOauth"]
    assert isinstance(section, dict)
    grant = {"accessToken": "fake-access-2", "refreshToken": "fake-refresh-2", "expiresAt": int(ENDS * 1000)}
    assert made == {**document, "claudeAiOauth": {**section, **grant}}
    with pytest.raises(FormatError):
        renewed(FORMAT, {})
