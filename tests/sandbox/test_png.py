"""The images are valid, of the size asked for, and the same each time."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.sandbox.gemini_request import ASPECT_RATIOS
from broker.sandbox.png import dimensions, draw


def read(data: bytes) -> tuple[int, int, int]:
    """Read a PNG strictly: signature, order and checksums of chunks, and as many bytes of pixels as the header says."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, kinds, pixels, header = 8, [], b"", b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert check == zlib.crc32(kind + body)
        header = body if kind == b"IHDR" else header
        pixels += body if kind == b"IDAT" else b""
        kinds.append(kind)
        at += 12 + length
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert kinds.index(b"PLTE") < kinds.index(b"IDAT")
    width, height, depth, *_ = struct.unpack(">IIBBBBB", header)
    rows = zlib.decompress(pixels)
    stride = 1 + -(-width * depth // 8)
    assert len(rows) == stride * height
    assert set(rows[::stride]) == {0}
    return width, height, len(kinds)


@given(st.text(max_size=20), st.integers(1, 80), st.integers(1, 80), st.integers(0, 3000))
@settings(max_examples=50, deadline=None)
def test_any_image_is_valid(seed, width, height, pad_to):
    data = draw(seed, width, height, pad_to)
    assert read(data)[:2] == (width, height)
    assert len(data) >= pad_to - 12  # a chunk takes 12 bytes: less than that is not padded
    assert draw(seed, width, height, pad_to) == data


def test_padding_reaches_the_size_asked_for():
    plain = draw("x", 8, 8)
    assert read(plain)[2] == 4
    padded = draw("x", 8, 8, 10_000)
    assert len(padded) == 10_000
    assert read(padded)[2] == 5


@pytest.mark.parametrize("size", ["1K", "2K", "4K"])
@pytest.mark.parametrize("ratio", ASPECT_RATIOS)
def test_dimensions_have_the_ratio_and_the_area(ratio, size):
    width, height = dimensions(ratio, size)
    wide, high = map(int, ratio.split(":"))
    edge = int(size[0]) * 1024
    assert width / height == pytest.approx(wide / high, rel=0.01)
    assert width * height == pytest.approx(edge * edge, rel=0.01)


def test_small_by_default_and_prompts_differ():
    assert dimensions(None, None) == (64, 64)
    assert draw("a", 64, 64) != draw("b", 64, 64)


def test_a_4k_image_is_quick_to_read():
    assert read(draw("big", *dimensions("16:9", "4K")))[:2] == (5461, 3072)
