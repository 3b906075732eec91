"""`doctor`: what is wrong on this machine, and what mends it.

Owns: its options. `broker.doctor` looks, judges and mends; it is imported when the command runs.
"""

import os

import click
from click.shell_completion import CompletionItem

from broker.cli.options import json_option
from broker.cli.results import Checks, Diagnosis


class CheckParameter(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, and not subscriptable before
    """The id of a check."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what is no check, naming the nearest ones."""
        import difflib

        from broker.doctor.catalogue import IDS

        if value not in IDS:
            near = difflib.get_close_matches(value, IDS, n=3)
            meant = f"Is it {', '.join(near)}?" if near else "See: ccs-broker doctor --list"
            self.fail(f"there is no check {value!r}. {meant}", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's signature
        """Offer the ids that begin so."""
        from broker.doctor.catalogue import CATALOGUE

        return [CompletionItem(each.id, help=each.means) for each in CATALOGUE if each.id.startswith(incomplete)]


@click.command(short_help="Find what is wrong on this machine, and mend what is safe to mend.")
@click.option("--fix", is_flag=True, help="Mend modes, stale sockets, leftover temporary files and missing folders.")
@click.option(
    "--check",
    "only",
    type=CheckParameter(),
    multiple=True,
    metavar="ID",
    help="Make this check only; may be given more than once.",
)
@click.option(
    "--online",
    is_flag=True,
    help="Also ask the token endpoints of the providers in use whether they answer, and for their time.",
)
@click.option("--list", "listed", is_flag=True, help="List all checks, and make none.")
@json_option
def doctor(*, fix: bool, only: tuple[str, ...], online: bool, listed: bool) -> Diagnosis | Checks:
    """Look for what is wrong: files, sockets, processes, the machine. Exit code 1 where something above a note is found.

    No provider is asked anything but with --online, and no token is touched, with --fix neither.
    """  # fmt: skip
    from broker.doctor.catalogue import BY_ID, CATALOGUE, IDS
    from broker.doctor.examine import examine
    from broker.doctor.scene import Surroundings
    from broker.system import SystemClock

    ids = tuple(id_ for id_ in IDS if not only or id_ in only)
    if listed:
        return Checks(tuple(BY_ID[id_] for id_ in ids) if only else CATALOGUE)
    report = examine(Surroundings(os.environ, SystemClock(), online=online), ids, fix=fix)
    return Diagnosis(report.checked, report.findings, report.repairs)
