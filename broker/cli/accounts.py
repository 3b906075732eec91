"""Commands about accounts: list, status, token, refresh, pause, resume, clear-cooldown, default, rename, logout.

Owns: their options and the calls they make. Every one asks the daemon; none opens an auth file.
"""

from typing import TYPE_CHECKING

import click

from broker.cli import token as fast
from broker.cli.options import (
    ACCOUNT,
    SECONDS,
    Shared,
    account_path,
    accounts,
    ask,
    control_socket,
    json_option,
    load_config,
    wall_now,
)
from broker.cli.results import Accounts, Changed, LoggedOut, ProxyState, Status, Text
from broker.cli.wording import url
from broker.model.errors import BrokerError, ErrorCode

if TYPE_CHECKING:
    from broker.config import ProxyConfig

# A renewal asked for by hand: a token endpoint may take refresh.request_timeout_seconds (30) and once more.
_REFRESH_SECONDS = 60.0
_LOGOUT_SECONDS = 60.0
_RENAME_SECONDS = 20.0  # it waits for a renewal under way
_PROXY_SECONDS = 2.0


@click.command("list")
@json_option
def list_accounts() -> Accounts:
    """Show every account: state, expiry, and what is wrong."""
    return Accounts(accounts(), wall_now())


@click.command()
@json_option
def status() -> Status:
    """Show how the daemon, the proxy and the accounts are. Exit code 4 if no daemon answers."""
    from broker.ipc.schema import Health

    config = load_config()
    proxy = _proxy_state(config.proxy)
    try:
        health = ask(Health, "GET", "/v1/health")
        return Status(health, None, str(control_socket()), accounts(), proxy, wall_now())
    except BrokerError as error:
        if error.code not in (ErrorCode.DAEMON_UNREACHABLE, ErrorCode.DEADLINE_EXCEEDED):
            raise
        return Status(None, error.detail, str(control_socket()), (), proxy, wall_now())


@click.command(short_help="Print an access token of ACCOUNT.")
@click.argument("account", type=ACCOUNT)
@click.option("--format", "form", type=click.Choice(fast.FORMATS), default="raw", show_default=True,
              help="raw: the token; json: the whole lease; header: an Authorization header; env: a line to eval.")  # fmt: skip
@click.option("--min-validity", type=SECONDS, default=fast.DEFAULT_MIN_VALIDITY, show_default=True,
              help="How long the token must still be valid. Claude Code keeps a helper's answer for 300 s: give its apiKeyHelper 360.")  # fmt: skip
@click.option("--max-wait", type=SECONDS, default=fast.DEFAULT_MAX_WAIT, show_default=True,
              help="How long to wait for a renewal.")  # fmt: skip
@json_option
@click.pass_obj
def token(shared: Shared, account: str, form: str, min_validity: float, max_wait: float) -> Text:
    """Print an access token of ACCOUNT (PROVIDER or PROVIDER/LABEL).

    The token is renewed first where less than --min-validity is left of it.
    """
    shared.as_json = shared.as_json or form == "json"
    answer = fast.fetch(account, min_validity, max_wait)
    text = fast.render(answer, "json" if shared.as_json else form)
    shared.as_json = False  # the text is already what was asked for
    return Text(text)


@click.command()
@click.argument("account", type=ACCOUNT)
@click.option(
    "--max-wait",
    type=SECONDS,
    default=_REFRESH_SECONDS,
    show_default=True,
    help="How long to wait for it.",
)
@json_option
def refresh(account: str, max_wait: float) -> Changed:
    """Renew the token of ACCOUNT now."""
    return _change(account, f"refresh?max_wait={max_wait:g}", "renewed", wait=max_wait)


@click.command()
@click.argument("account", type=ACCOUNT)
@json_option
def pause(account: str) -> Changed:
    """Set ACCOUNT aside: it is renewed, and never served."""
    return _change(account, "pause", "paused")


@click.command()
@click.argument("account", type=ACCOUNT)
@json_option
def resume(account: str) -> Changed:
    """Serve ACCOUNT again."""
    return _change(account, "resume", "resumed")


@click.command("clear-cooldown", short_help="Let requests go to ACCOUNT again that was limited.")
@click.argument("account", type=ACCOUNT)
@json_option
def clear_cooldown(account: str) -> Changed:
    """Forget that ACCOUNT was limited, for every model: requests go to it again at once, in every proxy."""
    return _change(account, "clear-cooldown", "free of cool-downs")


@click.command(short_help="Choose what a provider's name alone means.")
@click.argument("account", type=ACCOUNT)
@json_option
def default(account: str) -> Changed:
    """Make ACCOUNT what its provider's name alone means."""
    return _change(account, "default", "chosen as default")


@click.command(short_help="Give ACCOUNT another label.")
@click.argument("account", type=ACCOUNT)
@click.argument("new_label")
@json_option
def rename(account: str, new_label: str) -> Changed:
    """Give ACCOUNT another label. Its login, state and place as default stay."""
    from broker.ipc.schema import Relabel

    # PROVIDER/LABEL is what every other command takes.
    label = new_label.removeprefix(f"{account.partition('/')[0]}/")
    return _change(account, "rename", "renamed", message=Relabel(label), wait=_RENAME_SECONDS, only_one=True)


@click.command(short_help="Log ACCOUNT out and remove its login.")
@click.argument("account", type=ACCOUNT)
@click.option("--keep-remote", is_flag=True, help="Do not revoke at the provider: remove the login here only.")
@json_option
def logout(account: str, *, keep_remote: bool) -> LoggedOut:
    """Log ACCOUNT out: revoke its login at the provider where that is possible, and remove it here."""
    from broker.ipc.schema import LogoutAnswer

    path = account_path(account, only_one=True) + ("?keep_remote=true" if keep_remote else "")
    return LoggedOut(ask(LogoutAnswer, "DELETE", path, wait=_LOGOUT_SECONDS))


def _change(
    account: str, action: str, done: str, *, message: object = None, wait: float = 0.0, only_one: bool = False
) -> Changed:
    from broker.ipc.schema import AccountView

    path = account_path(account, only_one=only_one)
    return Changed(done, ask(AccountView, "POST", f"{path}/{action}", message, wait=wait), wall_now())


def _proxy_state(config: "ProxyConfig") -> ProxyState:
    """Ask the proxy's public health page who it is."""
    import http.client
    import json

    where = url(config.host, config.port)
    connection = http.client.HTTPConnection(config.host, config.port, timeout=_PROXY_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = json.loads(answer.read(1 << 16))
    except (OSError, http.client.HTTPException):
        return ProxyState(where, reachable=False, detail="not running")
    except ValueError:
        return ProxyState(where, reachable=False, detail="something else answers")
    finally:
        connection.close()
    said = body.get("status") if isinstance(body, dict) else None
    return ProxyState(where, reachable=isinstance(said, str), detail=str(said or "something else answers"))
