"""The command line as a whole: the groups, `--version`, and how every command ends.

Owns: turning a command's result or failure into output and an exit code. Importing it loads click and no part of the program that works: a test
looks at `sys.modules` after `--help`.
"""

from collections.abc import Sequence

import click

from broker import __version__
from broker.cli import (
    accounts,
    add_key,
    completion,
    doctor,
    image,
    imports,
    local_keys,
    login,
    network,
    quota,
    requests,
    running,
    services,
    settings,
    usage,
)
from broker.cli.demo import command as demo
from broker.cli.exits import EXIT_OF, Exit
from broker.cli.options import Shared
from broker.model.errors import BrokerError

_PROGRAM = "ccs-broker"


class _Group(click.Group):
    """Lists commands in the order a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 failure, 2 usage, 3 a person must log in, 4 not reachable, 5 not found, 6 timed out.",
)
@click.version_option(__version__, prog_name=_PROGRAM)
def cli() -> None:
    """One owner for the OAuth logins of AI command-line tools.

    `up` runs the daemon and the proxy; `login` adds an account; then point clients at http://127.0.0.1:8317.
    """


for _command in (
    running.up,
    login.login,
    imports.import_logins,
    add_key.add_key,
    accounts.list_accounts,
    accounts.status,
    accounts.token,
    image.image,
    accounts.refresh,
    accounts.pause,
    accounts.resume,
    accounts.clear_cooldown,
    accounts.default,
    accounts.rename,
    accounts.logout,
    quota.quota,
    local_keys.key,
    requests.requests,
    network.network,
    usage.usage,
    usage.sessions,
    usage.limits,
    running.serve,
    running.proxy,
    demo.demo,
    running.sandbox,
    services.service,
    settings.config,
    doctor.doctor,
    completion.completion,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; print its result or failure; return the exit code."""
    shared = Shared()
    try:
        return _ended(_invoke(arguments, shared), shared)
    except BrokerError as error:
        return failed(error, as_json=shared.as_json)
    except click.ClickException as error:
        error.show()
        return int(Exit.USAGE)
    except (KeyboardInterrupt, click.Abort):
        from broker.cli import output

        output.notice("")
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        from broker.cli import output

        output.give_up()
        return int(Exit.FAILURE)


def failed(error: BrokerError, *, as_json: bool) -> int:
    """Tell a failure and return its exit code."""
    from broker.cli import output

    output.failure(error, as_json=as_json)
    return int(EXIT_OF[error.code])


def _invoke(arguments: Sequence[str] | None, shared: Shared) -> object:
    given = None if arguments is None else list(arguments)
    return cli.main(given, prog_name=_PROGRAM, standalone_mode=False, obj=shared)


def _ended(result: object, shared: Shared) -> int:
    if result is None or isinstance(result, int):
        return result or 0  # a command that ran to its end, or the code click leaves with after --help
    from broker.cli import output
    from broker.cli.results import Result, exit_of

    assert isinstance(result, Result)
    output.show(result, as_json=shared.as_json)
    return int(exit_of(result))
