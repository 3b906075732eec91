"""Commands that run until they are stopped: serve, proxy, up, sandbox.

Owns: their options. `broker.cli.foreground` runs one of them, `broker.cli.supervise` two.
"""

from pathlib import Path

import click

from broker.cli.options import load_config, read_config

_UNTIL_EOF = click.option(
    "--until-eof", type=click.IntRange(min=3), default=None, hidden=True, metavar="FD",
    help="Stop when this inherited pipe ends: how `up` makes sure that nothing outlives it.",
)  # fmt: skip
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Run the daemon in the foreground.")
@_UNTIL_EOF
def serve(until_eof: int | None) -> int:
    """Run the daemon: it owns the logins, renews them, and lends tokens on the Unix sockets."""
    from broker.cli import foreground

    return foreground.daemon(read_config(), until_eof)


@click.command(short_help="Run the proxy in the foreground.")
@_UNTIL_EOF
def proxy(until_eof: int | None) -> int:
    """Run the proxy: clients talk to it over HTTP, and it borrows tokens from the daemon."""
    from broker.cli import foreground

    return foreground.proxy(read_config(), until_eof)


@click.command()
def up() -> int:
    """Run the daemon and the proxy together, until Ctrl-C. When one ends, so does the other."""
    from broker.cli import supervise

    return supervise.up(load_config())


@click.command(short_help="Run an OAuth server and an upstream to try things out with.")
@click.option("--client-secret-file", type=_FILE, required=True, help="Where to write the client secret (mode 0600).")
@click.option("--api-key-file", type=_FILE, help="Where to write the Gemini API key (mode 0600).")
@click.option("--config-file", type=_FILE, help="Where to write a config that points ccs-broker at the sandbox.")
@click.option("--settings-file", type=_FILE, help="JSON with the sandbox's settings: token lifetimes, faults ...")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port on 127.0.0.1; 0 is any free one."
)
def sandbox(
    client_secret_file: Path, api_key_file: Path | None, config_file: Path | None, settings_file: Path | None, port: int
) -> int:
    """Run an OAuth server and an upstream on loopback, to try things out without any provider."""
    from broker.cli import foreground
    from broker.sandbox.serve import ServeOptions

    options = ServeOptions(
        client_secret_file=client_secret_file.absolute(),
        port=port,
        settings_file=settings_file,
        api_key_file=api_key_file.absolute() if api_key_file else None,
        config_file=config_file,
    )
    return foreground.sandbox(options)
