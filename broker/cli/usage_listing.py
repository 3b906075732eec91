"""Usage, conversations and limits as a person reads them.

Owns: the layout of `usage`, `sessions` and `limits`. Nothing is printed here. Text of others goes through `wording.clean`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.cli.usage_results import Limits, LimitsOf, Sessions, UsageLine, UsageReport, Used
from broker.cli.wording import clean, moment, percent, span

if TYPE_CHECKING:
    from broker.proxy.usage_limits import Window

_COLUMNS = (
    ("FAILED", "failed"),
    ("LEFT", "left"),
    ("RETRIED", "retried"),
    ("INPUT", "input_tokens"),
    ("CACHED", "cached_tokens"),
    ("OUTPUT", "output_tokens"),
    ("THOUGHT", "reasoning_tokens"),
    ("UNTOLD", "untold"),
)
"""All but the tokens in and out stand only where there is something in them."""

_ALWAYS = frozenset({"input_tokens", "output_tokens"})
_ANY_WIDTH = 10_000


@dataclass(frozen=True, slots=True)
class UsageListing:
    """`usage`: a table, or where that is too wide a block a line."""

    report: UsageReport

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        report = self.report
        if not report.lines:
            yield Text(f"Nothing was counted {_period(report)}.")
            return
        yield Text(f"Used {_period(report)}:", style="dim")
        table = self._table()
        if Measurement.get(console, options.update(max_width=_ANY_WIDTH), table).maximum <= options.max_width:
            yield table
            return
        for line in report.lines:
            yield Text("  ".join(_name(line, group) for group in report.by), style="bold")
            yield Padding(Text(_told(line.used)), (0, 0, 0, 2))
        if len(report.lines) > 1:
            yield Text("total", style="bold")
            yield Padding(Text(_told(report.total)), (0, 0, 0, 2))

    def _table(self) -> Table:
        report = self.report
        shown = [(title, name) for title, name in _COLUMNS if name in _ALWAYS or getattr(report.total, name)]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for group in report.by:
            table.add_column(group.upper(), overflow="fold")
        for title in ("REQUESTS", *(title for title, _ in shown), "TIME", "FIRST BYTE"):
            table.add_column(title, justify="right", no_wrap=True)
        for line in report.lines:
            table.add_row(*(_name(line, group) for group in report.by), *_cells(line.used, shown))
        if len(report.lines) > 1:
            empty = [""] * (len(report.by) - 1)
            table.add_row("total", *empty, *_cells(report.total, shown), style="bold")
        return table


def sessions(found: Sessions) -> Iterable[RenderableType]:
    """Lay out `sessions`."""
    if not found.sessions:
        yield Text("No conversation was seen within a day.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("SESSION", "KEY", "ACCOUNT", "MODEL", "REQUESTS", "BEGAN", "LAST"):
        table.add_column(title, overflow="fold", justify="right" if title == "REQUESTS" else "left")
    for each in found.sessions:
        named = (each.session, each.key, each.account, each.model)
        times = (moment(each.first, found.now), moment(each.last, found.now))
        table.add_row(*(clean(text) for text in named), short(each.requests), *times)
    yield table


def limits(found: Limits) -> Iterable[RenderableType]:
    """Lay out `limits`."""
    for account in found.accounts:
        head = Text(clean(account.account), style="bold")
        if account.at is not None:
            head.append(f"  {moment(account.at, found.now)}", style="dim")
        yield head
        yield from _account(account, found.now)
    if not found.accounts:
        yield Text("No provider has told limits through the proxy yet.")
    if found.reason is not None:
        yield Text(f"Which accounts are set aside is not known: {clean(found.reason)}", style="yellow")
    if found.keys:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for title in ("KEY", "LEFT", "A MINUTE"):
            table.add_column(title, overflow="fold", justify="left" if title == "KEY" else "right")
        for key in found.keys:
            table.add_row(clean(key.key), str(key.left), str(key.rpm))
        yield table


def _period(report: UsageReport) -> str:
    return f"from {_minute(report.since)} to {_minute(report.until)}"


def _minute(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def _name(line: UsageLine, group: str) -> str:
    return clean(str(getattr(line, group)))


def _cells(used: Used, shown: Sequence[tuple[str, str]]) -> list[str]:
    numbers = [short(getattr(used, name)) for _, name in shown]
    return [
        short(used.requests),
        *numbers,
        _mean(used.seconds, used.requests),
        _mean(used.first_seconds, used.answered),
    ]


def _told(used: Used) -> str:
    """Say a line's numbers in a sentence, which fits any width."""
    words = {"failed": "failed", "left": "given up", "retried": "retried"}
    parts = [f"{short(used.requests)} {'request' if used.requests == 1 else 'requests'}"]
    parts += [f"{short(number)} {word}" for name, word in words.items() if (number := getattr(used, name))]
    parts.append(
        f"{short(used.input_tokens)} in" + (f" ({short(used.cached_tokens)} cached)" if used.cached_tokens else "")
    )
    parts.append(
        f"{short(used.output_tokens)} out"
        + (f" ({short(used.reasoning_tokens)} thought)" if used.reasoning_tokens else "")
    )
    parts += [f"{short(used.untold)} untold"] if used.untold else []
    parts.append(f"{_mean(used.seconds, used.requests)} each, first byte {_mean(used.first_seconds, used.answered)}")
    return ", ".join(parts)


def short(number: int) -> str:
    """Return a number as 9,999 or 12.3k or 4.5M; scripts get it whole."""
    if number < 10_000:
        return f"{number:,}"
    value, units = number / 1000, ["k", "M", "G", "T"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:,.1f}{units[0]}"


def _mean(seconds: float, number: int) -> str:
    if not number:
        return "-"
    mean = seconds / number
    return f"{mean:.2f} s" if mean < 10 else f"{mean:.0f} s"


def _account(account: LimitsOf, now: float) -> Iterable[RenderableType]:
    if account.windows:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for _ in range(4):
            table.add_column(overflow="fold")
        for window in account.windows:
            table.add_row(clean(window.name), _use(window), _resets(window, now), clean(window.status or ""))
        yield Padding(table, (0, 0, 0, 2))
    for name, value in account.other.items():
        yield Padding(Text(f"{clean(name)}: {clean(value)}", style="dim"), (0, 0, 0, 2))
    for each in account.cooldowns:
        text = f"{each.model or 'all models'} set aside, free {moment(each.until, now)}: {each.reason}"
        yield Padding(Text(clean(text), style="yellow"), (0, 0, 0, 2))


def _use(window: "Window") -> Text:
    told = [] if window.used is None else [f"{percent(window.used)} used"]
    if window.remaining is not None:
        told.append(f"{window.remaining:g} left" + (f" of {window.limit:g}" if window.limit is not None else ""))
    elif window.limit is not None:
        told.append(f"limit {window.limit:g}")
    return Text(", ".join(told), style="" if window.used is None or window.used < 0.95 else "bold red")


def _resets(window: "Window", now: float) -> str:
    if window.resets_at is None:
        return ""
    return f"resets in {span(window.resets_at - now)}" if window.resets_at > now else "has begun anew"
