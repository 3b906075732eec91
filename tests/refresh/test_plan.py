from dataclasses import replace

import pytest

from broker.model.account import (
    Active,
    Ambiguous,
    Backoff,
    Freshness,
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
from broker.providers.base import RefreshPolicy
from broker.refresh import life, plan
from broker.refresh.plan import Decision, Idle, Known, Reason, Refresh, Wait

NOW = Now(wall=1_000_000.0, boot=500.0)
DIGEST = Secret("fake-refresh").digest()
FORGIVING = RefreshPolicy(forgives_repeat=True, rotates=False)


def known(left: float = 3600, *, lifetime: float = 3600, state: State | None = None, **changes: object) -> Known:
    tokens = Tokens(Secret("fake-access"), Secret("fake-refresh"), expires_at=NOW.wall + left)
    span = life.Life(ends_boot=NOW.boot + left, ends_wall=NOW.wall + left, lifetime=lifetime, own=True)
    return replace(Known(tokens, span, state or Active(), RefreshPolicy()), **changes)


def without(which: str, base: Known) -> Known:
    return replace(base, tokens=replace(base.tokens, **{which: None}))


@pytest.mark.parametrize(
    ("given", "decision"),
    [
        pytest.param(known(3600), Wait(NOW.boot + 3300), id="fresh: wait for the lead"),
        pytest.param(known(3600, jitter=0.5), Wait(NOW.boot + 3270), id="jitter renews a little earlier"),
        pytest.param(known(299), Refresh(Reason.EXPIRING), id="within the lead"),
        pytest.param(known(-1), Refresh(Reason.EXPIRED), id="ended"),
        pytest.param(known(4, lifetime=5), Wait(NOW.boot + 1.5), id="a short token is not renewed the moment it comes"),
        pytest.param(without("access_token", known()), Refresh(Reason.MISSING), id="only a refresh token"),
        pytest.param(without("refresh_token", known(-1)), Idle(), id="nothing to renew with"),
        pytest.param(known(-1, state=Refreshing(0)), Idle(), id="under way"),
        pytest.param(known(-1, state=NeedsLogin("", 0, DIGEST)), Idle(), id="only a person can help"),
        pytest.param(known(-1, state=Paused()), Refresh(Reason.EXPIRED), id="paused accounts are renewed too"),
        pytest.param(known(-1, state=Backoff(NOW.boot + 9, "", 1)), Wait(NOW.boot + 9), id="backing off"),
        pytest.param(known(-1, state=Backoff(NOW.boot, "", 1)), Refresh(Reason.EXPIRED), id="backed off long enough"),
        pytest.param(
            known(state=Backoff(NOW.boot, "", 1, ErrorCode.ANSWER_LOST)), Refresh(Reason.LOST_ANSWER), id="repeat"
        ),
        pytest.param(
            without("refresh_token", known(state=Backoff(NOW.boot, "", 1, ErrorCode.ANSWER_LOST))),
            Idle(),
            id="no repeat",
        ),
        pytest.param(known(70, state=Ambiguous(0, DIGEST)), Wait(NOW.boot + 70), id="ambiguous: not while it lives"),
        pytest.param(known(0, state=Ambiguous(0, DIGEST)), Refresh(Reason.LOST_ANSWER), id="ambiguous: then once"),
        pytest.param(
            known(70, state=Ambiguous(0, DIGEST), policy=FORGIVING),
            Refresh(Reason.LOST_ANSWER),
            id="forgiving: at once",
        ),
        pytest.param(known(state=Unsaved(0, "", NOW.boot + 5)), Wait(NOW.boot + 5), id="unsaved: wait"),
        pytest.param(known(state=Unsaved(0, "", NOW.boot)), Refresh(Reason.UNSAVED), id="unsaved: offer again"),
    ],
)
def test_decide(given: Known, decision: Decision) -> None:
    assert plan.decide(given, NOW, ahead=True) == decision


@pytest.mark.parametrize(
    ("given", "decision"),
    [
        (known(-1), Idle()),
        (known(-1, state=Backoff(NOW.boot + 9, "", 1)), Idle()),
        (known(-1, state=Backoff(NOW.boot, "", 1, ErrorCode.ANSWER_LOST)), Idle()),
        (known(-1, state=Ambiguous(0, DIGEST)), Idle()),
        (known(state=Unsaved(0, "", NOW.boot)), Refresh(Reason.UNSAVED)),
    ],
)
def test_without_ahead_only_what_was_begun_is_finished(given: Known, decision: Decision) -> None:
    assert plan.decide(given, NOW, ahead=False) == decision


@pytest.mark.parametrize(
    ("given", "min_validity", "answer"),
    [
        (known(3600), 60, Freshness.FRESH),
        (known(200), 60, Freshness.STALE),
        (known(59), 60, Freshness.DEAD),
        (known(0), 0, Freshness.DEAD),
        (known(9, lifetime=10), 60, Freshness.FRESH),
        (known(7, lifetime=10), 60, Freshness.DEAD),
        (without("access_token", known()), 0, Freshness.DEAD),
        (known(rejected=Secret("fake-access").digest()), 0, Freshness.DEAD),
        (known(rejected=Secret("fake-older").digest()), 0, Freshness.FRESH),
    ],
)
def test_judge(given: Known, min_validity: float, answer: Freshness) -> None:
    assert plan.judge(given, NOW, min_validity) is answer


def test_settled_only_by_another_token_that_is_fresh() -> None:
    mine, other = Secret("fake-access").digest(), Secret("fake-before").digest()
    assert not plan.settled(known(), NOW, mine)
    assert plan.settled(known(), NOW, other)
    assert plan.settled(known(), NOW, None)
    assert not plan.settled(known(10), NOW, other)
    assert not plan.settled(without("access_token", known()), NOW, other)


def test_a_lost_token_may_be_spent_again_when_nothing_can_be_lost_by_it() -> None:
    assert not plan.may_spend(known(5), NOW)
    assert plan.may_spend(known(0), NOW)
    assert plan.may_spend(known(5, rejected=Secret("fake-access").digest()), NOW)
    assert plan.may_spend(known(5, policy=FORGIVING), NOW)


def test_renewable_needs_a_refresh_token_with_something_in_it() -> None:
    assert plan.renewable(known())
    assert not plan.renewable(replace(known(), tokens=Tokens(Secret("a"), Secret(""))))
