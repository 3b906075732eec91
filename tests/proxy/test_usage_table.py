from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.usage_table import OTHER, Counts, Pending, Table, Who

WHO: Who = ("ci", "gemini/alice", "gemini-2.5-pro")


def test_every_number_is_added_and_taken_away() -> None:
    names = Counts.__struct_fields__
    one = Counts(*range(1, len(names) + 1))
    two = one.copy()
    two.add(one)
    assert msgspec.structs.astuple(two) == tuple(2 * number for number in range(1, len(names) + 1))
    two.add(one, -1)
    assert two == one
    one.requests += 1
    assert two != one


def test_only_what_is_new_is_taken() -> None:
    table = Table()
    assert table.take() == []
    table.row(WHO).requests += 2
    table.row(WHO).seconds += 0.5
    assert table.take() == [(WHO, Counts(requests=2, seconds=0.5))]
    assert table.take() == []
    table.row(WHO).requests += 1
    assert table.take() == [(WHO, Counts(requests=1))]
    assert dict(table.rows())[WHO] == Counts(requests=3, seconds=0.5)


def test_what_finds_no_room_is_counted_with_the_others_and_room_is_made() -> None:
    table = Table(4)
    for number in range(10):
        table.row(("k", "a", f"m{number}")).requests += 1
    rows = dict(table.rows())
    assert len(rows) == 5
    assert rows[OTHER, OTHER, OTHER].requests == 6
    assert sum(counts.requests for _, counts in table.take()) == 10
    assert len(dict(table.rows())) == 3
    table.row(("k", "a", "new")).requests += 1
    assert table.take() == [(("k", "a", "new"), Counts(requests=1))]
    assert sum(counts.requests for _, counts in table.rows()) == 11


def test_a_name_that_no_file_takes_is_mended() -> None:
    table = Table()
    for _ in range(2):
        table.row(("k", "a", "m\ud800\0")).requests += 1
    assert table.take() == [(("k", "a", "m?\0"), Counts(requests=2))]


def test_a_long_name_is_cut() -> None:
    table = Table()
    table.row(("k", "a", "m" * 5000)).requests += 1
    assert table.take() == [(("k", "a", "m" * 200), Counts(requests=1))]


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=80))
def test_nothing_is_lost_or_counted_twice(steps: list[tuple[int, bool]]) -> None:
    table, pending, total = Table(3), Pending(5), Counter[str]()
    for hour, (number, take) in enumerate(steps):
        table.row(("k", "a", f"m{number}")).requests += 1
        total["requests"] += 1
        if take:
            pending.add(hour // 3, table.take())
        assert len(dict(table.rows())) <= 4
        assert len(pending.rows) <= 6
    pending.add(99, table.take())
    assert sum(counts.requests for counts in pending.rows.values()) == total["requests"]
    assert sum(counts.requests for _, counts in table.rows()) == total["requests"]


def test_what_was_written_is_forgotten_and_what_was_not_is_added_up() -> None:
    pending = Pending(1)
    pending.add(5, [(WHO, Counts(requests=1))])
    pending.add(5, [(WHO, Counts(requests=2))])
    pending.add(6, [(WHO, Counts(requests=4))])
    pending.add(7, [(WHO, Counts(requests=8))])
    assert pending.rows == {(5, *WHO): Counts(requests=3), (6, OTHER, OTHER, OTHER): Counts(requests=12)}
    pending.clear()
    pending.add(8, [(WHO, Counts(requests=1))])
    assert pending.rows == {(8, *WHO): Counts(requests=1)}
