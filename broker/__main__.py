"""The program's entry: `ccs-broker`, or `python -m broker`.

Owns: the choice between the short way for `token` and click for everything else. It must never import more than the short way needs.
"""

import sys


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    arguments = sys.argv[1:]
    code = _token(arguments[1:]) if arguments[:1] == ["token"] else None
    if code is None:
        from broker.cli.app import main as run  # noqa: PLC0415 - click is not needed for a token

        code = run(arguments)
    sys.exit(code)


def _token(arguments: list[str]) -> int | None:
    """Print a token the short way; None where the arguments need explaining."""
    from broker.cli import token  # noqa: PLC0415

    return token.run(arguments)


if __name__ == "__main__":
    main()
