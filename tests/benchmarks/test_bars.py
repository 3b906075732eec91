"""Every promise about speed has a suite that measures it, and every suite a line in the docs."""

import inspect
import re

import pytest

from benchmarks import bars
from benchmarks.run import SUITES
from tests.architecture.imports import ROOT


@pytest.mark.parametrize("row", bars.ROWS, ids=lambda row: row.what)
def test_a_bar_is_measured_by_its_suite(row: bars.Row) -> None:
    module = inspect.getmodule(SUITES[row.suite])
    assert module is not None
    text = inspect.getsource(module)
    stem = re.match(r"(?:[a-z]+_)*[a-z]+", row.contest)
    assert stem is not None
    assert stem[0] in text
    assert "bars.of(" in text
    assert row.bar in bars.of(row.contest)
    assert row.bar.factor > 0 or row.bar.against is None


def test_a_bar_is_promised_once() -> None:
    assert len({(row.contest, row.bar.subject, row.bar.metric) for row in bars.ROWS}) == len(bars.ROWS)
    assert len({row.what for row in bars.ROWS}) == len(bars.ROWS)


def test_each_suite_is_told_of_in_the_docs() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(SUITES)
