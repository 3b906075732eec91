from broker.providers.base import Identity
from broker.providers.native.qwen import FORMAT
from tests.fakes.native import ENDS, golden, jwt, login, refused, renewed


def test_the_golden_file() -> None:
    document = golden("qwen", "oauth_creds.json")
    found = login(FORMAT, document)
    assert found.identity == Identity(facts={"resource_url": "portal.qwen.ai"})
    assert found.tokens.expires_at == 1_760_000_000.0
    claims = {"email": "ann@example.com", "sub": "7"}
    named = {**document, "id_token": jwt(claims), "resource_url": None}
    assert login(FORMAT, named).identity == Identity("ann@example.com", "7")


def test_blank() -> None:
    assert refused(FORMAT, golden("qwen", "blank.json")).blank


def test_written_back() -> None:
    document = golden("qwen", "oauth_creds.json")
    grant = {"access_token": "fake-access-2", "refresh_token": "fake-refresh-2", "expiry_date": int(ENDS * 1000)}
    assert renewed(FORMAT, document) == {**document, **grant}
