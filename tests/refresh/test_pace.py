"""The pace at which refreshes go out to a provider."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.refresh.pace import PACE_SECONDS, Pace


def test_the_first_goes_at_once_and_each_further_one_a_pace_later() -> None:
    pace = Pace()
    assert [pace.take("acme", 100.0) for _ in range(3)] == pytest.approx([0.0, PACE_SECONDS, 2 * PACE_SECONDS])
    assert pace.wait("acme", 100.0) == pytest.approx(3 * PACE_SECONDS)
    assert pace.wait("other", 100.0) == 0.0
    assert pace.take("acme", 200.0) == 0.0


def test_who_is_late_has_the_next_one_follow() -> None:
    pace = Pace()
    pace.take("acme", 100.0)
    pace.late("acme", 101.0)
    assert pace.wait("acme", 101.0) == pytest.approx(PACE_SECONDS)
    pace.late("acme", 50.0)
    assert pace.wait("acme", 101.0) == pytest.approx(PACE_SECONDS), "it brings nothing closer"


@given(st.lists(st.floats(0, 1), max_size=40))
def test_no_second_ever_has_six(gaps: list[float]) -> None:
    pace, now = Pace(), 1000.0
    sent: list[float] = []
    for gap in gaps:
        now += gap
        sent.append(now + pace.take("acme", now))
    assert all(later - first > 1.0 for first, later in zip(sent, sent[5:], strict=False))
