"""Results as a person reads them: rich tables and sentences.

Owns: the layout. Nothing is printed here; `broker.cli.output` does. Text of others goes through `wording.clean` and `Text`, never through rich's markup: an
account's label or a provider's message must not be able to colour, hide or move anything.
"""

from collections import Counter
from collections.abc import Iterable
from functools import singledispatch
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text as RichText

from broker.cli import results, usage_listing, usage_results
from broker.cli.listing import Listing, QuotaListing
from broker.cli.network_results import Ways, WayTried
from broker.cli.requests_results import RequestList, RequestShown
from broker.cli.wording import clean, count, moment, span

if TYPE_CHECKING:
    from broker.doctor.finding import Finding as Fault
    from broker.doctor.mend import Repair
    from broker.ipc.schema import Health


@singledispatch
def layout(result: object) -> Iterable[RenderableType]:
    """Return what to print for a result, top to bottom; there is one form for each of `results.Result`."""
    raise TypeError(f"no layout for {type(result).__name__}")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        # Names and paths are copied by hand or mouse: folding keeps them whole where a cut would not.
        table.add_column(column, overflow="fold", no_wrap=False)
    return table


def _plain(text: str, style: str = "") -> RichText:
    return RichText(clean(text), style=style)


def _whole(text: str, style: str = "") -> RenderableType:
    """A sentence that the terminal breaks by itself: a command in it is then copied in one piece."""
    # In a group: a text of its own is joined with what is printed beside it, and forgets not to wrap.
    return Group(RichText(clean(text), style=style, no_wrap=True, overflow="ignore"))


def _verbatim(line: str) -> RenderableType:
    """A line as it is, but for what could steer a terminal."""
    safe = "".join(each if each.isprintable() else "?" for each in line.expandtabs())
    return Group(RichText(safe, no_wrap=True, overflow="ignore"))


@layout.register
def _text(result: results.Text) -> list[RenderableType]:
    return [RichText(result.text)]


@layout.register
def _accounts(result: results.Accounts) -> list[RenderableType]:
    if not result.accounts:
        return [RichText("No accounts yet. Run: ccs-broker login gemini")]
    return [Listing(result.accounts, result.now)]


@layout.register
def _quotas(result: results.Quotas) -> list[RenderableType]:
    if not result.accounts:
        return [RichText("No accounts yet. Run: ccs-broker login gemini")]
    return [QuotaListing(result.accounts, result.now)]


@layout.register
def _changed(result: results.Changed) -> list[RenderableType]:
    view = result.account
    state = "" if view.state == result.done else f"{view.state}, "
    ends = "never expires" if view.expires_at is None else f"expires {moment(view.expires_at, result.now)}"
    line = f"{view.account} {result.done}: {state}token {ends}"
    return [_plain(line)]


@layout.register
def _ways(result: Ways) -> list[RenderableType]:
    table = _table("for", "proxy", "by")
    for each in result.routes:
        whom = each.account or each.provider or "all others"
        way = each.proxy or ("none" if each.fault else "direct")
        said = f"{each.source} {each.fault}" if each.fault else each.source
        table.add_row(_plain(whom), _plain(way, "bold red" if each.fault else ""), _plain(said))
    return [table]


@layout.register
def _way_tried(result: WayTried) -> list[RenderableType]:
    said = result.answer
    way = f"through {said.proxy}" if said.proxy else "directly"
    how = f"{said.target} {way} ({said.source})"
    if said.ok:
        return [_whole(f"Connected to {how} in {said.seconds:.3f} s.", "green")]
    return [_whole(f"Not connected to {how}: {said.error}", "bold red")]


