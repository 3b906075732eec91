"""What a run is told as: tables for people, JSON for programs. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from benchmarks import bars
from benchmarks.harness import Bar, Better, Metric, Outcome, Spread, Verdict

VERSION = 2
"""Of the JSON's shape."""


def table(outcome: Outcome) -> str:
    """Return an outcome as text: a line a subject, with its ratio to the reference and the ratio's spread in brackets."""
    head = ["", *(f"{metric.name} {metric.unit}".strip() for metric in outcome.metrics)]
    lines = [head, *([subject, *_cells(outcome, subject)] for subject in outcome.rounds)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    rounds = len(next(iter(outcome.rounds.values())))
    against = f"; ratios to {outcome.reference}" if outcome.reference else ""
    title = f"{outcome.name}: {outcome.title} ({rounds} round{'s' * (rounds != 1)}{against})"
    judged = [f"  {'met   ' if verdict.met else 'MISSED'} {_bar(outcome, verdict)}" for verdict in outcome.verdicts()]
    return "\n".join([title, *(f"  {row}" for row in rows), *judged, *(f"  note: {note}" for note in outcome.notes)])


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was written. `absent` and `failed` map a suite to the reason."""

    at: str
    quick: bool
    machine: Mapping[str, object]
    outcomes: tuple[Outcome, ...]
    absent: Mapping[str, str]
    failed: Mapping[str, str]


def read(made: Mapping[str, object]) -> Run:
    """Return a run from its JSON.

    Raises:
        ValueError: it has another shape's number.
    """
    if made.get("version") != VERSION:
        raise ValueError(f"results of version {made.get('version')}, not {VERSION}")
    return Run(
        cast("str", made["at"]),
        cast("bool", made["quick"]),
        cast("Mapping[str, object]", made["machine"]),
        tuple(_read_outcome(each) for each in cast("Sequence[Mapping[str, object]]", made["outcomes"])),
        cast("Mapping[str, str]", made.get("suites_absent", {})),
        cast("Mapping[str, str]", made["failures"]),
    )


def markdown(run: Run) -> str:
    """Return a run as a part of docs/performance.md: the machine, the bars, and every contest."""
    facts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in run.machine.items())
    head = f"`python -m benchmarks.run{' --quick' if run.quick else ''}`, {run.at}: {facts}."
    lines = [head, "", "| what | measured | against | ratio | bar | |", "|---|---|---|---|---|---|"]
    lines += [_bar_row(run, row) for row in bars.ROWS]
    for outcome in run.outcomes:
        lines += ["", *_contest(outcome)]
    return "\n".join([*lines, ""])


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return how many bars were met, and which were not."""
    verdicts = [(outcome, verdict) for outcome in outcomes for verdict in outcome.verdicts()]
    missed = [f"  MISSED {outcome.name}: {_bar(outcome, verdict)}" for outcome, verdict in verdicts if not verdict.met]
    return "\n".join([f"{len(verdicts) - len(missed)} of {len(verdicts)} bars met", *missed])


def document(
    outcomes: Iterable[Outcome], failures: Mapping[str, str], about: Mapping[str, object]
) -> dict[str, object]:
    """Return a whole run as JSON values, every single measurement included."""
    return {
        "version": VERSION,
        **about,
        "outcomes": [_outcome(outcome) for outcome in outcomes],
        "failures": dict(failures),
    }


def number(value: float) -> str:
    """Write a measurement with three significant figures."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def _cells(outcome: Outcome, subject: str) -> list[str]:
    return [_cell(outcome, subject, metric) for metric in outcome.metrics]


def _cell(outcome: Outcome, subject: str, metric: Metric) -> str:
    found = outcome.spread(subject, metric.name)
    if found is None:
        return "-"
    ratio = outcome.ratio(subject, metric.name) if metric.compared and subject != outcome.reference else None
    if ratio is None:
        return f"{number(found.median)} [{number(found.low)}..{number(found.high)}]"
    return f"{number(found.median)} = {number(ratio.median)}x [{number(ratio.low)}..{number(ratio.high)}]"


def _bar(outcome: Outcome, verdict: Verdict) -> str:
    bar = verdict.bar
    metric = _metric(outcome, bar.metric)
    word = "at most" if metric.better is Better.LOWER else "at least"
    return (
        f"{bar.subject}: {metric.name} {word} {_terms(bar, metric.unit)}: "
        f"{number(verdict.value)} against {number(verdict.bound)} {metric.unit}"
    ).rstrip()


def _terms(bar: Bar, unit: str) -> str:
    parts = [f"{bar.factor:g} times {bar.against}"] if bar.against else []
    if bar.plus:
        parts.append(f"{bar.plus:g} {unit}".strip())
    return " plus ".join(parts) or f"0 {unit}".strip()


def _bar_row(run: Run, row: bars.Row) -> str:
    outcome = next((each for each in run.outcomes if each.name == row.contest), None)
    verdict = outcome and next((each for each in outcome.verdicts() if each.bar == row.bar), None)
    if outcome is None or verdict is None:
        why = run.absent.get(row.suite) or ("failed" if row.suite in run.failed else row.note or "not measured")
        return f"| {row.what} | | | | {_asked(row)} | {why} |"
    metric = _metric(outcome, row.bar.metric)
    other = outcome.spread(row.bar.against, metric.name) if row.bar.against else None
    ratio = outcome.ratio(row.bar.subject, metric.name, row.bar.against) if row.bar.against else None
    against = f"{row.bar.against} {number(other.median)}" if other else ""
    shown = f"{number(verdict.value)} {metric.unit}".strip()
    met = "met" if verdict.met else "**missed**"
    return f"| {row.what} | {shown} | {against} | {_ranged(ratio) if ratio else ''} | {_asked(row)} | {met} |"


def _asked(row: bars.Row) -> str:
    """What a bar wants, whether or not it was measured."""
    bar = row.bar
    terms = [f"{bar.factor:g} times"] if bar.against else []
    terms += [f"{bar.plus:g}"] if bar.plus or not terms else []
    return " plus ".join(terms) + (f", aim {row.aim}" if row.aim else "")


def _contest(outcome: Outcome) -> list[str]:
    names = [metric.name + (f", {metric.unit}" if metric.unit else "") for metric in outcome.metrics]
    lines = [f"**{outcome.title}**", "", f"| {' | '.join(['', *names])} |", f"|{'---|' * (len(names) + 1)}"]
    return lines + [f"| {' | '.join([subject, *_cells(outcome, subject)])} |" for subject in outcome.rounds]


def _ranged(found: Spread) -> str:
    return f"{number(found.median)} [{number(found.low)}..{number(found.high)}]"


def _metric(outcome: Outcome, name: str) -> Metric:
    return next(each for each in outcome.metrics if each.name == name)


def _read_outcome(made: Mapping[str, object]) -> Outcome:
    metrics = cast("Mapping[str, Mapping[str, object]]", made["metrics"])
    subjects = cast("Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]", made["subjects"])
    return Outcome(
        cast("str", made["name"]),
        cast("str", made["title"]),
        tuple(
            Metric(name, cast("str", each["unit"]), Better(cast("str", each["better"])), bool(each["compared"]))
            for name, each in metrics.items()
        ),
        {
            subject: _rounds({name: each["rounds"] for name, each in found.items()})
            for subject, found in subjects.items()
        },
        cast("str | None", made["reference"]),
        tuple(Bar(**each) for each in cast("Sequence[dict[str, object]]", made["asked"])),  # type: ignore[arg-type]
        tuple(cast("Sequence[str]", made["notes"])),
    )


def _rounds(values: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    count = max((len(each) for each in values.values()), default=0)
    return [{name: each[number] for name, each in values.items() if number < len(each)} for number in range(count)]


def _outcome(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.name,
        "title": outcome.title,
        "reference": outcome.reference,
        "metrics": {
            metric.name: {"unit": metric.unit, "better": metric.better.value, "compared": metric.compared}
            for metric in outcome.metrics
        },
        "subjects": {
            subject: {
                metric.name: {
                    "rounds": outcome.values(subject, metric.name),
                    "value": _spread(outcome.spread(subject, metric.name)),
                    "ratio": _spread(outcome.ratio(subject, metric.name) if metric.compared else None),
                }
                for metric in outcome.metrics
                if outcome.values(subject, metric.name)
            }
            for subject in outcome.rounds
        },
        "asked": [
            {"subject": bar.subject, "metric": bar.metric, "factor": bar.factor, "against": bar.against, "plus": bar.plus}
            for bar in outcome.bars
        ],
        "bars": [
            {
                "subject": verdict.bar.subject, "metric": verdict.bar.metric, "factor": verdict.bar.factor,
                "against": verdict.bar.against, "plus": verdict.bar.plus,
                "value": verdict.value, "bound": verdict.bound, "met": verdict.met,
            }
            for verdict in outcome.verdicts()
        ],
        "notes": list(outcome.notes),
    }  # fmt: skip


def _spread(found: Spread | None) -> dict[str, float] | None:
    return None if found is None else {"median": found.median, "low": found.low, "high": found.high}
