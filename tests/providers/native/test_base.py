import pytest

from broker.model.account import Tokens
from broker.model.secret import Secret
from broker.providers.base import FormatError
from broker.providers.native.base import (
    MILLISECONDS,
    Login,
    Names,
    Refused,
    Seen,
    checked,
    end_of_jwt,
    ended_without_end,
    read_grant,
    write_grant,
)
from broker.providers.native.vertex import FORMAT as UNWRITTEN
from tests.fakes.native import ENDS, NOW, RENEWED, jwt

NAMES = Names(refreshed=("last_refresh",))
LOGIN = Login(RENEWED)


def test_a_grant_is_read_by_its_names() -> None:
    section = {
        "access_token": " fake-access-1 ", "refresh_token": "fake-refresh-1", "id_token": "fake-id", "expiry_date": 1_760_000_000_000,
        "last_refresh": "2025-10-09T08:00:00Z", "scope": "a b", "token_type": "bearer",
    }  # fmt: skip
    assert read_grant(section, NAMES) == Tokens(
        Secret("fake-access-1"), Secret("fake-refresh-1"), Secret("fake-id"), "bearer", 1_760_000_000.0, ("a", "b"), 1_759_996_800.0
    )  # fmt: skip
    assert read_grant({"access_token": None, "refresh_token": "  "}, NAMES) == Tokens(None)


def test_a_token_that_is_no_text_is_refused() -> None:
    with pytest.raises(FormatError, match="access_token is not text"):
        read_grant({"access_token": 7}, NAMES)


def test_the_end_of_a_jwt_stands_in_it() -> None:
    assert end_of_jwt(Secret(jwt({"exp": 1_760_000_000}))) == 1_760_000_000.0
    assert end_of_jwt(Secret(jwt({"exp": True}))) is None
    assert end_of_jwt(Secret(jwt({"exp": 0}))) is None
    assert end_of_jwt(Secret("fake-access-1")) is None
    assert end_of_jwt(None) is None


def test_only_the_grant_is_replaced() -> None:
    section = {
        "x": 1,
        "access_token": "a",
        "refresh_token": "r",
        "accessToken": "of another",
        "expires_in": 900,
        "expiry_date": 1_760_000_000_000,
    }
    made = write_grant(section, NAMES, RENEWED, NOW)
    assert list(made) == list(section)
    assert made == {
        "x": 1, "access_token": "fake-access-2", "refresh_token": "fake-refresh-2", "accessToken": "of another", "expires_in": 3600,
        "expiry_date": int(ENDS * 1000),
    }  # fmt: skip


def test_what_is_missing_is_added_where_it_is_needed() -> None:
    assert write_grant({}, NAMES, RENEWED, NOW) == {"access_token": "fake-access-2", "refresh_token": "fake-refresh-2"}


def test_a_token_that_did_not_come_leaves_the_old_one() -> None:
    made = write_grant({"access_token": "a", "refresh_token": "r"}, NAMES, Tokens(Secret("fake-access-2")), NOW)
    assert made == {"access_token": "fake-access-2", "refresh_token": "r"}


@pytest.mark.parametrize(
    ("old", "new"), [(0, int(ENDS * 1000)), (None, int(ENDS * 1000)), ("2025-10-09T08:00:00Z", "2025-10-09T12:40:00Z")]
)
def test_a_time_keeps_its_notation_and_gets_the_programs_own_where_there_was_none(old: object, new: object) -> None:
    names = Names(notation=MILLISECONDS)
    assert write_grant({"expiry_date": old}, names, RENEWED, NOW)["expiry_date"] == new


def test_an_end_nobody_knows_is_null() -> None:
    made = write_grant({"expiry_date": 5_000_000_000, "expires_in": 1.5}, NAMES, Tokens(Secret("fake-access-2")), NOW)
    assert made["expiry_date"] is None
    assert made["expires_in"] == 1.5
    assert write_grant({"expires_in": 1.5}, NAMES, RENEWED, NOW)["expires_in"] == 3600.0


def test_a_grant_that_can_be_renewed_and_has_no_end_counts_as_ended() -> None:
    both = Tokens(Secret("fake-access-1"), Secret("fake-refresh-1"))
    assert ended_without_end(both).expires_at == 0.0
    for other in (RENEWED, Tokens(Secret("fake-access-1")), Tokens(None, Secret("fake-refresh-1"))):
        assert ended_without_end(other) == other


def test_blank_tokens_are_no_login() -> None:
    assert checked(LOGIN, "Fake") is LOGIN
    found = checked(Login(Tokens(None), key="k"), "Fake")
    assert found == Refused("has empty tokens: Fake was logged out there", "k", blank=True)


def test_a_login_is_found_by_its_key() -> None:
    one, other = Login(RENEWED, key="a"), Refused("is no OAuth login", "b")
    seen = Seen(b"{}", 0o600, (one, other))
    assert seen.login("a") is one
    assert seen.login("b") is other
    assert seen.login("c") == Refused("no longer has this login", "c", blank=True)
    whole = Refused("is not JSON")
    assert Seen(b"", 0o600, (whole,)).login("a") is whole
    assert Seen(b"", 0o600, (one,)).login("b") == Refused("no longer has this login", "b", blank=True)
    assert "fake" not in repr(seen)


def test_a_format_that_is_only_read_is_never_written() -> None:
    with pytest.raises(FormatError, match="never written"):
        UNWRITTEN.write({}, "", RENEWED, NOW)
