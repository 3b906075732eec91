"""Accounts, and what is left of their quota, as a person reads them.

Owns: the layout of `list`, `status` and `quota`, on wide terminals a table, on narrow ones a block an account. Nothing is printed here. Text of others goes
through `wording.clean`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.cli.wording import clean, moment, percent, span

if TYPE_CHECKING:
    from broker.cli.results import QuotaOf
    from broker.ipc.schema import AccountQuota, AccountView, QuotaWindow

_WIDE = 100
"""Columns from which a table of accounts is easier to read than blocks."""
_BAR = 10
_BAR_FROM = 60
_STYLES = {
    "active": "green",
    "refreshing": "cyan",
    "backoff": "yellow",
    "ambiguous": "yellow",
    "unsaved": "bold red",
    "needs_login": "bold red",
    "paused": "dim",
}
_LEGEND = "* is what the provider's name alone means"
_TOLD_FACTS = ("project_id", "plan", "region", "host")
_FULLEST = 2
"""Windows of a quota that are named in a list of accounts; some vendors have one for each model."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Accounts at wall-clock second `now`."""

    accounts: "Sequence[AccountView]"
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= _WIDE:
            yield self._table()
        else:
            yield from self._blocks()
        yield Text(_LEGEND, style="dim")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("ACCOUNT", "STATE", "EXPIRES", "RENEWED", "NEXT", "NOTE"):
            # Names and paths are copied by hand or mouse: folding keeps them whole where a cut would not.
            table.add_column(column, overflow="fold", no_wrap=False)
        for view in self.accounts:
            table.add_row(_name(view), _state(view), *_times(view, self.now), _plain(". ".join(_notes(view, self.now))))
        return table

    def _blocks(self) -> Iterable[RenderableType]:
        for view in self.accounts:
            yield _name(view)
            _, renewed, upcoming = _times(view, self.now)
            told = _state(view)
            told.append(f", {_end(view.expires_at, self.now)}", style="default")
            if view.last_refresh is not None:
                told.append(f", renewed {renewed}", style="default")
            if view.next_refresh is not None:
                told.append(f", next {upcoming}", style="default")
            yield Padding(told, (0, 0, 0, 2))
            for note in _notes(view, self.now):
                yield Padding(_plain(note), (0, 0, 0, 2))


def _name(view: "AccountView") -> Text:
    name = Text(clean(view.account))
    if view.default:
        name.append(" *", style="cyan")
    return name


def _state(view: "AccountView") -> Text:
    """The state, and what the user decided beside it."""
    marks = [name for name, on in (("paused", view.paused), ("disabled", view.disabled)) if on and name != view.state]
    return Text(", ".join((clean(view.state), *marks)), style=_STYLES.get(view.state, ""))


def _times(view: "AccountView", now: float) -> tuple[str, str, str]:
    return (
        moment(view.expires_at, now, never="never"),
        moment(view.last_refresh, now),
        moment(view.next_refresh, now),
    )


def _end(expires_at: float | None, now: float) -> str:
    if expires_at is None:
        return "never expires"
    return f"{'expires' if expires_at > now else 'expired'} {moment(expires_at, now)}"


def _notes(view: "AccountView", now: float) -> list[str]:
    """Who it is, what is wrong, and what to do, each a sentence without its full stop."""
    notes = [who] if (who := _identity(view)) else []
    notes += [view.reason] if view.reason else []
    notes += [
        f"{each.model or 'all models'} set aside, free {moment(each.until, now)}: {each.reason}"
        for each in view.cooldowns
        if each.until > now
    ]
    notes += [f"shared with {view.linked}"] if view.linked else []
    notes += [told] if view.quota and (told := in_short(view.quota, now)) else []
    notes += [view.hint] if view.hint else []
    notes += view.warnings
    return [clean(note).rstrip(".") for note in notes]


def _identity(view: "AccountView") -> str:
    known = [view.email] if view.email and view.email.casefold() != view.label.casefold() else []
    known += [f"{name.removesuffix('_id')} {told}" for name in _TOLD_FACTS if (told := view.facts.get(name))]
    return ", ".join(known)


def in_short(quota: "AccountQuota", now: float) -> str:
    """Return what is known of a quota in a line, the fullest windows first: `quota 2 min ago: pro, 5 hours 25 % used, 2 more`.

    Where no window could be read, it says why. Empty where nothing is known.
    """
    windows = sorted((each for each in quota.windows if each.used is not None), key=lambda each: -(each.used or 0.0))
    told = [quota.plan] if quota.plan else []
    told += [f"{each.name} {percent(each.used or 0.0)} used" for each in windows[:_FULLEST]]
    told += [f"{len(windows) - _FULLEST} more"] if len(windows) > _FULLEST else []
    if not windows:
        told += quota.notes[:1]
    return f"quota {moment(quota.read_at, now)}: {', '.join(told)}" if told else ""


@dataclass(frozen=True, slots=True)
class QuotaListing:
    """What the providers told at wall-clock second `now`."""

    accounts: "Sequence[QuotaOf]"
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for each in self.accounts:
            head = Text(clean(each.account), style="bold")
            if each.quota is not None and each.quota.plan:
                head.append(f"  {clean(each.quota.plan)}", style="cyan")
            yield head
            if each.quota is not None:
                yield from _told(each.quota, self.now, bars=options.max_width >= _BAR_FROM)
            if each.problem is not None:
                style = "dim" if each.problem.code in _QUIET else "yellow"
                yield Padding(_plain(each.problem.detail, style), (0, 0, 0, 2))


# What is no fault: the provider has nothing to ask, or the user put the account aside.
_QUIET = frozenset({"unsupported", "account_paused"})


def _told(quota: "AccountQuota", now: float, *, bars: bool) -> Iterable[RenderableType]:
    if quota.windows:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(overflow="fold")
        if bars:
            table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        for window in quota.windows:
            cells = (_plain(window.name), *((_bar(window.used),) if bars else ()))
            table.add_row(*cells, Text(_used(window), style=_alarm(window.used)), _plain(_rest(window, now)))
        yield Padding(table, (0, 0, 0, 2))
    for note in quota.notes:
        yield Padding(_plain(note), (0, 0, 0, 2))
    if not quota.windows and not quota.notes:
        yield Padding(Text("no limits told", style="dim"), (0, 0, 0, 2))


def _bar(used: float | None) -> Text:
    if used is None:
        return Text("")
    filled = min(int(used * _BAR + 1e-9), _BAR)  # full is what has nothing left
    bar = Text("█" * filled, style=_alarm(used))
    bar.append("░" * (_BAR - filled), style="dim")
    return bar


def _used(window: "QuotaWindow") -> str:
    return "" if window.used is None else percent(window.used)


def _alarm(used: float | None) -> str:
    if used is None or used < 0.75:
        return "green"
    return "yellow" if used < 0.95 else "bold red"


def _rest(window: "QuotaWindow", now: float) -> str:
    resets = None
    if window.resets_at is not None:
        resets = f"resets in {span(window.resets_at - now)}" if window.resets_at > now else "has begun anew"
    return ", ".join(part for part in (resets, window.note) if part)


def _plain(text: str, style: str = "") -> Text:
    return Text(clean(text), style=style)
