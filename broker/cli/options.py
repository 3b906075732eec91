"""What commands share: `--json`, the account argument, the config, and the daemon's socket.

Owns: reading the config the environment names, and one typed call to the daemon. Heavy modules are imported inside functions, so that `--help` stays quick.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from broker import paths
from broker.cli.reading import load_config as load_config  # noqa: PLC0414 - what commands share
from broker.cli.reading import read_config as read_config  # noqa: PLC0414 - likewise
from broker.cli.token import quote
from broker.model.errors import BrokerError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click.shell_completion import CompletionItem

    from broker.ipc.schema import AccountView

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

# For the daemon to answer when nothing is waited for.
_ANSWER_SECONDS = 10.0
_COMPLETION_SECONDS = 0.5  # a person waits for the list with a finger on the key


@dataclass(slots=True)
class Shared:
    """What `main` learns from the command line: whether the result is wanted as JSON."""

    as_json: bool = False


def json_option(command: F) -> F:
    """Give a command `--json`."""

    def note(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value and isinstance(context.obj, Shared):
            context.obj.as_json = True

    return click.option(
        "--json", is_flag=True, expose_value=False, is_eager=True, callback=note, help="Print JSON for scripts."
    )(command)


class AccountParameter(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, and not subscriptable before
    """`provider` or `provider/label`."""

    name = "account"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what cannot name an account."""
        provider, slash, label = value.partition("/")
        if not provider or (slash and not label):
            self.fail("write PROVIDER or PROVIDER/LABEL, as `ccs-broker list` shows them", param, ctx)
        return value

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> "list[CompletionItem]":
        """Offer the accounts the daemon knows, and the providers whose default is meant by their name; nothing where none answers at once."""
        names = known_accounts()
        providers = {name.partition("/")[0] for name in names}
        return _items(sorted((*names, *providers)), incomplete)


class ProviderParameter(click.ParamType):  # type: ignore[type-arg]  # as above
    """A provider's name."""

    name = "provider"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> "list[CompletionItem]":
        """Offer the providers the daemon knows; nothing where none answers at once."""
        return _items(_names_in("/v1/health", "providers", "name"), incomplete)


class SecondsParameter(click.ParamType):  # type: ignore[type-arg]  # as above
    """A duration. Its limits keep out what makes no sense, and `--help` need not tell them."""

    name = "seconds"

    def __init__(self, least: float = 0, most: float = 1e9) -> None:
        """Take from `least` to `most` seconds."""
        self._least, self._most = least, most

    def convert(self, value: "str | float", param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse what is no number, or out of range."""
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        if not self._least <= seconds <= self._most:
            self.fail(f"{value} is not between {self._least:g} and {self._most:g} seconds", param, ctx)
        return seconds

    def get_metavar(self, *_: object, **__: object) -> str:
        """Say the unit."""
        return "SECONDS"


ACCOUNT = AccountParameter()
PROVIDER = ProviderParameter()
SECONDS = SecondsParameter()


def known_accounts() -> list[str]:
    """Return the names of all accounts, without waiting: none where the daemon does not answer at once."""
    return _names_in("/v1/accounts", "accounts", "account")


def _names_in(target: str, member: str, name: str) -> list[str]:
    # On the standard library alone: this runs whenever somebody presses a key.
    from broker.ipc.sync_client import request

    try:
        _, answer = request(control_socket(), "GET", target, timeout=_COMPLETION_SECONDS)
    except BrokerError:
        return []
    listed = answer.get(member)
    found = [each.get(name) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return [each for each in found if isinstance(each, str) and each.isprintable()]


def _items(names: "Iterable[str]", incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def control_socket() -> Path:
    """Return the path of the socket that serves everything."""
    return paths.socket_path(paths.CONTROL_SOCKET, paths.runtime_dir())


def ask(
    shape: type[T], method: str, target: str, message: object = None, *, wait: float = 0.0, socket: Path | None = None
) -> T:
    """Call the daemon at `socket` (its usual place); `wait` is how many seconds the call itself may ask it to wait.

    Raises:
        BrokerError: what the daemon says, or that it is not there.
    """
    from broker.ipc.sync_typed import call

    return call(socket or control_socket(), shape, method, target, message, timeout=wait + _ANSWER_SECONDS)


def accounts() -> "tuple[AccountView, ...]":
    """Ask the daemon for every account."""
    from broker.ipc.schema import AccountList

    return ask(AccountList, "GET", "/v1/accounts").accounts


def account_path(account: str, *, only_one: bool = False) -> str:
    """Return the path of an account on the socket. A provider alone means its default account; with `only_one`, it must be the only one.

    Raises:
        BrokerError: `unknown_account` with a list of those there are, `bad_request` where a label is needed.
    """
    provider, slash, label = account.partition("/")
    if not slash:
        label = _default_label(provider, only_one=only_one)
    return f"/v1/accounts/{quote(provider)}/{quote(label)}"


def _default_label(provider: str, *, only_one: bool) -> str:
    every = accounts()
    own = [view for view in every if view.provider == provider]
    if not own:
        listed = ", ".join(view.account for view in every) or "none yet"
        raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, f"no account of {provider!r}; there are: {listed}")
    if only_one and len(own) > 1:
        listed = ", ".join(view.account for view in own)
        raise BrokerError(
            ErrorCode.BAD_REQUEST, f"{provider!r} has {len(own)} accounts: {listed}", hint="Say which one."
        )
    return next((view.label for view in own if view.default), own[0].label)


def wall_now() -> float:
    """Read the wall clock."""
    from broker.system import SystemClock

    return SystemClock().now().wall
