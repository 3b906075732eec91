"""The one place that prints.

Owns: stdout for results, stderr for everything meant for a person's eye only. rich is imported when a person's table is wanted, not before: `token` prints
through here too.
"""

import sys

TYPE_CHECKING = False  # typing takes as long to load as `token` takes
if TYPE_CHECKING:
    from typing import TextIO

    from broker.cli.results import Result
    from broker.model.errors import BrokerError

# Where there is no terminal there is no width: rich's 80 would fold the names that scripts cut out.
_WIDTH_WITHOUT_TERMINAL = 200


def line(text: str) -> None:
    """Write one line to stdout as it is."""
    _write(sys.stdout, text)


def notice(text: str) -> None:
    """Write one line to stderr: a step, a hint, a URL to open."""
    _write(sys.stderr, text)


def show(result: "Result", *, as_json: bool) -> None:
    """Write a result: its versioned JSON form, or as a person reads it."""
    if as_json:
        import json

        from broker.cli.results import document

        line(json.dumps(document(result)))
        return
    from rich.console import Console

    from broker.cli.human import layout
    from broker.cli.results import ImageFailed, Text

    if isinstance(result, Text):
        line(result.text)
        return
    stream = sys.stderr if isinstance(result, ImageFailed) else sys.stdout
    terminal = stream.isatty()
    console = Console(
        file=stream, width=None if terminal else _WIDTH_WITHOUT_TERMINAL, highlight=False, markup=False, emoji=False
    )
    if terminal:
        for part in layout(result):
            console.print(part, crop=False)
        return
    with console.capture() as captured:
        for part in layout(result):
            console.print(part, crop=False)
    # rich fills lines up with spaces; scripts are better off without.
    _write(stream, "\n".join(each.rstrip() for each in captured.get().splitlines()))


def failure(error: "BrokerError", *, as_json: bool) -> None:
    """Tell a failure: one sentence and a hint on stderr, or a problem document (RFC 9457) on stdout."""
    if as_json:
        import json

        import msgspec

        from broker.cli.results import VERSION
        from broker.ipc.schema import problem_of

        line(json.dumps({"version": VERSION, **msgspec.to_builtins(problem_of(error))}))
        return
    from broker.cli.wording import clean

    about = f" ({clean(error.account)})" if error.account and error.account not in error.detail else ""
    notice(f"ccs-broker: {clean(error.detail)}{about}")
    if error.hint:
        notice(f"  {clean(error.hint)}")


def columns() -> int | None:
    """Return how wide the terminal is that a person reads; None where stdout or stderr is none: a script is at work."""
    import shutil

    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return None
    return shutil.get_terminal_size().columns


def can_show(characters: str) -> bool:
    """Tell whether notices can hold these characters."""
    try:
        characters.encode(sys.stderr.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def give_up() -> None:
    """Forget stdout, whose reader has seen enough: Python's own flush at exit must not complain about it."""
    import contextlib
    import os

    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Progress:
    """One line on stderr that changes in place on a terminal; elsewhere only its first form is written, once."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._terminal = sys.stderr.isatty()
        self._shown = 0

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._terminal:
            sys.stderr.write(f"\r{text.ljust(self._shown)}")
            sys.stderr.flush()
        elif not self._shown:
            notice(text)
        self._shown = len(text)

    def clear(self) -> None:
        """Take the line away."""
        if self._terminal and self._shown:
            sys.stderr.write(f"\r{' ' * self._shown}\r")
            sys.stderr.flush()
        self._shown = 0


def _write(stream: "TextIO", text: str) -> None:
    stream.write(text + "\n")
    stream.flush()
