"""A QR code that a phone can read off a terminal.

Pure: text in, lines out. It must be read on dark and light terminals alike, so it names its colours, black on white, and brings its own quiet zone.
"""

from collections.abc import Sequence
from typing import Final

Matrix = Sequence[Sequence[bool]]

_QUIET = 4  # modules on each side: ISO/IEC 18004 section 6.3.8
# Colours 16 and 231 of the 256 are black and white whatever theme a terminal has; the first 16 are not.
_COLOURS: Final = "\x1b[38;5;16;48;5;231m"
_PLAIN: Final = "\x1b[0m"
# Two modules a character, so that they come out square: (upper is dark, lower is dark).
_HALVES: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def drawing(text: str, columns: int) -> list[str] | None:
    """Return the lines of a QR code of `text`; None where it is wider than `columns`."""
    rows = modules(text)
    return None if len(rows[0]) > columns else halves(rows)


def modules(text: str) -> Matrix:
    """Return the code with its quiet zone, True for dark: of the weakest error correction, as a screen has no scratches."""
    import segno

    code = segno.make_qr(text, error="l")
    return [[bool(module) for module in row] for row in code.matrix_iter(border=_QUIET)]


def halves(rows: Matrix) -> list[str]:
    """Draw two rows a line."""
    light = [False] * len(rows[0])
    padded = [*rows, light] if len(rows) % 2 else rows
    return [
        _COLOURS + "".join(_HALVES[pair] for pair in zip(upper, lower, strict=True)) + _PLAIN
        for upper, lower in zip(padded[::2], padded[1::2], strict=True)
    ]
