"""`import`: take over the logins that other programs left on this machine.

Owns: the choice between a copy and a link, put to the person where there is one. The daemon finds, reads and writes; where none runs,
`broker.cli.temporary` starts one for as long as it takes.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker.cli import output
from broker.cli.options import Shared, ask, json_option
from broker.cli.results import Imported

if TYPE_CHECKING:
    from broker.ipc.schema import ImportAnswer, ImportRequest

_WAIT_SECONDS = 120.0  # a provider may be asked for each login whose it is
_COPY, _LINKED = "copy", "linked"
_EXPLAINED = (
    "",
    "  linked   both programs go on using the same login: whoever renews it first hands the new one on (recommended)",
    "  copy     ccs-broker gets a login of its own kind; where each renewal ends the old login, one of the two will have to log in again",
    "",
)


@click.command("import", short_help="Take over logins of other programs.")
@click.argument("tool", default="all")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--linked", "mode", flag_value=_LINKED, help="Go on sharing each login with its program.")
@click.option("--copy", "mode", flag_value=_COPY, help="Take a copy; ends the sharing of a login that is shared.")
@click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The program's login file, where it lies elsewhere.",
)
@json_option
@click.pass_obj
def import_logins(shared: Shared, tool: str, *, dry_run: bool, mode: str | None, file: Path | None) -> Imported:
    """Take over the logins of TOOL, or of all programs.

    TOOL: claude-code, codex, gemini-cli, antigravity, antigravity-proxy, qwen, kimi, xai, kiro, kiro-cli, copilot, cliproxyapi or vertex.
    """
    from broker.cli.temporary import broker_socket
    from broker.ipc.schema import ImportRequest

    request = ImportRequest(
        tool=tool,
        mode=mode,
        path=str(file.absolute()) if file else None,
        dry_run=dry_run,
        variables=_variables(),
    )
    with ExitStack() as stack:
        socket = broker_socket(stack)
        if mode is None and not dry_run and not shared.as_json and sys.stdin.isatty():
            request = _chosen(request, socket)
        return Imported(_ask(request, socket))


def _variables() -> dict[str, str]:
    """Return what this shell says about where programs keep their files; the daemon's own environment may be another."""
    from broker.providers.native.table import variables

    return {name: os.environ[name] for name in variables() if os.environ.get(name)}


def _ask(request: "ImportRequest", socket: Path) -> "ImportAnswer":
    from broker.ipc.schema import ImportAnswer

    return ask(ImportAnswer, "POST", "/v1/import", request, wait=_WAIT_SECONDS, socket=socket)


def _chosen(request: "ImportRequest", socket: Path) -> "ImportRequest":
    """Return the request with the mode the person chooses, where there is a choice."""
    import msgspec

    trial: ImportRequest = msgspec.structs.replace(request, dry_run=True)
    open_ = [
        each for each in _ask(trial, socket).logins if each.linkable and each.action in {"added", "updated", "skipped"}
    ]
    if not open_:
        return request
    titles = ", ".join(dict.fromkeys(each.title for each in open_))
    output.notice(f"Logins that can be shared or copied: {titles}.")
    for line in _EXPLAINED:
        output.notice(line)
    mode: str = click.prompt("linked or copy", type=click.Choice([_LINKED, _COPY]), default=_LINKED, err=True)
    made: ImportRequest = msgspec.structs.replace(request, mode=mode)
    return made
