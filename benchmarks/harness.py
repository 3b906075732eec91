"""The arithmetic of a benchmark: rounds, medians, ratios, bars.

Owns: in which order subjects take turns, and what their measurements amount to. Pure but for `run`, which awaits what it is given; it must never
read a clock: subjects measure themselves.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf
from statistics import median

Measures = Mapping[str, float]
"""What one subject measured in one round, by the metric's name."""

Subject = Callable[[], Awaitable[Measures]]


class Better(StrEnum):
    """Which way a metric improves."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. `compared` says whether a ratio to the reference means something."""

    name: str
    unit: str
    better: Better = Better.LOWER
    compared: bool = True


@dataclass(frozen=True, slots=True)
class Bar:
    """What a subject has to reach: `factor` times the value of `against` (none: nought), plus `plus`, in the metric's unit.

    An upper bound for metrics where lower is better, else a lower bound.
    """

    subject: str
    metric: str
    factor: float = 0.0
    against: str | None = None
    plus: float = 0.0

    def bound(self, reference: float) -> float:
        """Return the bound where `against` measured `reference`."""
        return self.factor * reference + self.plus


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the lowest and the highest value beside it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a bar was reached. `value` and `bound` are medians over the rounds; the judgement is made round by round."""

    bar: Bar
    value: float
    bound: float
    met: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A contest's measurements: `rounds[subject][round][metric]`. Without a `reference` they are figures, not ratios."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    rounds: Mapping[str, Sequence[Measures]]
    reference: str | None = None
    bars: tuple[Bar, ...] = ()
    notes: tuple[str, ...] = ()

    def values(self, subject: str, metric: str) -> list[float]:
        """Return what a subject measured, a value a round; empty where it does not measure that."""
        return [measures[metric] for measures in self.rounds[subject] if metric in measures]

    def spread(self, subject: str, metric: str) -> Spread | None:
        """Return the median of the rounds; None where there is nothing."""
        return spread(self.values(subject, metric))

    def ratio(self, subject: str, metric: str, against: str | None = None) -> Spread | None:
        """Return the ratio to `against` (else the reference): each round against the same round, then the median of those.

        None where there is nothing to compare with.
        """
        other = against or self.reference
        references = self.values(other, metric) if other is not None else []
        return spread(ratios(self.values(subject, metric), references)) if references else None

    def verdicts(self) -> list[Verdict]:
        """Judge the bars whose subjects took part."""
        return [verdict for bar in self.bars if (verdict := self._judge(bar)) is not None]

    def _judge(self, bar: Bar) -> Verdict | None:
        sides = {bar.subject} if bar.against is None else {bar.subject, bar.against}
        if not sides <= self.rounds.keys():
            return None
        values = self.values(bar.subject, bar.metric)
        others = [0.0] * len(values) if bar.against is None else self.values(bar.against, bar.metric)
        if not values or len(values) != len(others):
            return None
        bounds = [bar.bound(other) for other in others]
        share = median(_share(value, bound) for value, bound in zip(values, bounds, strict=True))
        better = next(metric.better for metric in self.metrics if metric.name == bar.metric)
        met = share <= 1.0 if better is Better.LOWER else share >= 1.0
        return Verdict(bar, median(values), median(bounds), met)


@dataclass(frozen=True, slots=True)
class Contest:
    """Subjects that do the same work in turns."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    subjects: Mapping[str, Subject]
    reference: str | None = None
    bars: tuple[Bar, ...] = ()
    notes: list[str] = field(default_factory=list)

    async def run(self, rounds: int) -> Outcome:
        """Let the subjects take turns for so many rounds."""
        measured: dict[str, list[Measures]] = {name: [] for name in self.subjects}
        for number in range(rounds):
            for name in turns(tuple(self.subjects), number):
                measured[name].append(dict(await self.subjects[name]()))
        return Outcome(
            self.name, self.title, self.metrics, measured, self.reference, self.bars, tuple(dict.fromkeys(self.notes))
        )


def over(outcome: Outcome, metric: str, base: str, name: str, least: float) -> Outcome:
    """Add a metric: what a subject measured of another one over what `base` measured of it in the same round.

    For what a subject adds to a way that takes time without it. Of two measurements that vary the difference varies more: it is taken for at least `least`,
    a share of what the base measured.
    """
    bases = outcome.values(base, metric)
    rounds = {
        subject: [
            {**measures, name: max(least * bases[number], measures[metric] - bases[number])}
            if subject != base
            else dict(measures)
            for number, measures in enumerate(each)
        ]
        for subject, each in outcome.rounds.items()
    }
    return replace(outcome, rounds=rounds)


def turns(names: Sequence[str], number: int) -> tuple[str, ...]:
    """Return the order of a round: forwards, then backwards, so that a machine that slows down slows down everyone (A B B A)."""
    return tuple(names) if number % 2 == 0 else tuple(reversed(names))


def ratios(values: Sequence[float], references: Sequence[float]) -> list[float]:
    """Divide round by round; rounds in which the reference measured nothing are left out.

    Raises:
        ValueError: the two did not take part in the same rounds.
    """
    return [value / reference for value, reference in zip(values, references, strict=True) if reference]


def _share(value: float, bound: float) -> float:
    """Return a value as a share of its bound; of a bound of nought only nought is not more."""
    if bound:
        return value / bound
    return inf if value else 1.0


def spread(values: Sequence[float]) -> Spread | None:
    """Return median, lowest and highest; None of nothing."""
    return Spread(median(values), min(values), max(values)) if values else None


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all do not exceed (nearest rank): no interpolation, so it is a value that was seen.

    Raises:
        ValueError: no values, or a share outside (0, 1].
    """
    if not values or not 0 < share <= 1:
        raise ValueError("a quantile needs values and a share in (0, 1]")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # the ceiling
    return ordered[max(0, int(rank) - 1)]
