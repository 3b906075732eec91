"""The picture of a run: what is drawn is what was measured."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

import pytest

from benchmarks import bars
from benchmarks.chart import WIDTH, Line, Panel, panels, svg
from benchmarks.harness import Metric, Outcome
from benchmarks.report import Run

METRICS = (Metric("rate", "1/s"), Metric("cpu", "µs"))
SVG = "{http://www.w3.org/2000/svg}"


def run(**contests: Mapping[str, float]) -> Run:
    outcomes = tuple(
        Outcome(name, name, METRICS, {who: [{"rate": value, "cpu": 1000 / value}] for who, value in found.items()})
        for name, found in contests.items()
    )
    return Run("now", False, {}, outcomes, {}, {})


def test_a_subject_is_drawn_once_and_in_a_fixed_order() -> None:
    found = panels(
        run(
            translated_32={bars.OURS: 7.0, bars.TO_GEMINI: 5.0, "not drawn": 1.0},
            pass_32={bars.NGINX: 20.0, bars.OURS: 10.0, bars.DIRECT: 40.0},
        )
    )
    assert [panel.unit for panel in found] == ["1/s", "µs"]
    assert [(line.label, line.value, line.own) for line in found[0].lines] == [
        ("upstream alone", 40.0, False),
        ("nginx", 20.0, False),
        ("ccs-broker, untouched", 10.0, True),
        ("ccs-broker, OpenAI to Gemini", 5.0, True),
    ]


def drawn(*values: float) -> tuple[list[float], list[str]]:
    panel = Panel("<b> & c", "1/s", tuple(Line(f"l{value}", value, own=True) for value in values))
    root = ET.fromstring(svg([panel]))  # it is our own
    lengths = [float(each.attrib["width"]) for each in root.iter(f"{SVG}rect")]
    return lengths, [each.text or "" for each in root.iter(f"{SVG}text")]


def test_lengths_are_in_proportion_and_values_are_written() -> None:
    lengths, texts = drawn(100.0, 50.0, 25.0)
    assert lengths[0] / lengths[1] == pytest.approx(2, rel=0.01)
    assert lengths[0] / lengths[2] == pytest.approx(4, rel=0.01)
    assert texts[0] == "<b> & c (1/s)"
    assert {"100", "50", "25"} <= set(texts)


def test_far_apart_values_are_on_powers_of_ten_and_none_vanishes() -> None:
    lengths, texts = drawn(100_000.0, 1000.0, 10.0)
    assert lengths[0] - lengths[1] == pytest.approx(lengths[1] - lengths[2], abs=0.2)
    assert min(lengths) > 20
    assert texts[0] == "<b> & c (1/s, logarithmic)"


@pytest.mark.parametrize("values", [(0.02, 0.5), (3.0,), (17.0, 99.0), (999.0, 1001.0), (1.0, 30.0), (0.5, 1e6)])
def test_nothing_is_drawn_outside(values: tuple[float, ...]) -> None:
    lengths, _ = drawn(*values)
    assert all(0 < length <= WIDTH - 300 for length in lengths)


def test_the_picture_is_the_same_for_the_same_run_and_follows_the_pages_colours() -> None:
    made = [svg(panels(run(pass_32={bars.NGINX: 20.0, bars.OURS: 10.0}))) for _ in range(2)]
    assert made[0] == made[1]
    assert "prefers-color-scheme: dark" in made[0]
