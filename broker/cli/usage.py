"""`usage`, `sessions`, `limits`: what the proxy counted and saw.

Owns: which hours, which groups, and putting together what lies in the proxy's file, the file of local keys, and the daemon. No running proxy is needed.
Nothing is changed.
"""

import re
from contextlib import closing
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker import paths
from broker.cli.options import AccountParameter, accounts, json_option, wall_now
from broker.cli.usage_results import KeyLimit, Limits, LimitsOf, SessionLine, Sessions, UsageLine, UsageReport, Used
from broker.model.errors import BrokerError, ErrorCode

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from broker.proxy.usage_store import Bucket, UsageReader
    from broker.proxy.usage_table import Counts

_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_SESSION_SECONDS = 86_400.0
_GROUPS = ("key", "account", "model", "day")
_BY_DEFAULT = ("account", "model")


class MomentParameter(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, and not subscriptable before
    """A time: so long ago (`7d`), a local date, or `today`."""

    name = "when"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return wall-clock seconds."""
        if isinstance(value, float):
            return value
        text, now = str(value), wall_now()
        if found := re.fullmatch(r"([0-9]{1,6})([hdw])", text):
            return max(0.0, now - int(found[1]) * _UNITS[found[2]])
        try:
            date = (
                datetime.fromtimestamp(now).astimezone().date()
                if text == "today"
                else datetime.fromisoformat(text).date()
            )
            moment = (
                datetime.combine(date, time())
                if re.fullmatch(r"today|[0-9-]{10}", text)
                else datetime.fromisoformat(text)
            )
            return max(0.0, moment.timestamp())
        except (ValueError, OverflowError):
            self.fail("write how long ago, as 12h, 7d or 4w, or a date as 2026-11-21, or today", param, ctx)


WHEN = MomentParameter()


def _keys(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    from broker.cli.local_keys import KeyNameParameter

    return KeyNameParameter().shell_complete(context, parameter, incomplete)


def _accounts(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    return AccountParameter().shell_complete(context, parameter, incomplete)


@click.command(short_help="Show what was used through the proxy.")
@click.option(
    "--by",
    type=click.Choice(_GROUPS),
    multiple=True,
    help="How to group; repeat for several. By default account and model.",
)
@click.option(
    "--since", type=WHEN, default="30d", help="From when on: 12h, 7d, 4w, 2026-11-21 or today. By default 30d."
)
@click.option("--until", type=WHEN, help="Up to when, written the same way. By default now.")
@click.option(
    "--key", metavar="NAME", shell_complete=_keys, help="Only of this local key, or of config or internal; a glob."
)
@click.option(
    "--account", metavar="NAME", shell_complete=_accounts, help="Only of this account, or of all of a provider; a glob."
)
@click.option("--model", metavar="NAME", help="Only of this model; a glob.")
@json_option
def usage(
    *, by: tuple[str, ...], since: float, until: float | None, key: str | None, account: str | None, model: str | None
) -> UsageReport:
    """Show requests, tokens and times as the proxy counted them."""
    from broker.proxy.usage_table import Counts

    groups = tuple(dict.fromkeys(by or _BY_DEFAULT))
    end = until if until is not None else wall_now()
    globs = {
        name: glob for name, glob in (("key", key), ("account", _accounts_glob(account)), ("model", model)) if glob
    }
    # Whole hours are kept: the one under way is told in full.
    hours = (int(since // 3600), int(end // 3600) + (until is None or end % 3600 > 0))
    sums: dict[tuple[str, ...], Counts] = {}
    total = Counts()
    with _opened() as reader:
        for hour, *who, counts in reader.usage(hours, globs, hourly="day" in groups):
            told = dict(zip(("key", "account", "model"), map(str, who), strict=True)) | {"day": _day(hour)}
            sums.setdefault(tuple(told[group] for group in groups), Counts()).add(counts)
            total.add(counts)
    lines = [UsageLine(_used(counts), **dict(zip(groups, names, strict=True))) for names, counts in sums.items()]
    lines.sort(
        key=lambda line: (line.day or "", -line.used.requests, line.key or "", line.account or "", line.model or "")
    )
    return UsageReport(str(_file()), since, end, groups, tuple(lines), _used(total))


@click.command(short_help="Show the conversations lately seen.")
@json_option
def sessions() -> Sessions:
    """Show the conversations of the last day: which account served each, and how often."""
    import msgspec

    now = wall_now()
    with _opened() as reader:
        found = reader.sessions(now - _SESSION_SECONDS)
    return Sessions(tuple(SessionLine(**msgspec.structs.asdict(each)) for each in found), now)


@click.command(short_help="Show what is known of rate limits.")
@json_option
def limits() -> Limits:
    """Show what providers last said of each account's limits, which accounts are set aside, and how much is left of local keys' rates."""
    from broker.proxy.keyfile import read
    from broker.proxy.usage_limits import windows

    now, reason = wall_now(), None
    with _opened() as reader:
        told, buckets = {each.account: each for each in reader.limits()}, reader.buckets()
    try:
        views = {view.account: tuple(each for each in view.cooldowns if each.until > now) for view in accounts()}
    except BrokerError as error:
        if error.code is not ErrorCode.DAEMON_UNREACHABLE:
            raise
        views, reason = {}, error.detail
    found = []
    for name in sorted({*told, *(account for account, cooldowns in views.items() if cooldowns)}):
        at, headers = (told[name].at, told[name].headers) if name in told else (None, {})
        made, other = windows(headers, at or 0.0)
        found.append(LimitsOf(name, at, made, other, headers, views.get(name, ())))
    keys = [
        KeyLimit(key.name, key.rpm, _left(buckets.get(key.name), key.rpm, now))
        for key in read(paths.local_keys_file())
        if key.rpm
    ]
    return Limits(tuple(found), tuple(keys), reason, now)


def _file() -> Path:
    from broker.proxy.usage_store import FILE_NAME

    return paths.proxy_state_dir() / FILE_NAME


def _opened() -> "closing[UsageReader]":
    from broker.proxy.usage_store import UsageReader

    return closing(UsageReader(_file()))


def _accounts_glob(account: str | None) -> str | None:
    """A provider alone means all its accounts."""
    from broker.proxy.usage_table import NOBODY, OTHER

    return (
        f"{account}/*"
        if account and "/" not in account and account not in (NOBODY, OTHER) and "*" not in account
        else account
    )


def _day(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600).astimezone().date().isoformat()


def _used(counts: "Counts") -> Used:
    return Used(
        counts.requests, counts.failed, counts.left, counts.retried, counts.prompt, counts.completion, counts.cached, counts.reasoning,
        counts.untold, round(counts.seconds, 3), counts.answered, round(counts.first_seconds, 3),
    )  # fmt: skip


def _left(bucket: "Bucket | None", rpm: int, now: float) -> int:
    """Return how many requests a bucket of `rpm` is good for, that is full at a time."""
    missing = 0.0 if bucket is None else max(0.0, bucket.full_at - now) * rpm / 60
    return max(0, int(rpm - missing + 1e-6))
