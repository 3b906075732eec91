"""What a run is told as: a table for people, JSON for programs. Pure."""

from collections.abc import Iterable, Mapping

from benchmarks.harness import Bar, Better, Metric, Outcome, Spread, Verdict

VERSION = 1
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
    metric = next(each for each in outcome.metrics if each.name == bar.metric)
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


def _outcome(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.name,
        "title": outcome.title,
        "reference": outcome.reference,
        "metrics": {
            metric.name: {"unit": metric.unit, "better": metric.better.value} for metric in outcome.metrics
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
