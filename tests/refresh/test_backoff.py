from hypothesis import given
from hypothesis import strategies as st

from broker.refresh import backoff

units = st.floats(0, 1, exclude_max=True)
failures = st.integers(-3, 10_000)


@given(failures, units)
def test_delay_stays_within_a_quarter_of_its_cap(n: int, unit: float) -> None:
    assert 0.75 * backoff.BASE_SECONDS <= backoff.delay(n, unit) <= 1.25 * backoff.CAP_SECONDS


def test_delay_doubles_up_to_the_cap() -> None:
    assert [backoff.delay(n, 0.5) for n in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert backoff.delay(50, 0.5) == backoff.CAP_SECONDS


@given(st.floats(0, 1e9), failures, units)
def test_a_told_wait_is_never_cut_short_and_never_without_bound(seconds: float, n: int, unit: float) -> None:
    waited = backoff.told(seconds, n, unit)
    assert waited >= min(seconds, backoff.RETRY_AFTER_CAP_SECONDS)
    assert waited <= 1.1 * backoff.RETRY_AFTER_CAP_SECONDS


def test_a_limit_without_a_figure_backs_off_from_thirty_seconds() -> None:
    assert backoff.told(None, 1, 0.5) == 30


def test_rejections_pause_longer_each_time() -> None:
    assert [backoff.rejection_pause(n) for n in (0, 1, 2, 3)] == [30, 30, 60, 120]
    assert backoff.rejection_pause(99) == backoff.RETRY_AFTER_CAP_SECONDS
