import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ipc.sse import COMMENT, EventReader, ServerEvent, frame
from broker.model.errors import BrokerError, ErrorCode

LINE = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), min_size=1, max_size=20).filter(
    lambda t: t == t.strip()
)
EVENT = st.builds(ServerEvent, LINE, LINE, LINE.map(str.encode))


@given(st.lists(EVENT, max_size=5), st.data())
def test_frames_cut_anywhere_come_back_whole(events: list[ServerEvent], data: st.DataObject) -> None:
    wire = COMMENT + b"".join(frame(each.id, each.name, each.data) + COMMENT for each in events)
    reader, seen = EventReader(), []
    while wire:
        cut = data.draw(st.integers(1, len(wire)))
        seen += reader.feed(wire[:cut])
        wire = wire[cut:]
    assert seen == events


def test_the_standards_odd_cases() -> None:
    wire = (
        b"data: one\r\ndata:two\r\n\r\n"  # several data lines, CR LF, no space
        b"id: 7\n\n"  # an id alone dispatches nothing and is kept
        b"unknown: x\nretry: 5\nevent: e\ndata\n\n"  # unknown fields, an empty data line
        b"id: a\0b\ndata: x\n\n"  # an id with NUL is ignored
    )
    assert EventReader().feed(wire) == [
        ServerEvent("", "message", b"one\ntwo"),
        ServerEvent("7", "e", b""),
        ServerEvent("7", "message", b"x"),
    ]


@pytest.mark.parametrize("wire", [b"x" * 40, b"data: " + b"x" * 20 + b"\ndata: " + b"x" * 20 + b"\n"])
def test_an_endless_event_is_refused(wire: bytes) -> None:
    with pytest.raises(BrokerError) as caught:
        EventReader(limit=32).feed(wire)
    assert caught.value.code is ErrorCode.TOO_LARGE