@layout.register
def _status(result: results.Status) -> list[RenderableType]:
    table = _table("", "")
    table.show_header = False
    if result.health is None:
        table.add_row("daemon", RichText("not running", style="bold red"))
        table.add_row("", _plain(result.reason or ""))
        table.add_row("", "Start it: ccs-broker up, or: ccs-broker service install")
    else:
        _health(table, result.health, result.socket)
    proxy = result.proxy
    table.add_row("proxy", _plain(f"{proxy.detail} at {proxy.url}", "" if proxy.reachable else "bold red"))
    if result.health is None:
        return [table]
    return [table, RichText(""), *_accounts(results.Accounts(result.accounts, result.now))]


def _health(table: Table, health: "Health", socket: str) -> None:
    style = "green" if health.status == "ok" else "bold yellow"
    first = f"{health.status}, version {health.version}, process {health.pid}, up {span(health.uptime)}"
    table.add_row("daemon", _plain(first, style))
    for problem in health.problems:
        table.add_row("problem", _plain(problem, "bold yellow"))
    table.add_row("socket", _plain(socket))
    for folder in health.directories:
        table.add_row("files", _plain(f"{folder} ({health.store_mode})"))
    if health.protections:
        words = [
            f"{name.replace('_', ' ').replace('-', ' ')}: {'yes' if on else 'NO'}"
            for name, on in sorted(health.protections.items())
        ]
        table.add_row("guarded", _plain(", ".join(words)))


@layout.register
def _logged_in(result: results.LoggedIn) -> list[RenderableType]:
    login = result.login
    lines: list[RenderableType] = [_whole(f"Logged in as {login.account or login.provider}.", "green")]
    if login.file:
        lines.append(_whole(f"Saved in {login.file}"))
    return [*lines, *(_whole(note) for note in login.notes)]


@layout.register
def _logged_out(result: results.LoggedOut) -> list[RenderableType]:
    answer = result.answer
    revoked = (
        "revoked at the provider"
        if answer.revoked
        else f"not revoked at the provider: {answer.detail or 'it cannot be'}"
    )
    return [_whole(f"{answer.account} is logged out; its login was removed here and {revoked}.")]


_ACTIONS = {
    "added": ("added", "green"),
    "updated": ("renewed from there", "green"),
    "linked": ("shared from now on", "green"),
    "unlinked": ("no longer shared", "yellow"),
    "present": ("already here", "dim"),
    "skipped": ("not taken over", "yellow"),
    "refused": ("cannot be taken over", "bold red"),
}


@layout.register
def _imported(result: results.Imported) -> list[RenderableType]:
    answer = result.answer
    if not answer.logins:
        return [RichText("No logins of other programs were found.")]
    table = _table("PROGRAM", "ACCOUNT", "LOGIN", "FILE")
    notes: list[RenderableType] = []
    for each in answer.logins:
        word, style = _ACTIONS.get(each.action, (each.action, ""))
        table.add_row(_plain(each.title), _plain(each.account or "-"), _plain(word, style), _plain(each.path))
        said = [*([each.reason] if each.reason else []), *each.notes]
        notes += [_plain(f"{each.title}: {text.rstrip('.')}.", "yellow") for text in said]
    trial = [RichText("This was a trial: nothing was changed.", style="bold")] if answer.dry_run else []
    return [table, *notes, *trial]


@layout.register
def _local_keys(result: results.LocalKeys) -> list[RenderableType]:
    if not result.keys:
        return [RichText("No keys were made here yet. Run: ccs-broker key add NAME")]
    table = _table("KEY", "MODELS", "REQUESTS", "MADE", "EXPIRES")
    for each in result.keys:
        rate = "any number" if each.rpm is None else f"{each.rpm} a minute"
        ends = (
            RichText("expired", style="bold red") if each.expired else moment(each.expires, result.now, never="never")
        )
        models = ", ".join(each.models) or "all"
        table.add_row(_plain(each.name), _plain(models), rate, moment(each.created, result.now), ends)
    return [table]


@layout.register
def _key_made(result: results.KeyMade) -> list[RenderableType]:
    return [_whole(result.text)]


@layout.register
def _key_revoked(result: results.KeyRevoked) -> list[RenderableType]:
    return [_plain(f"{result.revoked} is revoked; running proxies refuse it within a second.")]


