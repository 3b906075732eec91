import uuid
from binascii import crc32
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.eventstream import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, Frame, FrameError, FrameParser
from tests.fakes.eventstream import crc, frame, framed, header, word

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
VALUES = st.one_of(
    st.tuples(st.just("boolean"), st.booleans()),
    st.tuples(st.just("byte"), st.integers(-(2**7), 2**7 - 1)),
    st.tuples(st.just("short"), st.integers(-(2**15), 2**15 - 1)),
    st.tuples(st.just("integer"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just("long"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("timestamp"), st.integers(0, 2**42)),
    st.tuples(st.just("bytes"), st.binary(max_size=9)),
    st.tuples(st.just("string"), st.text(st.characters(codec="utf-8"), max_size=9)),
    st.tuples(st.just("uuid"), st.uuids()),
)
FRAMES = st.lists(st.tuples(st.dictionaries(NAMES, VALUES, max_size=4), st.binary(max_size=40)), max_size=4)
TEXT = [(":message-type", "string", "event"), ("n", "integer", -7)]


def read(*chunks: bytes) -> list[Frame]:
    parser = FrameParser()
    found = [each for chunk in chunks for each in parser.feed(chunk)]
    assert parser.between
    return found


@given(frames=FRAMES, cuts=st.lists(st.floats(0, 1), max_size=8))
def test_what_was_encoded_is_read_however_it_is_cut(frames, cuts):
    data = b"".join(frame([(n, *v) for n, v in headers.items()], payload) for headers, payload in frames)
    marks = [0, *sorted(int(share * len(data)) for share in cuts), len(data)]
    found = read(*(data[a:b] for a, b in pairwise(marks)))
    assert [(dict(each.headers), each.payload) for each in found] == [
        ({name: value for name, (_, value) in headers.items()}, payload) for headers, payload in frames
    ]
    assert all(
        type(v) is type(w[1])
        for each, (h, _) in zip(found, frames, strict=True)
        for v, w in zip(each.headers.values(), h.values(), strict=True)
    )


@given(st.data())
def test_a_byte_that_changed_is_noticed(data):
    whole = bytearray(frame(TEXT, b'{"content":"hello"}'))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        FrameParser().feed(bytes(whole))


def test_every_bit_of_a_frame_counts():
    whole = frame(TEXT, b"{}")
    for at in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(FrameError):
            FrameParser().feed(bytes(changed))


def test_byte_by_byte():
    whole = frame(TEXT, b"abc") + frame([], b"")
    assert read(*(bytes([byte]) for byte in whole)) == [
        Frame({":message-type": "event", "n": -7}, b"abc"),
        Frame({}, b""),
    ]


def test_a_frame_is_waited_for():
    parser = FrameParser()
    assert parser.between
    whole = frame(TEXT, b"abc")
    assert parser.feed(whole[:5]) == []
    assert not parser.between
    assert parser.feed(whole[5:-1]) == []
    assert len(parser.feed(whole[-1:])) == 1
    assert parser.between


def test_the_example_of_the_documentation():
    # The smallest message there is: 16 bytes, no headers, no payload.
    assert frame([]) == bytes.fromhex("00000010 00000000 05c248eb 7d98c8ff")
    assert read(frame([])) == [Frame({}, b"")]


def test_what_came_before_a_fault_is_not_lost():
    good = frame(TEXT, b"abc")
    with pytest.raises(FrameError) as caught:
        FrameParser().feed(good + good + good[:-1] + b"\x00")
    assert [each.payload for each in caught.value.before] == [b"abc", b"abc"]
    with pytest.raises(FrameError) as caught:
        FrameParser().feed(b"x" * 12)
    assert caught.value.before == ()


def test_text_of_a_header():
    (found,) = read(frame([("a", "string", "x"), ("b", "integer", 3)]))
    assert (found.text("a"), found.text("b"), found.text("c")) == ("x", "", "")


def prelude(whole: int, headers: int) -> bytes:
    lengths = word(whole) + word(headers)
    return lengths + word(crc(lengths))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"data: {}\n\n\n\n", "checksum of a frame's lengths"),
        (prelude(15, 0), "shorter"),
        (prelude(0, 0), "shorter"),
        (prelude(20, 5), "shorter"),
        (prelude(16 + MAX_HEADER_BYTES + 1, MAX_HEADER_BYTES + 1), "too much"),
        (prelude(16 + MAX_PAYLOAD_BYTES + 1, 0), "too much"),
        (prelude(0xFFFFFFFF, 0), "too much"),
        (frame([])[:-1] + b"\x00", "checksum of a frame is wrong"),
        (framed(header("a", "boolean", True) * 2, b""), "no name"),
        (framed(b"\x00\x00", b""), "no name"),
        (framed(b"\x01a\x0a", b""), "unknown type 10"),
        (framed(b"\x01a\x07\x00\x05ab", b""), "in the middle"),
        (framed(b"\x05a", b""), "in the middle"),
        (framed(b"\x01a\x04\x00", b""), "in the middle"),
        (framed(b"\x01a\x09\x00", b""), "in the middle"),
        (framed(b"\x01a", b""), "in the middle"),
        (framed(b"\x01\xff\x00", b""), "UTF-8"),
        (framed(b"\x01a\x07\x00\x01\xff", b""), "UTF-8"),
    ],
)
def test_what_is_no_frame_is_refused(data, why):
    with pytest.raises(FrameError, match=why):
        FrameParser().feed(data)


def test_the_largest_frames_are_read_in_small_pieces():
    payload = bytes(3_000_000)
    whole = _fast(payload)
    found = read(*(whole[at : at + 1000] for at in range(0, len(whole), 1000)))
    assert [len(each.payload) for each in found] == [len(payload)]


def _fast(payload: bytes) -> bytes:
    # The fake's own CRC takes seconds for so much.
    begun = prelude(16 + len(payload), 0) + payload
    return begun + word(crc32(begun))


def test_a_uuid_and_a_moment():
    told = uuid.UUID("00000000-0000-0000-0000-000000000007")
    (found,) = read(frame([("u", "uuid", told), ("t", "timestamp", 1_700_000_000_123)]))
    assert dict(found.headers) == {"u": told, "t": 1_700_000_000_123}
