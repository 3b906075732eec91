"""A run as a whole: what is absent is named, what broke is told and fails it, and what was measured is written three times over."""

import json
from pathlib import Path

import pytest

from benchmarks import machine, prepare, run
from benchmarks.harness import Bar, Contest, Metric, Outcome
from benchmarks.home import BenchError
from benchmarks.suites import Context


async def measured(context: Context) -> list[Outcome]:
    async def subject() -> dict[str, float]:
        return {"wall": 3.0}

    contest = Contest("a", "title", (Metric("wall", "ms"),), {"ours": subject}, bars=(Bar("ours", "wall", plus=2.0),))
    return [await contest.run(context.rounds(1, 3))]


async def absent(context: Context) -> list[Outcome]:
    context.need("nginx")
    return []


async def broken(_: Context) -> list[Outcome]:
    raise BenchError("it did not start")


async def faulty(_: Context) -> list[Outcome]:
    raise ZeroDivisionError


@pytest.fixture(autouse=True)
def suites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SUITES", {"measured": measured, "absent": absent, "broken": broken, "faulty": faulty})
    monkeypatch.setattr(run, "_LISTEN_SECONDS", 0.01)
    monkeypatch.setattr(prepare, "found", lambda: {"nginx": None})
    monkeypatch.setattr(prepare, "versions", dict)
    monkeypatch.setattr(machine, "raise_file_limit", lambda: None)  # it would hold for the tests that follow


def test_a_missed_bar_and_an_absent_peer_fail_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "results" / "run.json"
    assert run.main(["--quick", "--output", str(output), "measured", "absent"]) == 0
    told = capsys.readouterr().out
    assert "absent: nginx is not there" in told
    assert "0 of 1 bars met\n  MISSED a: ours: wall at most 2 ms: 3 against 2 ms" in told
    made = json.loads(output.read_text())
    assert made["suites_absent"] == {"absent": "nginx is not there"}
    assert made["outcomes"][0]["subjects"]["ours"]["wall"]["rounds"] == [3.0]
    assert {"commit", "cores", "busy_cores_before", "busy_cores_after"} <= made["machine"].keys()
    assert "| ours | 3 [3..3] |" in output.with_suffix(".md").read_text()
    assert output.with_suffix(".svg").read_text().startswith("<svg")


def test_what_broke_is_told_and_the_rest_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run.json"
    assert run.main(["--output", str(output)]) == 1
    made = json.loads(output.read_text())
    assert made["failures"]["broken"] == "it did not start"
    assert "ZeroDivisionError" in made["failures"]["faulty"]
    assert made["outcomes"][0]["subjects"]["ours"]["wall"]["rounds"] == [3.0] * 3
    assert "broken: FAILED: it did not start" in capsys.readouterr().out


def test_tables_and_chart_are_made_again_without_measuring(tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    run.main(["--output", str(output), "measured"])
    before = [output.with_suffix(suffix).read_text() for suffix in (".md", ".svg")]
    for suffix in (".md", ".svg"):
        output.with_suffix(suffix).unlink()
    assert run.main(["--render", "--output", str(output)]) == 0
    assert [output.with_suffix(suffix).read_text() for suffix in (".md", ".svg")] == before


def test_a_suite_that_does_not_exist_is_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["nonsense"])
    assert "no such suite: nonsense" in capsys.readouterr().err