@layout.register
def _usage(result: usage_results.UsageReport) -> list[RenderableType]:
    return [usage_listing.UsageListing(result)]


@layout.register
def _sessions(result: usage_results.Sessions) -> list[RenderableType]:
    return list(usage_listing.sessions(result))


@layout.register
def _limits(result: usage_results.Limits) -> list[RenderableType]:
    return list(usage_listing.limits(result))


@layout.register
def _requests(result: RequestList) -> Iterable[RenderableType]:
    if not result.requests:
        yield _plain(f"No requests in {result.directory}.")
    else:
        table = _table("BEGAN", "STATUS", "SECONDS", "MODEL", "ACCOUNT", "TRIES", "ID")
        for each in result.requests:
            outcome = "" if each.outcome in ("ok", "refused") else f" {each.outcome}"
            status, accounts = f"{each.status}{outcome}", ", ".join(each.accounts) or "-"
            cells = (
                each.began,
                status,
                f"{each.seconds:.1f}",
                each.model or "-",
                accounts,
                str(each.attempts),
                each.id,
            )
            table.add_row(*(_plain(cell) for cell in cells))
        yield table
    if not result.enabled:
        yield _plain("The request log is switched off: see [request_log] in the config.")


@layout.register
def _request(result: RequestShown) -> Iterable[RenderableType]:
    yield _whole(result.folder)
    for name, text in result.files.items():
        yield RichText("")
        yield RichText(f"--- {clean(name)} ---", style="bold")
        yield from (_verbatim(line) for line in text.splitlines())


@layout.register
def _service_change(result: results.ServiceChange) -> list[RenderableType]:
    if not result.steps:
        return [RichText("Nothing is installed.")]
    table = _table("", "")
    table.show_header = False
    for step in result.steps:
        said = f"{step.subject}: {step.detail}" if step.detail else step.subject
        table.add_row(_plain(step.action.value, "yellow" if step.action == "skipped" else ""), _plain(said))
    return [table, _plain(result.hint)] if result.hint else [table]


@layout.register
def _service_status(result: results.ServiceStatus) -> list[RenderableType]:
    table = _table("UNIT", "STATE", "PID", "FILE")
    for unit in result.units:
        file = unit.file if unit.installed else f"{unit.file} (missing)"
        if unit.installed and not unit.current:
            file += " (differs from what this version writes; run: ccs-broker service install)"
        table.add_row(_plain(unit.name), _plain(unit.state), str(unit.pid or "-"), _plain(file))
    return [table]


@layout.register
def _settings(result: results.Settings) -> list[RenderableType]:
    lines: list[RenderableType] = [
        _plain(f"# {result.file}{'' if result.exists else ' (missing: every setting is the default)'}", "dim")
    ]
    if result.running:
        lines.append(_plain("# in force in the daemon", "dim"))
    if result.problem:
        lines.append(_plain(f"# the file as it is now was refused: {result.problem}", "bold red"))
    return [*lines, *(_plain(_setting(each), "dim" if each.default else "") for each in result.settings)]


def _setting(each: results.Setting) -> str:
    waiting = "" if each.pending is None else f"; after a restart: {each.pending}"
    return f"{each.name} = {each.toml} # {each.origin}{waiting}"


@layout.register
def _reloaded(result: results.Reloaded) -> list[RenderableType]:
    answer = result.answer
    told = [f"Changed: {', '.join(answer.changed)}." if answer.changed else "Nothing changed."]
    told += [f"Needs a restart: {', '.join(answer.pending)}."] if answer.pending else []
    return [_plain(each) for each in told]


