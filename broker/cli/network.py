"""`network`: by which way things are reached, and whether it leads there.

Owns: reading a proxy's URL from a prompt or a pipe. It may hold a password, so it is never an argument. The daemon knows the ways, and tries them.
"""

import sys
from typing import TYPE_CHECKING

import click

from broker.cli.network_results import Ways, WayTried
from broker.cli.options import ACCOUNT, ask, json_option
from broker.model.errors import BrokerError, ErrorCode

if TYPE_CHECKING:
    from broker.model.secret import Secret

_URL_MAX = 4096
# The daemon gives up after `refresh.request_timeout_seconds`, 30 by default.
_TEST_SECONDS = 60.0


@click.group(short_help="Show and try outbound proxies.")
def network() -> None:
    """Outbound proxies: which is used for whom, and whether it works."""


@network.command()
@json_option
def show() -> Ways:
    """Print by which way each provider and account is reached, and which setting says so. Passwords are not shown."""
    from broker.ipc.network_schema import NetworkView

    return Ways(ask(NetworkView, "GET", "/v1/network").routes)


@network.command()
@click.argument("name", type=ACCOUNT, required=False)
@click.option("--to", "target", metavar="URL", help="Whom to reach; by default the provider's token endpoint or API.")
@click.option(
    "--proxy",
    "given",
    is_flag=True,
    help="Try the proxy of a URL that is asked for, or read from stdin where that is a pipe or a file.",
)
@json_option
def test(name: str | None, *, target: str | None, given: bool) -> WayTried:
    """Connect by the way of NAME, a provider or an account, and say how long it took or why it failed. Nothing is sent."""
    from broker.ipc.network_schema import NetworkTest, NetworkTestAnswer

    if given and name is not None:
        raise click.UsageError("--proxy tries a proxy of your own; it cannot be given together with NAME.")
    if name is None and target is None:
        raise click.UsageError("Say whom to reach: NAME, or --to URL.")
    account = name if name is not None and "/" in name else None
    message = NetworkTest(
        account=account,
        provider=None if account is not None else name,
        proxy_url=_url() if given else None,
        target=target,
    )
    return WayTried(ask(NetworkTestAnswer, "POST", "/v1/network/test", message, wait=_TEST_SECONDS))


def _url() -> "Secret":
    from broker.model.secret import Secret

    if sys.stdin.isatty():
        text: str = click.prompt(
            "URL of the proxy (it is not shown)", hide_input=True, err=True, default="", show_default=False
        )
    else:
        text = sys.stdin.buffer.read(_URL_MAX).decode("utf-8", "replace")
    if not text.strip():
        raise BrokerError(ErrorCode.BAD_REQUEST, "no URL was given", hint="Type it, or pipe it in.")
    return Secret(text.strip())
