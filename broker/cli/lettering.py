"""A short code in letters that can be read from the other end of a desk.

Pure: text in, lines out.
"""

from typing import Final

HEIGHT: Final = 5

# Five by five, with the pairs people confuse drawn apart: 0 has a stroke, 1 a foot, I serifs, S and 5 and Z and 2 differ in their corners.
_GLYPHS: Final = {
    "A": " ###  #   # ##### #   # #   #",
    "B": "####  #   # ####  #   # #### ",
    "C": " #### #     #     #      ####",
    "D": "####  #   # #   # #   # #### ",
    "E": "##### #     ###   #     #####",
    "F": "##### #     ###   #     #    ",
    "G": " #### #     #  ## #   #  ####",
    "H": "#   # #   # ##### #   # #   #",
    "I": "#####   #     #     #   #####",
    "J": "  ###    #     #  #  #   ##  ",
    "K": "#  #  # #   ##    # #   #  # ",
    "L": "#     #     #     #     #####",
    "M": "#   # ## ## # # # #   # #   #",
    "N": "#   # ##  # # # # #  ## #   #",
    "O": " ###  #   # #   # #   #  ### ",
    "P": "####  #   # ####  #     #    ",
    "Q": " ###  #   # # # # #  #   ## #",
    "R": "####  #   # ####  # #   #  # ",
    "S": " #### #      ###      # #### ",
    "T": "#####   #     #     #     #  ",
    "U": "#   # #   # #   # #   #  ### ",
    "V": "#   # #   # #   #  # #    #  ",
    "W": "#   # #   # # # # ## ## #   #",
    "X": "#   #  # #    #    # #  #   #",
    "Y": "#   #  # #    #     #     #  ",
    "Z": "#####    #    #    #    #####",
    "0": " ###  #  ## # # # ##  #  ### ",
    "1": "  #    ##     #     #    ### ",
    "2": "####      #  ###  #     #####",
    "3": "####      #  ###      # #### ",
    "4": "#  #  #  #  #####    #     # ",
    "5": "##### #     ####      # #### ",
    "6": " ###  #     ####  #   #  ### ",
    "7": "#####    #    #    #    #    ",
    "8": " ###  #   #  ###  #   #  ### ",
    "9": " ###  #   #  ####     #  ### ",
    "-": "            #####            ",
}
_WIDTH = 5
_GAP = "  "


def large(text: str, columns: int, ink: str = "#") -> list[str] | None:
    """Return `text` as five lines of big letters drawn with `ink`; None where it is too wide for `columns`, or has characters there is no letter for."""
    if not text or any(each not in _GLYPHS for each in text) or width(text) > columns:
        return None
    rows = []
    for row in range(HEIGHT):
        at = row * (_WIDTH + 1)
        rows.append(_GAP.join(_GLYPHS[each][at : at + _WIDTH] for each in text).rstrip().replace("#", ink))
    return rows


def width(text: str) -> int:
    """Return how many columns `large` takes."""
    return len(text) * (_WIDTH + len(_GAP)) - len(_GAP)
