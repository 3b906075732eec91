import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli.qr import drawing, halves, modules

URL = "https://auth.example/activate?user_code=ABCD-EFGH"
_UPPER, _LOWER = "▀█", "▄█"


def read_back(lines: list[str]) -> list[list[bool]]:
    """The modules a camera sees, two rows a line."""
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    return [[char in dark for char in line] for line in plain for dark in (_UPPER, _LOWER)]


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=9))
def test_every_module_is_drawn_where_it_belongs(rows: list[list[bool]]) -> None:
    drawn = read_back(halves(rows))
    assert drawn[: len(rows)] == rows
    assert not any(map(any, drawn[len(rows) :]))


def test_the_code_has_its_quiet_zone_and_its_corners() -> None:
    rows = modules(URL)
    assert len(rows) == len(rows[0])
    for edge in (rows[:4], rows[-4:], [row[:4] for row in rows], [row[-4:] for row in rows]):
        assert not any(map(any, edge))
    finder = [[1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 1], [1, 0, 1, 1, 1, 0, 1]]
    for corner in ([row[4:11] for row in rows[4:7]], [row[-11:-4] for row in rows[4:7]]):
        assert [[int(each) for each in row] for row in corner] == finder


def test_the_picture_is_the_one_a_decoder_has_read() -> None:
    """Drawn like this it was read by OpenCV's QR decoder, before a dark and before a light background."""
    (line, *_) = drawn = drawing(URL, 80) or []
    assert line.startswith("\x1b[38;5;16;48;5;231m")
    assert all(each.endswith("\x1b[0m") for each in drawn)
    seen = bytes(module for row in read_back(drawn) for module in row)
    assert (len(drawn), zlib.crc32(seen)) == (19, CHECKED)


CHECKED = 3260008264


@pytest.mark.parametrize("columns", [0, 36])
def test_what_is_wider_than_the_terminal_is_not_drawn(columns: int) -> None:
    assert drawing(URL, columns) is None
    assert drawing(URL, len(modules(URL)[0]))
