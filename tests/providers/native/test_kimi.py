import pytest

from broker.providers.base import Identity
from broker.providers.native.kimi import FORMAT
from tests.fakes.native import ENDS, GOLDEN, golden, jwt, login, refused, renewed

DEVICE = (GOLDEN / "kimi" / "device_id").read_text()


def test_the_golden_file() -> None:
    found = login(FORMAT, golden("kimi", "kimi-code.json"), {"device": DEVICE, "region": "cn"})
    assert found.identity == Identity(facts={"device_id": "fake-device-1", "region": "cn"})
    assert found.tokens.expires_at == 1_760_000_000.12


def test_who_it_is_where_the_token_says_so() -> None:
    document = {**golden("kimi", "kimi-code.json"), "access_token": jwt({"user_id": "7", "sub": "8"})}
    assert login(FORMAT, document).identity.subject == "7"
    assert login(FORMAT, {**document, "access_token": jwt({"sub": "8"})}).identity.subject == "8"


@pytest.mark.parametrize("device", [None, 7, " ", "ü", "a\nb", "x" * 201])
def test_a_device_id_that_could_not_be_sent_is_none(device: object) -> None:
    assert login(FORMAT, golden("kimi", "kimi-code.json"), {"device": device}).identity.facts == {}


def test_blank() -> None:
    assert refused(FORMAT, golden("kimi", "blank.json")).blank


def test_written_back() -> None:
    document = golden("kimi", "kimi-code.json")
    grant = {
        "access_token": "fake-access-2",
        "refresh_token": "fake-refresh-2",
        "expires_at": ENDS,
        "expires_in": 3600.0,
    }
    assert renewed(FORMAT, document) == {**document, **grant}
    assert renewed(FORMAT, golden("kimi", "blank.json"))["expires_at"] == ENDS
