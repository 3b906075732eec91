from hypothesis import given
from hypothesis import strategies as st

from broker.store.packed import added, find, without

RECORDS = st.lists(st.binary(min_size=3, max_size=3), unique_by=lambda each: each[:2], max_size=12)
# Few letters, so that a key is often found across the border of two records.
DENSE = st.lists(st.text("ab", min_size=3, max_size=3).map(str.encode), unique_by=lambda each: each[:2], max_size=4)


@given(RECORDS | DENSE, st.binary(min_size=2, max_size=2) | st.text("ab", min_size=2, max_size=2).map(str.encode))
def test_a_record_is_found_by_its_beginning_and_nowhere_else(records: list[bytes], start: bytes) -> None:
    packed = b"".join(records)
    there = next((number for number, each in enumerate(records) if each[:2] == start), None)
    assert find(packed, start, 3) == (-1 if there is None else 3 * there)
    assert without(packed, start, 3) == b"".join(each for each in records if each[:2] != start)


def test_the_first_go_when_there_are_too_many() -> None:
    packed = b""
    for number in range(10):
        packed = added(packed, bytes([number, number]), 4)
    assert packed == bytes([6, 6, 7, 7, 8, 8, 9, 9])
    assert find(b"", b"a", 2) == -1
