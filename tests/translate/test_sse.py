"""Server-sent events: any cut, any line end, any size up to the limit."""

import time
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.sse import DONE, SseEvent, SseParser, encode_comment, encode_event, write_event


def parsed(*chunks, close=True):
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + (parser.close() if close else [])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_line_end(end):
    assert parsed(b"data: a" + end + end + b"data: b" + end + end, close=False) == [SseEvent(b"a"), SseEvent(b"b")]


def test_a_line_end_cut_in_two_is_one():
    assert parsed(b"event: ping\r", b"\ndata: a\r", b"\ndata: b\r\n\r", b"\n", close=False) == [
        SseEvent(b"a\nb", "ping")
    ]


def test_what_is_and_is_not_data():
    text = b"\xef\xbb\xbfevent: ping\nid: 1\nretry: 5\n: comment\nnonsense\ndata:x\ndata:  y\ndata\n\nevent: only-a-name\n\ndata: z\n\n"
    assert parsed(text) == [SseEvent(b"x\n y\n", "ping"), SseEvent(b"z")]


def test_a_last_event_without_its_blank_line_is_given_at_the_end():
    assert parsed(b"data: a\n\ndata: b") == [SseEvent(b"a"), SseEvent(b"b")]
    assert parsed(b"data: a\n\ndata: b\n") == [SseEvent(b"a"), SseEvent(b"b")]
    assert parsed(b"data: a\n\ndata: b", close=False) == [SseEvent(b"a")]


def test_blank_lines_before_the_first_event():
    assert parsed(b"\xef\xbb\xbf\n\r\ndata: a\n\n") == [SseEvent(b"a")]


def test_an_empty_read_changes_nothing():
    assert parsed(b"data: a\r", b"", b"\n\r\n", b"", close=False) == [SseEvent(b"a")]


def test_a_line_of_25_megabytes_in_small_reads_takes_linear_time():
    piece = b"A" * 4096
    parser = SseParser()
    start = time.perf_counter()
    parser.feed(b"data: ")
    for _ in range(6400):
        assert parser.feed(piece) == []
    (event,) = parser.feed(b"\n\n")
    assert len(event.data) == 6400 * 4096
    # A parser that joins at each read would copy some 80 GB here.
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    "chunks", [[b"data: 12345"], [b"data: 1\n", b"data: 2\n"], [b"event: e\r\n", b"data: 1\ndata: 2\n"]]
)
def test_an_event_over_the_limit_is_refused(chunks):
    parser = SseParser(limit=9)
    with pytest.raises(BrokerError) as caught:
        for chunk in chunks:
            parser.feed(chunk)
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_comments_and_finished_lines_are_not_held():
    parser = SseParser(limit=20)
    for _ in range(50):
        assert parser.feed(b": a com") + parser.feed(b"ment\n") == []
    assert parser.feed(b"data: 12") + parser.feed(b"34\n") + parser.feed(b"\n") == [SseEvent(b"1234")]


def test_the_limit_is_per_event():
    parser = SseParser(limit=10)
    assert len([e for _ in range(100) for e in parser.feed(b"data: 1\n\n: c\n")]) == 100


def test_encoding():
    assert encode_event(b"a") == b"data: a\n\n"
    assert encode_event(b"a\nb", "ping") == b"event: ping\ndata: a\ndata: b\n\n"
    assert encode_comment("alive") == b": alive\n\n"
    assert parsed(encode_comment(), DONE) == [SseEvent(b"[DONE]")]


_DATA = st.binary(max_size=40).map(lambda b: b.replace(b"\r", b"").strip())


@given(
    st.lists(st.tuples(_DATA, st.sampled_from(["", "ping", "é"])), max_size=6),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_what_is_encoded_is_parsed_back_however_it_is_cut(events, end, comments, cuts):
    wire = b"".join((encode_comment("c") if comments else b"") + encode_event(data, name) for data, name in events)
    wire = wire.replace(b"\n", end)
    marks = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    chunks = [wire[a:b] for a, b in pairwise(marks)]
    assert parsed(*chunks, close=False) == [SseEvent(data, name) for data, name in events]


@pytest.mark.parametrize("line", ["data: A", "data:A", "data", "event: A", "data:  A", ": A", "x: A"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_line_in_pieces_is_the_line(line, mark):
    told = (mark + line + "\ndata: 1\n\n").encode()
    pieces = SseParser()
    events = [event for byte in told for event in pieces.feed(bytes([byte]))]
    assert events == SseParser().feed(told)


@pytest.mark.parametrize("name", ["", "n"])
@pytest.mark.parametrize("value", [{"a": "\n"}, msgspec.Raw(b'{"a":\n"b"}'), {"a": msgspec.Raw(b"[\n\n1]")}])
def test_a_value_is_an_event_of_its_json(value, name):
    assert write_event(value, name) == encode_event(msgspec.json.encode(value), name)


@pytest.mark.parametrize("before", ["", ": hi\n", "data: a\n", "event: n\n", "data: a", "data: a\n\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n", "\r\n\r\n", "\r\r", "\r\n\n", "\n\n\n"])
@pytest.mark.parametrize(
    "said", ["data: b", "data:b", "data: ", "data: b\ndata: c", "data: b\rdata: c", "dat: b", "data: é"]
)
def test_a_chunk_that_is_one_event_gives_what_its_bytes_give(before, said, end):
    cut, whole = SseParser(), SseParser()
    text = (before, said + end, "\ndata: z\n\n")
    apart = [event for byte in "".join(text).encode() for event in cut.feed(bytes([byte]))]
    assert [event for chunk in text for event in whole.feed(chunk.encode())] == apart
    assert whole.close() == cut.close()
