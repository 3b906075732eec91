"""`completion`: the script a shell loads to complete our commands.

Owns: nothing but the choice of shell; click writes the script.
"""

import click

from broker.cli.results import Text

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> Text:
    """Print the completion script of a shell.

    For bash: eval "$(ccs-broker completion bash)"
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    return Text(made(context.find_root().command, {}, "ccs-broker", "_CCS_BROKER_COMPLETE").source().rstrip())
