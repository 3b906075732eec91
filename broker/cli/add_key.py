"""`add-key`: hand an API key over to the daemon.

Owns: reading the key from a prompt, a pipe or a file descriptor. It is never an argument or a variable: other users of the machine can read the one, and
every program started later the other.
"""

import os
import sys
from contextlib import ExitStack

import click

from broker.cli.options import ask, json_option, wall_now
from broker.cli.results import Changed
from broker.model.errors import BrokerError, ErrorCode

_KEY_MAX = 65_536
_ADD_SECONDS = 30.0


@click.command("add-key")
@click.argument("provider")
@click.option("--label", help="Name of the account; by default the host of --base-url, or `key`.")
@click.option("--base-url", metavar="URL", help="Where the API is, for openai-compatible and anthropic-compatible.")
@click.option(
    "--header",
    metavar="STYLE",
    help="The header that carries the key: authorization, x-api-key, or the name of another one.",
)
@click.option(
    "--model", "models", multiple=True, metavar="MODEL", help="A model this key is good for; repeat for several."
)
@click.option(
    "--fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read the key from this open file descriptor. By default it is asked for, or read from stdin where that is a pipe or a file.",
)
@json_option
def add_key(
    provider: str,
    *,
    label: str | None,
    base_url: str | None,
    header: str | None,
    models: tuple[str, ...],
    fd: int | None,
) -> Changed:
    """Add an API key of PROVIDER as an account. Works with and without a running daemon."""
    from broker.cli.temporary import broker_socket
    from broker.ipc.schema import AccountView, KeyAdd
    from broker.model.secret import Secret

    key = Secret(_key(fd))
    message = KeyAdd(provider=provider, key=key, label=label, base_url=base_url, header=header, models=models)
    with ExitStack() as stack:
        socket = broker_socket(stack)
        view = ask(AccountView, "POST", "/v1/keys", message, wait=_ADD_SECONDS, socket=socket)
    return Changed("saved", view, wall_now())


def _key(fd: int | None) -> str:
    """Return the key as it was given, without the line's end.

    Raises:
        BrokerError: `bad_request` where there is none, or what there is cannot be one.
    """
    if fd is None and sys.stdin.isatty():
        given: str = click.prompt(
            "API key (it is not shown)", hide_input=True, err=True, default="", show_default=False
        )
    else:
        given = _read(sys.stdin.fileno() if fd is None else fd)
    # One line's end belongs to the way it came; anything else that is not of a key is a mistake better told than guessed at.
    key = given.removesuffix("\n").removesuffix("\r")
    if not key.strip():
        raise BrokerError(ErrorCode.BAD_REQUEST, "no key was given", hint="Type it, pipe it in, or name its --fd.")
    if not key.isprintable() or not key.isascii() or " " in key:
        raise BrokerError(
            ErrorCode.BAD_REQUEST, "what was given is no key: it holds spaces, line ends or other characters no key has"
        )
    return key


def _read(fd: int) -> str:
    data = b""
    try:
        while len(data) <= _KEY_MAX and (piece := os.read(fd, 4096)):
            data += piece
    except OSError as error:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"file descriptor {fd} cannot be read: {error.strerror}") from None
    if len(data) > _KEY_MAX:
        raise BrokerError(ErrorCode.BAD_REQUEST, "what was given is too long for a key")
    return data.decode("utf-8", "replace")
