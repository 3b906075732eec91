"""What a run is told as: tables follow from what was measured, and from its JSON alone."""

import json

import pytest

from benchmarks import bars
from benchmarks.harness import Bar, Better, Metric, Outcome
from benchmarks.report import document, markdown, number, read, summary, table

WALL, RATE = Metric("wall", "ms"), Metric("rate", "1/s", Better.HIGHER)
ABOUT = {"at": "2026-01-01T00:00:00+00:00", "quick": True, "machine": {"cores": 2}, "suites_absent": {"tls": "nginx is not there"}}  # fmt: skip


def outcome(*asked: Bar) -> Outcome:
    rounds = {"reference": [{"wall": 10.0}, {"wall": 10.0}], "ours": [{"wall": 20.0}, {"wall": 30.0}]}
    return Outcome("a", "title", (WALL,), rounds, "reference", asked)


def passed(ours: float) -> Outcome:
    rounds = {
        bars.NGINX: [{"rate": 1000.0, "cpu": 10.0}],
        bars.OURS: [{"rate": ours, "cpu": 15.0}],
    }
    cpu = Metric("cpu", "µs/request")
    return Outcome("pass_32", "1 KiB", (RATE, cpu), rounds, bars.NGINX, bars.of("pass_32"), ("a note",))


def test_the_table_shows_value_ratio_spread_and_verdict() -> None:
    text = table(outcome(Bar("ours", "wall", 2.0, "reference")))
    assert text.splitlines() == [
        "a: title (2 rounds; ratios to reference)",
        "             wall ms",
        "  reference  10 [10..10]",
        "  ours       25 = 2.5x [2..3]",
        "  MISSED ours: wall at most 2 times reference: 25 against 20 ms",
    ]


def test_the_document_holds_every_measurement() -> None:
    made = document([outcome()], {"start": "why"}, ABOUT)
    assert made["failures"] == {"start": "why"}
    assert made["quick"] is True
    found = made["outcomes"]
    assert isinstance(found, list)
    assert found[0]["subjects"]["ours"]["wall"] == {
        "rounds": [20.0, 30.0],
        "value": {"median": 25.0, "low": 20.0, "high": 30.0},
        "ratio": {"median": 2.5, "low": 2.0, "high": 3.0},
    }


def test_a_run_is_read_back_as_it_was_measured() -> None:
    written = [outcome(Bar("ours", "wall", 2.0, "reference", 1.0)), passed(600.0)]
    found = read(json.loads(json.dumps(document(written, {"start": "why"}, ABOUT))))
    assert list(found.outcomes) == written
    assert [[verdict.met for verdict in each.verdicts()] for each in found.outcomes] == [[False], [True, True]]
    assert (found.at, found.quick, found.machine) == (ABOUT["at"], True, {"cores": 2})
    assert (found.absent, found.failed) == ({"tls": "nginx is not there"}, {"start": "why"})


def test_a_run_of_another_shape_is_not_read() -> None:
    with pytest.raises(ValueError, match="version 1, not 2"):
        read({"version": 1})


@pytest.mark.parametrize(("ours", "word"), [(600.0, "met"), (400.0, "**missed**")])
def test_the_markdown_has_a_row_for_every_bar_measured_or_not(ours: float, word: str) -> None:
    text = markdown(read(document([passed(ours)], {"start": "why"}, ABOUT)))
    lines = text.splitlines()
    assert lines[0] == "`python -m benchmarks.run --quick`, 2026-01-01T00:00:00+00:00: cores 2."
    first = lines.index("|---|---|---|---|---|---|") + 1
    rows = lines[first : first + len(bars.ROWS)]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [row.what for row in bars.ROWS]
    assert (
        f"| pass-through, 1 KiB, 32 connections, requests/s | {ours:.0f} 1/s | nginx 1,000 | {ours / 1000:g} "
        f"[{ours / 1000:g}..{ours / 1000:g}] | 0.5 times, aim 0.8 | {word} |" in rows
    )
    reasons = {bar.what: row.split(" | ")[-1] for bar, row in zip(bars.ROWS, rows, strict=True)}
    assert reasons["pass-through to a TLS upstream, 32 connections, requests/s"] == "nginx is not there |"
    assert reasons["daemon start to ready, 10 accounts"] == "failed |"
    assert reasons["pass-through, 100 KiB request, requests/s"] == "not measured |"
    assert text.endswith(f"**1 KiB**\n\n|  | rate, 1/s | cpu, µs/request |\n|---|---|---|\n| nginx | 1,000 [1,000..1,000] | 10 [10..10] |\n"
                         f"| ccs-broker | {ours:.0f} = {ours / 1000:g}x [{ours / 1000:g}..{ours / 1000:g}] | 15 = 1.5x [1.5..1.5] |\n")  # fmt: skip


def test_the_summary_names_what_was_missed() -> None:
    assert summary([passed(600.0)]) == "2 of 2 bars met"
    assert summary([passed(400.0)]).splitlines() == [
        "1 of 2 bars met",
        "  MISSED pass_32: ccs-broker: rate at least 0.5 times nginx: 400 against 500 1/s",
    ]


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (0.01234, "0.0123"), (12.345, "12.3"), (1234.5, "1,234")])
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert number(value) == text
