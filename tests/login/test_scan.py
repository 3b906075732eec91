import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.login import scan
from broker.login.scan import around

ANCHORS = ("needle", "pin-")


def program(folder: Path, data: bytes) -> Path:
    path = folder / "program"
    path.write_bytes(data)
    return path


def test_only_what_stands_around_an_anchor_is_kept(tmp_path: Path) -> None:
    far = b"\xff" * 100_000
    text = around(program(tmp_path, far + b"left needle right" + far + b"pin-7" + far), ANCHORS)
    assert "left needle right" in text
    assert "pin-7" in text
    assert text.index("pin-7") - text.index("needle") > 2 * 256
    assert len(text) < 2_000


def test_neighbours_keep_their_distance(tmp_path: Path) -> None:
    text = around(program(tmp_path, b"needle" + b"\0\xc3" * 20 + b"pin-needle"), ANCHORS)
    assert text == "needle" + "\0\xc3" * 20 + "pin-needle"


def test_a_file_without_any_a_folder_and_a_missing_one_hold_nothing(tmp_path: Path) -> None:
    assert around(program(tmp_path, b"hay" * 10_000), ANCHORS) == ""
    assert around(program(tmp_path, b""), ANCHORS) == ""
    assert around(tmp_path, ANCHORS) == ""
    assert around(tmp_path / "absent", ANCHORS) == ""


def test_a_file_of_nothing_else_is_not_what_we_look_for(tmp_path: Path) -> None:
    assert around(program(tmp_path, (b"needle" + b"." * 600) * 5000), ANCHORS) == ""


def test_a_huge_file_is_left_alone(tmp_path: Path) -> None:
    path = program(tmp_path, b"needle")
    os.truncate(path, (1 << 30) + 1)  # sparse: it takes no room
    assert around(path, ANCHORS) == ""


@given(places=st.lists(st.integers(0, 9_000), max_size=12), piece=st.integers(1, 3_000))
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_pieces_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: list[int], piece: int) -> None:
    data = bytearray(b"." * 9_010)
    for place in places:
        data[place : place + 6] = b"needle"
    path = program(tmp_path, bytes(data))
    whole = around(path, ANCHORS)
    with monkeypatch.context() as patched:
        patched.setattr(scan, "_PIECE", piece)
        assert around(path, ANCHORS) == whole
