"""The arithmetic of the benchmarks: what a reader is told must follow from what was measured."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness import (
    Bar,
    Better,
    Contest,
    Metric,
    Outcome,
    Spread,
    Subject,
    over,
    quantile,
    ratios,
    spread,
    turns,
)

WALL = Metric("wall", "ms")
RATE = Metric("rate", "1/s", Better.HIGHER)


def outcome(ours: list[float], reference: list[float], *bars: Bar, metric: Metric = WALL) -> Outcome:
    rounds: Mapping[str, list[dict[str, float]]] = {
        "reference": [{metric.name: value} for value in reference],
        "ours": [{metric.name: value} for value in ours],
    }
    return Outcome("a", "title", (metric,), rounds, "reference", bars)


def test_rounds_go_forwards_and_backwards() -> None:
    assert [turns(("a", "b", "c"), number) for number in range(3)] == [
        ("a", "b", "c"),
        ("c", "b", "a"),
        ("a", "b", "c"),
    ]


async def test_a_contest_interleaves_its_subjects() -> None:
    order: list[str] = []
    values: Iterator[float] = iter(range(1, 100))

    def subject(name: str) -> Subject:
        async def measure() -> dict[str, float]:
            order.append(name)
            return {"wall": float(next(values))}

        return measure

    contest = Contest("a", "title", (WALL,), {"x": subject("x"), "y": subject("y")}, "x", notes=["n", "n"])
    done = await contest.run(3)
    assert order == ["x", "y", "y", "x", "x", "y"]
    assert done.values("x", "wall") == [1.0, 4.0, 5.0]
    assert done.values("y", "wall") == [2.0, 3.0, 6.0]
    assert done.notes == ("n",)


def test_a_ratio_is_taken_round_by_round() -> None:
    # The machine slowed down threefold in the last round, for both.
    done = outcome([2.0, 2.0, 6.6], [1.0, 1.0, 3.0])
    found = done.ratio("ours", "wall")
    assert found is not None
    assert (found.median, found.low) == (2.0, 2.0)
    assert found.high == pytest.approx(2.2)
    assert done.ratio("ours", "missing") is None
    assert done.spread("ours", "missing") is None


def test_ratios_want_the_same_rounds_and_leave_out_what_measured_nothing() -> None:
    assert ratios([2.0, 4.0], [0.0, 2.0]) == [2.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("metric", "ours", "met"),
    [(WALL, [19.0, 20.0, 29.0], True), (WALL, [21.0] * 3, False), (RATE, [21.0] * 3, True), (RATE, [19.0] * 3, False)],
)
def test_a_bar_bounds_from_the_metrics_side(metric: Metric, ours: list[float], met: bool) -> None:
    done = outcome(ours, [10.0] * 3, Bar("ours", metric.name, 2.0, "reference"), metric=metric)
    assert [verdict.met for verdict in done.verdicts()] == [met]


def test_a_bar_may_add_a_constant_or_be_one() -> None:
    relative, absolute = Bar("ours", "wall", 2.0, "reference", plus=300.0), Bar("ours", "wall", plus=100.0)
    verdicts = outcome([310.0], [10.0], relative, absolute).verdicts()
    assert [(verdict.bound, verdict.met) for verdict in verdicts] == [(320.0, True), (100.0, False)]


def test_a_bar_against_a_peer_that_is_absent_is_not_judged() -> None:
    assert outcome([1.0], [1.0], Bar("ours", "wall", 2.0, "nginx"), Bar("ours", "missing", plus=1.0)).verdicts() == []


def test_spread_of_nothing_is_nothing() -> None:
    assert spread([]) is None
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1, exclude_min=True))
def test_a_quantile_was_seen_and_has_its_share_below_it(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_quantile_of_nothing_is_an_error(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile(values, share)


@pytest.mark.parametrize(("ours", "met"), [([0.0, 0.0], True), ([0.0, 1.0, 1.0], False)])
def test_of_a_bound_of_nought_only_nought_is_not_more(ours: list[float], met: bool) -> None:
    done = outcome(ours, [10.0] * len(ours), Bar("ours", "wall"))
    assert [verdict.met for verdict in done.verdicts()] == [met]


def test_what_is_added_is_over_the_base_of_the_same_round() -> None:
    found = over(outcome([12.0, 31.0, 29.0], [10.0, 30.0, 30.0]), "wall", "reference", "added", 0.05)
    assert found.values("ours", "added") == [2.0, 1.5, 1.5]
    assert found.values("reference", "added") == []
    assert found.values("ours", "wall") == [12.0, 31.0, 29.0]