@layout.register
def _checked(result: results.Checked) -> list[RenderableType]:
    if result.faults:
        told = RichText(f"{count(len(result.faults), 'fault')} in the file.", style="bold red")
        return [*(_plain(each.said) for each in result.faults), told]
    table = _table("", "", "")
    table.show_header = False
    for each in result.findings:
        mark = RichText("FAULT", style="bold red") if each.problem else RichText("ok", style="green")
        place = f"line {each.line}: " if each.line is not None else ""
        said = place + ". ".join(part.rstrip(".") for part in (each.problem or each.detail, each.hint) if part)
        table.add_row(mark, _plain(each.subject), _plain(said))
    faults = sum(1 for each in result.findings if each.problem)
    return [
        table,
        RichText(count(faults, "fault") if faults else "All is well.", style="bold red" if faults else "green"),
    ]


_SEVERITY_STYLES = {"error": "bold red", "warning": "bold yellow", "info": "dim"}


@layout.register
def _diagnosis(result: results.Diagnosis) -> list[RenderableType]:
    from broker.doctor.catalogue import BY_ID

    parts: list[RenderableType] = []
    if result.repairs:
        parts += [_repairs(result.repairs), RichText("")]
    for group in dict.fromkeys(BY_ID[each.id].group for each in result.findings):
        parts += [RichText(group.value.capitalize(), style="bold")]
        parts += [_faults([each for each in result.findings if BY_ID[each.id].group == group]), RichText("")]
    return [*parts, _summary(result)]


def _repairs(repairs: "Iterable[Repair]") -> Table:
    table = _table("", "")
    table.show_header = False
    for each in repairs:
        mark = RichText("not done", style="bold red") if each.refused else RichText("mended", style="green")
        said = f"{each.command} ({each.refused})" if each.refused else each.command
        table.add_row(mark, _plain(f"{each.id}: {said}"))
    return table


def _faults(findings: "Iterable[Fault]") -> Table:
    table = _table("", "")
    table.show_header = False
    for each in findings:
        # A sentence keeps its lines apart, so that what is to be copied stands alone.
        told = _plain(each.what.rstrip(".") + ".")
        told.append(f" [{each.id}]", style="dim")
        if each.where:
            told.append(f"\n{clean(each.where)}", style="dim")
        told.append(f"\n{clean(each.mend)}", style="cyan")
        table.add_row(RichText(each.severity.value, style=_SEVERITY_STYLES[each.severity.value]), told)
    return table


def _summary(result: results.Diagnosis) -> RichText:
    checks = count(len(result.checked), "check")
    numbers = Counter(each.severity.value for each in result.findings)
    if not result.findings:
        return RichText(f"{checks} made. All is well.", style="green")
    told = ", ".join(
        count(numbers[name], one)
        for name, one in (("error", "error"), ("warning", "warning"), ("info", "note"))
        if numbers[name]
    )
    fixable = sum(1 for each in result.findings if each.fix is not None)
    hint = f" `ccs-broker doctor --fix` mends {fixable} of them." if fixable else ""
    bad = numbers["error"] or numbers["warning"]
    return RichText(f"{checks} made: {told}.{hint}", style="bold red" if bad else "green")


@layout.register
def _checks(result: results.Checks) -> list[RenderableType]:
    table = _table("CHECK", "ABOUT", "WHAT IT FINDS")
    for each in result.checks:
        table.add_row(_plain(each.id), _plain(each.group.value), _plain(each.means))
    return [table]


@layout.register
def _images(result: results.Images) -> list[RenderableType]:
    lines: list[RenderableType] = [_plain(f"Saved {name}", "green") for name in result.files]
    lines.append(_plain(f"Saved {result.metadata}"))
    if result.text:
        lines.append(_plain(f"The model also said: {result.text}"))
    lines.append(_plain(f"{count(len(result.files), 'image')} by {result.model} in {result.seconds:.1f} s", "dim"))
    return lines


@layout.register
def _image_failed(result: results.ImageFailed) -> list[RenderableType]:
    lines: list[RenderableType] = [_plain(f"ccs-broker: {result.detail}")]
    if result.text:
        lines.append(_plain(f"{result.model} said: {result.text}"))
    return lines
