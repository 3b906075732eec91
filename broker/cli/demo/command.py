"""`ccs-broker demo`: its options."""

import click


@click.command(short_help="Watch the whole product work, against a provider on loopback.")
@click.option("--keep", is_flag=True, help="Leave everything running and say how to use it.")
def demo(keep: bool) -> int:
    """Log in, lease, let a token expire, chat, make an image and restart the daemon: on loopback, in a temporary home.

    Needs no account and touches nothing of yours. Stops everything it started; exits with 1 if any step failed.
    """
    from broker.cli.demo.run import run

    return run(keep=keep)
