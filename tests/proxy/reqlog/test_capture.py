from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.reqlog.capture import Capture, ends_of


def test_a_body_within_the_limit_is_kept_and_not_copied() -> None:
    body = b"a body of its own"
    found = ends_of(body, len(body))
    assert found.head is body
    assert (found.size, found.total, found.tail, found.left) == (len(body), len(body), b"", 0)


def test_of_a_longer_one_both_ends_are_kept() -> None:
    found = ends_of(b"0123456789", 5)
    assert (found.head, found.tail, found.left) == (b"012", b"89", 5)
    assert (found.size, found.total) == (5, 10)
    assert ends_of(b"0123456789", 1).tail == b""


@given(st.lists(st.binary(max_size=12), max_size=30), st.integers(1, 40))
def test_parts_are_kept_as_the_whole_is(parts: list[bytes], limit: int) -> None:
    capture = Capture(limit)
    for part in parts:
        capture.feed(part)
        assert len(capture._head) + len(capture._tail) <= limit + limit // 2 + 1
    found, whole = capture.captured(), ends_of(b"".join(parts), limit)
    assert (found.head + found.tail, found.left) == (whole.head + whole.tail, whole.left)
    assert capture.captured() == found
