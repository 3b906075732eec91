"""`requests`: the request log, listed and shown.

Owns: where it is looked for, and which request is meant. No running proxy is needed. Nothing is changed.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker import paths
from broker.cli.options import json_option, load_config
from broker.cli.requests_results import RequestLine, RequestList, RequestShown
from broker.model.errors import BrokerError, ErrorCode

if TYPE_CHECKING:
    from broker.config import RequestLogConfig
    from broker.proxy.reqlog.reading import LoggedRequest

_SHOWN = 20


@click.group(short_help="Look at the request log, where it is switched on.")
def requests() -> None:
    """What passed through the proxy, where the config switches the request log on."""


@requests.command("list")
@click.option("--number", "-n", type=click.IntRange(1), default=_SHOWN, metavar="N", help="How many. By default 20.")
@click.option("--errors", is_flag=True, help="Only those that failed, or whose client left.")
@json_option
def list_requests(*, number: int, errors: bool) -> RequestList:
    """List the requests in the request log, newest first."""
    from broker.proxy.reqlog.reading import newest

    chosen = _settings()
    directory = _directory(chosen)
    found: list[RequestLine] = []
    try:
        for folder, each in newest(directory):
            if each.outcome != "ok" or not errors:
                found.append(_line(folder, each))
            if len(found) == number:
                break
    except OSError as error:
        raise _unreadable(directory, error) from None
    return RequestList(str(directory), chosen.enabled, tuple(found))


@requests.command()
@click.argument("request_id", metavar="ID")
@json_option
def show(request_id: str) -> RequestShown:
    """Show all that was written of the request ID, as `requests list` and the header `x-request-id` have it; `last` is the newest."""
    from broker.proxy.reqlog.reading import newest, texts

    directory = _directory(_settings())
    try:
        for folder, each in newest(directory):
            if request_id in (each.id, "last"):
                return RequestShown(str(folder), texts(folder))
    except OSError as error:
        raise _unreadable(directory, error) from None
    raise BrokerError(
        ErrorCode.NOT_FOUND,
        f"no request {request_id[:80]!r} is in {directory}",
        hint="ccs-broker requests list shows those there are; the log is written where [request_log] is enabled.",
    )


def _settings() -> "RequestLogConfig":
    return load_config().request_log


def _directory(chosen: "RequestLogConfig") -> Path:
    if chosen.directory is not None:
        return paths.expand(chosen.directory)
    from broker.proxy.reqlog.entry import DIRECTORY

    return paths.proxy_state_dir() / DIRECTORY


def _line(folder: Path, each: "LoggedRequest") -> RequestLine:
    asked = tuple(dict.fromkeys(attempt.account for attempt in each.attempts))
    number = len(each.attempts) + each.attempts_left_out
    return RequestLine(
        each.id, each.began, each.seconds, each.route, each.model, each.opened_by, each.status, each.outcome, asked, number, str(folder)
    )  # fmt: skip


def _unreadable(directory: Path, error: OSError) -> BrokerError:
    return BrokerError(
        ErrorCode.STORAGE_UNWRITABLE, f"{directory}: {error.strerror}", hint="Look at its mode and owner."
    )
