from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import AnswerLost, FlowFailedError, Permanent, Transient
from broker.oauth.grant import MAX_LIFETIME_SECONDS, PLAIN, Reading, lifetime_seconds, read_tokens
from broker.oauth.messages import HttpResponse

NOW = Now(1_750_000_000.0, 5.0)
FULL = {
    "access_token": "fake-access",
    "refresh_token": "fake-refresh",
    "id_token": "fake.id.token",
    "token_type": "bearer",
    "expires_in": 3600,
    "scope": "a b",
}
OLD = Tokens(
    access_token=Secret("fake-old-access"),
    refresh_token=Secret("fake-old-refresh"),
    id_token=Secret("fake.old.id"),
    expires_at=1.0,
    scopes=("c",),
)


def answer(status: int = 200, **fields: Any) -> HttpResponse:
    return HttpResponse(status, body=msgspec.json.encode(fields))


def test_a_whole_answer_is_read() -> None:
    assert read_tokens(answer(**FULL), NOW) == Tokens(
        access_token=Secret("fake-access"),
        refresh_token=Secret("fake-refresh"),
        id_token=Secret("fake.id.token"),
        token_type="Bearer",
        expires_at=NOW.wall + 3600,
        scopes=("a", "b"),
        last_refresh=NOW.wall,
    )


def test_what_an_answer_leaves_out_is_kept_from_before() -> None:
    made = read_tokens(answer(access_token="fake-access", expires_in=60), NOW, PLAIN, OLD)
    assert made.access_token == Secret("fake-access")
    assert (made.refresh_token, made.id_token, made.scopes) == (OLD.refresh_token, OLD.id_token, OLD.scopes)
    assert made.expires_at == NOW.wall + 60


def test_without_anything_before_the_gaps_stay() -> None:
    made = read_tokens(answer(access_token="fake-access"), NOW)
    assert made == Tokens(Secret("fake-access"), last_refresh=NOW.wall)


@pytest.mark.parametrize("blank", ["", None, 5, " fake", "fa\nke"])
def test_a_refresh_token_of_no_use_counts_as_none(blank: object) -> None:
    made = read_tokens(answer(access_token="fake-access", refresh_token=blank), NOW, PLAIN, OLD)
    assert made.refresh_token == OLD.refresh_token


def test_another_token_type_is_kept_as_it_is() -> None:
    assert read_tokens(answer(access_token="fake-access", token_type="DPoP"), NOW).token_type == "DPoP"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600.0),
        (3599.5, 3599.5),
        ("3600", 3600.0),
        (" 60.5 ", 60.5),
        (0, 0.0),
        (-30, 0.0),
        ("-1", 0.0),
        (10**18, MAX_LIFETIME_SECONDS),
        ("1e400", MAX_LIFETIME_SECONDS),
        (None, None),
        ("soon", None),
        ("", None),
        ("nan", None),
        (True, None),
        ([3600], None),
        ({"s": 1}, None),
    ],
)
def test_every_shape_of_expires_in(value: object, seconds: float | None) -> None:
    assert lifetime_seconds(value) == seconds


@given(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans()))
def test_no_lifetime_is_negative_or_beyond_the_cap(value: object) -> None:
    seconds = lifetime_seconds(value)
    assert seconds is None or 0 <= seconds <= MAX_LIFETIME_SECONDS


def test_a_missing_lifetime_takes_the_one_known_of_the_provider() -> None:
    known = Reading(lifetime=3600.0)
    assert read_tokens(answer(access_token="fake-access"), NOW, known).expires_at == NOW.wall + 3600
    assert read_tokens(answer(access_token="fake-access", expires_in=0), NOW, known).expires_at == NOW.wall
    assert read_tokens(answer(access_token="fake-access"), NOW).expires_at is None


@pytest.mark.parametrize(
    ("given_answer", "kind"),
    [
        (answer(400, error="invalid_grant"), Permanent),
        (answer(200, error="invalid_grant"), Permanent),
        (answer(500, access_token="fake-access"), Transient),
        (answer(200, access_token=""), AnswerLost),
        (answer(200, access_token=5), AnswerLost),
        (HttpResponse(200, body=b"{"), AnswerLost),
        (HttpResponse(200, body=b"[" * 200_000), AnswerLost),
        (HttpResponse(200, body=b'"fake-access"'), AnswerLost),
        (HttpResponse(200), AnswerLost),
        (HttpResponse(204), AnswerLost),
    ],
)
def test_anything_else_is_a_failure(given_answer: HttpResponse, kind: type) -> None:
    with pytest.raises(FlowFailedError) as caught:
        read_tokens(given_answer, NOW)
    assert isinstance(caught.value.failure, kind)


@given(st.binary(max_size=400), st.sampled_from([200, 400, 401, 403, 429, 500]))
def test_no_body_makes_reading_crash(body: bytes, status: int) -> None:
    try:
        made = read_tokens(HttpResponse(status, body=body), NOW)
    except FlowFailedError:
        return
    assert made.access_token


def test_the_facts_that_are_asked_for_come_with_the_grant() -> None:
    told = answer(access_token="fake-access", resource_url="portal.example", region=5)
    assert read_tokens(told, NOW, Reading(facts=("resource_url", "region"))).facts == {"resource_url": "portal.example"}
    assert read_tokens(told, NOW).facts == {}
