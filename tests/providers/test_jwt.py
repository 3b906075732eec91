import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.secret import Secret
from broker.providers.jwt import claims, expiry, text_claim


def jwt(payload: object) -> Secret:
    part = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return Secret(f"fake.{part}.fake")


def test_claims_are_read() -> None:
    found = claims(jwt({"email": "a@example.com", "sub": "1"}))
    assert text_claim(found, "email") == "a@example.com"
    assert text_claim(found, "missing") is None


@pytest.mark.parametrize("value", ["", None, 5])
def test_a_claim_that_is_no_text_is_none(value: object) -> None:
    assert text_claim({"email": value}, "email") is None


@pytest.mark.parametrize(
    "token",
    [
        None,
        Secret(""),
        Secret("opaque"),
        Secret("a.b"),
        Secret("a.!.c"),
        Secret("a.AAAA.c"),
        jwt([1]),
        Secret(f"a.{'A' * 70_000}.c"),
        Secret("a.ä.c"),
    ],
)
def test_what_is_no_jwt_has_no_claims(token: Secret | None) -> None:
    assert claims(token) == {}


@given(st.text(max_size=100))
def test_no_text_makes_it_crash(text: str) -> None:
    assert isinstance(claims(Secret(f"a.{text}.b")), dict)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1_777_636_800, 1_777_636_800.0), (1.5, 1.5), (True, None), ("5", None), (None, None), (-1, None), (1e300, None)],
)
def test_the_end_of_a_token_is_a_time_or_nothing(value: object, seconds: float | None) -> None:
    assert expiry(jwt({"exp": value})) == seconds
