"""The picture of a run: bars of requests per second and of processor time, as SVG. Pure, and the same text for the same run.

Owns: drawing, nothing else. It is read on white and on black pages: text and bars go by the page's colour scheme where the viewer tells it, and have colours
that show on both where it does not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks import bars
from benchmarks.report import Run, number

WIDTH = 760
_LEFT, _RIGHT, _ROW, _HEAD, _GAP, _BAR = 235, 95, 24, 44, 18, 14

_STYLE = """<style>
 text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #6e7781 }
 .title { font-weight: 600 } .small { font-size: 11px }
 .ours { fill: #2f7fd6 } .other { fill: #8c959f } .grid { stroke: #8c959f; stroke-opacity: .35 }
 @media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } .ours { fill: #58a6ff } .other { fill: #7d8590 } }
</style>"""


@dataclass(frozen=True, slots=True)
class Line:
    """A bar. `own`: it is this program's."""

    label: str
    value: float
    own: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars of one metric. Values that differ more than thirty times are drawn on a scale of powers of ten."""

    title: str
    unit: str
    lines: tuple[Line, ...]


_WANTED = (
    ("Requests per second, 1 KiB, one core", "rate", "1/s", ("pass_32", "translated_32", "litellm_whole")),
    ("Processor time per request, less is better", "cpu", "µs", ("pass_32", "translated_32", "litellm_whole")),
    ("Processor time per chunk of a stream, less is better", "cpu", "µs", ("translated_streams_16",)),
    ("Memory of an open, idle stream, less is better", "memory", "KiB", ("idle_streams",)),
)  # fmt: skip

_OWN = {
    bars.OURS: "ccs-broker, untouched",
    bars.TO_GEMINI: "ccs-broker, OpenAI to Gemini",
    bars.TO_CLAUDE: "ccs-broker, OpenAI to Claude",
}
_OTHERS = {bars.DIRECT: "upstream alone", bars.NGINX: "nginx", bars.LITELLM: "LiteLLM, OpenAI to Gemini"}


def panels(run: Run) -> list[Panel]:
    """Return what there is to draw of a run; a subject that several contests measured is drawn from the first."""
    made = [Panel(title, unit, _lines(run, metric, contests)) for title, metric, unit, contests in _WANTED]
    return [panel for panel in made if panel.lines]


def svg(drawn: Sequence[Panel]) -> str:
    """Return the picture."""
    parts: list[str] = []
    at = 8
    for panel in drawn:
        parts += _panel(panel, at)
        at += _HEAD + _ROW * len(panel.lines) + _GAP
    size = f'width="{WIDTH}" height="{at}" viewBox="0 0 {WIDTH} {at}"'
    title = "ccs-broker beside others, measured in one run"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">'
    return "\n".join([head, f"<title>{title}</title>", _STYLE, *parts, "</svg>", ""])


def _lines(run: Run, metric: str, contests: Sequence[str]) -> tuple[Line, ...]:
    found: dict[str, Line] = {}
    for outcome in (each for name in contests for each in run.outcomes if each.name == name):
        for subject in outcome.rounds:
            label = _OWN.get(subject) or _OTHERS.get(subject)
            measured = outcome.spread(subject, metric)
            if label is not None and measured is not None:
                found.setdefault(label, Line(label, measured.median, subject in _OWN))
    order = [_OTHERS[bars.DIRECT], _OTHERS[bars.NGINX], *_OWN.values(), _OTHERS[bars.LITELLM]]
    return tuple(found[label] for label in order if label in found)


def _panel(panel: Panel, top: int) -> list[str]:
    scale = _scale([line.value for line in panel.lines])
    note = "" if scale.low is None else ", logarithmic"
    bottom = top + _HEAD + _ROW * len(panel.lines) - 8
    made = [f'<text class="title" x="8" y="{top + 16}">{escape(panel.title)} ({escape(panel.unit)}{note})</text>']
    for value in scale.ticks:
        x = _number(_LEFT + scale.share(value) * (WIDTH - _LEFT - _RIGHT))
        made.append(f'<line class="grid" x1="{x}" y1="{top + 36}" x2="{x}" y2="{bottom}"/>')
        made.append(f'<text class="small" x="{x}" y="{top + 32}" text-anchor="middle">{number(value)}</text>')
    for row, line in enumerate(panel.lines):
        y = top + _HEAD + _ROW * row
        length = _number(max(1.0, scale.share(line.value) * (WIDTH - _LEFT - _RIGHT)))
        end = _number(_LEFT + float(length) + 6)
        kind = "ours" if line.own else "other"
        made.append(
            f'<text x="{_LEFT - 8}" y="{y + _BAR - 3}" text-anchor="end">{escape(line.label)}</text>'
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{length}" height="{_BAR}" rx="2"/>'
            f'<text x="{end}" y="{y + _BAR - 3}">{number(line.value)}</text>'
        )
    return made


@dataclass(frozen=True, slots=True)
class _Scale:
    """From nought, or from a power of ten (`low`) on a logarithmic one."""

    low: float | None
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Return how far along the axis a value is."""
        if self.low is None:
            return value / self.high
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)


def _scale(values: Sequence[float]) -> _Scale:
    least, most = min(value for value in values if value > 0), max(values)
    if most / least > 30:
        first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
        if least == 10.0**first:
            first -= 1  # else the shortest bar has no length
        return _Scale(10.0**first, 10.0**last, tuple(10.0**power for power in range(first, last + 1)))
    step = 10.0 ** math.floor(math.log10(most))
    step = next(step * part for part in (0.2, 0.5, 1.0, 2.0) if most / (step * part) <= 6)
    steps = math.ceil(most / step)
    return _Scale(None, step * steps, tuple(step * count for count in range(steps + 1)))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
