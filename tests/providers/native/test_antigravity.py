from broker.providers.base import Identity
from broker.providers.native.antigravity import FORMAT
from tests.fakes.native import golden, jwt, login, refused, renewed

NAME = "antigravity-oauth-token"


def test_the_golden_files() -> None:
    found = login(FORMAT, golden("antigravity", NAME))
    assert found.tokens.expires_at == 1_760_000_000.638
    assert found.identity == Identity()
    assert login(FORMAT, golden("antigravity", "flat.json")).tokens.expires_at == 1_760_000_000.0


def test_who_it_is() -> None:
    document = {**golden("antigravity", NAME), "id_token": jwt({"email": "ann@example.com", "sub": "7"})}
    assert login(FORMAT, document).identity == Identity("ann@example.com", "7")


def test_no_login() -> None:
    assert refused(FORMAT, golden("antigravity", "blank.json")).blank
    assert "another client registration" in refused(FORMAT, golden("antigravity", "gcp.json")).reason


def test_written_back() -> None:
    grant = {"access_token": "fake-access-2", "refresh_token": "fake-refresh-2"}
    document = golden("antigravity", NAME)
    section = document["token"]
    assert isinstance(section, dict)
    made = {**section, **grant, "expiry": "2025-10-09T21:40:00.000+09:00"}
    assert renewed(FORMAT, document) == {**document, "token": made}
    flat = golden("antigravity", "flat.json")
    assert renewed(FORMAT, flat) == {**flat, **grant, "expiry": "2025-10-09T12:40:00Z"}
