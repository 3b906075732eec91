"""The program's entry: `ccs-broker`, or `python -m broker`.

Owns: the choice between the short ways for `token`, `serve` and `proxy`, and click for everything else. It must never import more than the short way needs.
"""

import sys


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    arguments = sys.argv[1:]
    code = _short(arguments)
    if code is None:
        from broker.cli.app import main as run  # noqa: PLC0415 - click is not needed for a token

        code = run(arguments)
    sys.exit(code)


def _short(arguments: list[str]) -> int | None:
    """Run what needs no click; None where the arguments need explaining."""
    if arguments[:1] == ["token"]:
        from broker.cli import token  # noqa: PLC0415

        return token.run(arguments[1:])
    if arguments[:1] in (["serve"], ["proxy"]):
        from broker.cli import straight  # noqa: PLC0415

        return straight.run(arguments[0], arguments[1:])
    return None


if __name__ == "__main__":
    main()
