from dataclasses import replace

import pytest

from broker.model.account import (
    AccountId,
    Active,
    Ambiguous,
    Backoff,
    NeedsLogin,
    Paused,
    Refreshing,
    State,
    Tokens,
    Unsaved,
)
from broker.model.clock import Now
from broker.model.errors import ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import AnswerLost, Failure, Misconfigured, Permanent, RateLimited, Transient
from broker.providers.base import RefreshPolicy
from broker.refresh import life, outcome
from broker.refresh.plan import Known

NOW = Now(wall=1_000_000.0, boot=500.0)
ALICE = AccountId("fake", "alice@example.com")
DIGEST = Secret("fake-refresh").digest()


def known(left: float = 3600, state: State | None = None, *, forgives: bool = False) -> Known:
    tokens = Tokens(Secret("fake-access"), Secret("fake-refresh"), expires_at=NOW.wall + left)
    span = life.Life(NOW.boot + left, NOW.wall + left, 3600, own=True)
    return Known(tokens, span, state or Active(), RefreshPolicy(forgives_repeat=forgives))


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (Permanent("invalid_grant", "revoked"), NeedsLogin("revoked", NOW.wall, DIGEST)),
        (Transient("HTTP 500"), Backoff(NOW.boot + 5, "HTTP 500", 1)),
        (RateLimited("slow down", 90), Backoff(NOW.boot + 94.5, "slow down", 1, ErrorCode.RATE_LIMITED)),
        (Misconfigured("invalid_client", "wrong id"), Backoff(NOW.boot + 60, "wrong id", 1, ErrorCode.MISCONFIGURED)),
        (AnswerLost("cut"), Ambiguous(NOW.wall, DIGEST)),
    ],
)
def test_each_failure_has_its_state(failure: Failure, state: State) -> None:
    assert outcome.failed(failure, known(), NOW, 1, 0.5) == state


def test_a_lost_answer_is_repeated_at_once_only_where_that_is_forgiven() -> None:
    first = outcome.failed(AnswerLost("cut"), known(forgives=True), NOW, 1, 0.5)
    assert first == Backoff(NOW.boot + 0.2, "cut", 1, ErrorCode.ANSWER_LOST)
    second = outcome.failed(AnswerLost("cut"), known(forgives=True), NOW, 2, 0.5)
    assert second == Backoff(NOW.boot + 10, "cut", 2, ErrorCode.ANSWER_LOST)


def test_a_lost_answer_with_a_dead_token_backs_off() -> None:
    state = outcome.failed(AnswerLost("cut"), known(0), NOW, 1, 0.5)
    assert state == Backoff(NOW.boot + 5, "cut", 1, ErrorCode.ANSWER_LOST)


def test_a_lost_answer_without_a_digest_backs_off() -> None:
    none = replace(known(), tokens=Tokens(Secret("fake-access"), expires_at=NOW.wall + 60))
    assert isinstance(outcome.failed(AnswerLost("cut"), none, NOW, 1, 0.5), Backoff)


def test_unwritable_storage_is_tried_again_soon() -> None:
    assert outcome.unwritable("ENOSPC", NOW, 1, 0.5) == Backoff(NOW.boot + 5, "ENOSPC", 1, ErrorCode.STORAGE_UNWRITABLE)
    assert outcome.unwritable("ENOSPC", NOW, 30, 0.5).until == NOW.boot + 60


def test_a_grant_that_is_due_again_at_once_backs_off() -> None:
    assert outcome.renewed(known(), NOW, 1, 0.5) == Active()
    assert isinstance(outcome.renewed(known(1), NOW, 1, 0.5), Backoff)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (Paused(), ErrorCode.ACCOUNT_PAUSED),
        (NeedsLogin("revoked", 0, DIGEST), ErrorCode.LOGIN_REQUIRED),
        (Backoff(NOW.boot + 9, "HTTP 500", 1), ErrorCode.REFRESH_FAILED),
        (Backoff(NOW.boot + 9, "slow", 1, ErrorCode.RATE_LIMITED), ErrorCode.RATE_LIMITED),
        (Ambiguous(0, DIGEST), ErrorCode.ANSWER_LOST),
        (Unsaved(0, "ENOSPC"), ErrorCode.STORAGE_UNWRITABLE),
    ],
)
def test_refusals_say_why(state: State, code: ErrorCode) -> None:
    error = outcome.refusal(ALICE, known(state=state), NOW)
    assert error is not None
    assert error.code is code
    assert error.account == str(ALICE)
    assert error.hint


@pytest.mark.parametrize("state", [Active(), Refreshing(0), Backoff(NOW.boot, "", 1)])
def test_nothing_is_refused_where_a_refresh_may_help(state: State) -> None:
    assert outcome.refusal(ALICE, known(state=state), NOW) is None


def test_an_ambiguous_account_whose_token_is_of_no_use_may_be_refreshed() -> None:
    assert outcome.refusal(ALICE, known(0, Ambiguous(0, DIGEST)), NOW) is None
    rejected = replace(known(60, Ambiguous(0, DIGEST)), rejected=Secret("fake-access").digest())
    assert outcome.refusal(ALICE, rejected, NOW) is None


def test_without_a_refresh_token_a_person_must_log_in() -> None:
    none = replace(known(0), tokens=Tokens(Secret("fake-access")))
    error = outcome.refusal(ALICE, none, NOW)
    assert error is not None
    assert error.code is ErrorCode.LOGIN_REQUIRED


def test_a_way_out_that_cannot_be_names_the_field() -> None:
    error = outcome.unreachable(ALICE, "is no URL")
    assert (error.code, error.account) == (ErrorCode.MISCONFIGURED, str(ALICE))
    assert "proxy_url in its file is no URL" in error.detail


def test_disabled_names_the_field() -> None:
    assert '"disabled"' in outcome.disabled(ALICE).hint


@pytest.mark.parametrize(
    ("access", "left", "words"),
    [("fake", -1.0, "has ended"), ("fake", 60.0, "no usable token"), (None, -1.0, "no usable token")],
)
def test_what_cannot_be_renewed_says_why(access: str | None, left: float, words: str) -> None:
    tokens = Tokens(Secret(access) if access else None, expires_at=NOW.wall + left)
    error = outcome.refusal(ALICE, replace(known(left), tokens=tokens), NOW)
    assert error is not None
    assert words in error.detail
    assert "nothing to renew it with" in error.detail
