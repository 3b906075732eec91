"""`quota`: what is left of each account's plan.

Owns: asking for many accounts at once, and a line of progress meanwhile. The daemon asks the providers.
"""

import queue
import threading
from collections.abc import Sequence

import click

from broker.cli import output
from broker.cli.options import ACCOUNT, account_path, accounts, ask, json_option, wall_now
from broker.cli.results import QuotaOf, Quotas
from broker.cli.token import quote
from broker.cli.wording import count, progress_line
from broker.model.errors import BrokerError

_WAIT_SECONDS = 20.0
_AT_ONCE = 8  # the daemon asks one provider for many accounts: enough to be quick, and no storm
_LOOK_SECONDS = 0.1


@click.command()
@click.argument("account", type=ACCOUNT, required=False)
@json_option
def quota(account: str | None) -> Quotas:
    """Ask for plan and limits of ACCOUNT, or of all accounts. Answers are at most a minute old."""
    if account is not None:
        path = account_path(account)
        return Quotas((_with_progress([path])[path],), wall_now())
    paths = [f"/v1/accounts/{quote(each.provider)}/{quote(each.label)}" for each in accounts()]
    told = _with_progress(paths, forgiving=True)
    return Quotas(tuple(told[path] for path in paths), wall_now())


def _with_progress(paths: Sequence[str], *, forgiving: bool = False) -> dict[str, QuotaOf]:
    """Ask for each path, several at a time; with `forgiving`, a refusal is an answer too."""
    from broker.system import SystemClock

    clock, progress = SystemClock(), output.Progress()
    started = clock.now().boot
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, QuotaOf | BrokerError]] = queue.SimpleQueue()
    for path in paths:
        todo.put(path)
    for _ in range(min(_AT_ONCE, len(paths))):
        # Daemon threads: Ctrl-C must not wait for a provider.
        threading.Thread(target=_work, args=(todo, done), daemon=True).start()
    told: dict[str, QuotaOf] = {}
    try:
        while len(told) < len(paths):
            what = f"Asking for {count(len(paths), 'account')}, {len(told)} answered"
            progress.show(progress_line(what, clock.now().boot - started))
            try:
                path, answer = done.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            told[path] = _taken(path, answer, forgiving=forgiving)
    finally:
        progress.clear()
    return told


def _work(todo: "queue.SimpleQueue[str]", done: "queue.SimpleQueue[tuple[str, QuotaOf | BrokerError]]") -> None:
    from broker.ipc.schema import AccountQuota

    while True:
        try:
            path = todo.get_nowait()
        except queue.Empty:
            return
        try:
            answer = ask(AccountQuota, "GET", f"{path}/quota?max_wait={_WAIT_SECONDS:g}", wait=_WAIT_SECONDS)
            done.put((path, QuotaOf(answer.account, answer)))
        except BrokerError as error:
            done.put((path, error))


def _taken(path: str, answer: QuotaOf | BrokerError, *, forgiving: bool) -> QuotaOf:
    from urllib.parse import unquote

    from broker.ipc.schema import problem_of

    if isinstance(answer, QuotaOf):
        return answer
    if not forgiving:
        raise answer
    name = unquote(path.removeprefix("/v1/accounts/"))
    return QuotaOf(answer.account or name, None, problem_of(answer))
