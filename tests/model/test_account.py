from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import (
    AccountId,
    Active,
    Ambiguous,
    Backoff,
    Freshness,
    NeedsLogin,
    Paused,
    Refreshing,
    State,
    StateName,
    Tokens,
    Unsaved,
    by_name,
    freshness,
    state_name,
    valid_provider_name,
)
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret


def test_an_account_is_written_provider_slash_label() -> None:
    account = AccountId.parse("gemini/alice@example.com")
    assert (account.provider, account.label) == ("gemini", "alice@example.com")
    assert str(account) == "gemini/alice@example.com"


@pytest.mark.parametrize(
    "text",
    ["gemini", "gemini/", "/alice", "Gemini/alice", "gem ini/alice", "gemini/a/b", "gemini/a\nb", "gemini/ a", "-x/a", "x-/a", "gemini/" + "a" * 201, "é/a"],
)  # fmt: skip
def test_what_cannot_be_told_apart_or_written_is_no_account(text: str) -> None:
    with pytest.raises(BrokerError) as caught:
        AccountId.parse(text)
    assert caught.value.code is ErrorCode.BAD_REQUEST


@given(st.text(max_size=60))
def test_parsing_accepts_or_says_bad_request_and_round_trips(text: str) -> None:
    try:
        account = AccountId.parse(text)
    except BrokerError:
        return
    assert AccountId.parse(str(account)) == account


@pytest.mark.parametrize(
    ("name", "valid"),
    [("a", True), ("openai-compatible", True), ("", False), ("-", False), ("a" * 41, False), ("A", False)],
)
def test_provider_names(name: str, valid: bool) -> None:
    assert valid_provider_name(name) is valid


@pytest.mark.parametrize(
    ("expires_at", "answer"),
    [
        (None, Freshness.FRESH),
        (1000, Freshness.FRESH),
        (300, Freshness.STALE),
        (59, Freshness.DEAD),
        (0, Freshness.DEAD),
    ],
)
def test_freshness(expires_at: float | None, answer: Freshness) -> None:
    assert freshness(expires_at, 0, min_validity=60, lead=301) is answer


def test_the_refresh_digest_is_none_without_a_refresh_token() -> None:
    assert Tokens(Secret("a")).refresh_digest() is None
    assert Tokens(Secret("a"), Secret("")).refresh_digest() is None
    assert Tokens(None, Secret("r")).refresh_digest() == Secret("r").digest()


STATES: list[State] = [
    Active(), Refreshing(0), Backoff(0, "", 1), Ambiguous(0, Secret("r").digest()), NeedsLogin("", 0, None), Paused(), Unsaved(0, ""),
]  # fmt: skip


def test_a_grant_is_the_same_by_its_tokens_alone() -> None:
    one = Tokens(Secret("fake-a"), Secret("fake-r"), Secret("fake-i"), expires_at=1.0)
    assert one.same_grant(replace(one, expires_at=2.0, last_refresh=3.0))
    assert one.same_grant(replace(one, id_token=None))
    assert replace(one, id_token=None).same_grant(one)
    for other in ("access_token", "refresh_token", "id_token"):
        assert not one.same_grant(replace(one, **{other: Secret("fake-other")}))


def test_every_state_has_a_name_and_every_name_a_state() -> None:
    assert {state_name(state) for state in STATES} == set(StateName)


@given(
    st.lists(
        st.builds(AccountId, st.sampled_from(["a", "a-b", "ab"]), st.sampled_from(["x", "X", "é", "x y", "x-y", "😀"]))
    )
)
def test_by_name_sorts_as_comparing_does(accounts: list[AccountId]) -> None:
    assert sorted(accounts, key=by_name) == sorted(accounts)
