"""The short way of the table, for one file that changed, has the long way's outcome."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.model.account import AccountId, Generation, NeedsLogin, Record, Tokens
from broker.model.secret import Secret
from broker.store.base import Change, Gone, Updated
from broker.store.codec import Parsed, parse
from broker.store.reading import Reading
from broker.store.shelf import Shelf
from broker.store.state import Remembered, Row
from broker.store.table import Place, Source
from tests.fakes.clock import FakeClock
from tests.fakes.provider import FakeProvider

PARSED = parse(b'{"type": "fake"}')
ALICE = AccountId("fake", "alice")


def reading(file: int, who: str = "alice", grant: int = 1, project: str = "", *, paused: bool = False) -> Reading:
    assert isinstance(PARSED, Parsed)
    tokens = Tokens(Secret(f"fake-access-{grant}"), Secret(f"fake-refresh-{grant}"), expires_at=1000.0 * grant)
    facts = {"project_id": project} if project else {}
    made = Record(AccountId("fake", who), tokens, email=f"{who}@example.com", facts=facts)
    place = Place(0, f"{file}.json", paused)
    return Reading(Source(place, f"{who}{grant}{project}", made), FakeProvider(), PARSED)


class Watched:
    """A shelf, all that it told and remembered; with `arranging`, every change goes the long way."""

    def __init__(self, *, arranging: bool = False) -> None:
        self.rows: list[Row] = []
        self.told: list[Change] = []
        self.arranged = 0
        self.shelf = Shelf(("/auth",), FakeClock(), self.rows.extend)
        self.shelf.subscribe(self.told.append)
        whole = self.shelf._rearrange

        def rearrange(raised: AccountId | None) -> None:
            self.arranged += 1
            whole(raised)

        self.shelf._rearrange = rearrange  # type: ignore[method-assign]
        if arranging:
            self.shelf._alone = lambda _reading: None  # type: ignore[method-assign]

    def seen(self) -> object:
        shelf = self.shelf
        return (
            dict(shelf.entries),
            list(shelf.entries),
            dict(shelf._arrangement.owners),
            shelf.shadows(),
            self.told,
            self.rows,
        )


CHANGES = st.lists(
    st.tuples(
        st.builds(
            reading,
            st.integers(0, 3),
            st.sampled_from(["alice", "ALICE", "bob"]),
            st.integers(1, 3),
            st.sampled_from(["", "p", "q"]),
            paused=st.booleans(),
        ),
        st.booleans(),
        st.sampled_from(["accept", "raise", "judge"]),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(CHANGES)
def test_one_changed_file_is_taken_over_as_all_of_them_would_be(changes: list[tuple[Reading, bool, str]]) -> None:
    async def run() -> None:
        short, long = Watched(), Watched(arranging=True)
        for change, gone, how in changes:
            for each in (short, long):
                shelf, place = each.shelf, change.source.place
                account = shelf.account_at(place)
                if how == "judge" and account is not None:
                    shelf.judge(account, NeedsLogin("gone", 1.0, change.source.record.tokens.refresh_digest()))
                elif gone:
                    shelf.accept(gone=[place])
                else:
                    shelf.accept([change], raised=account if how == "raise" else None)
            await asyncio.sleep(0)
            assert short.seen() == long.seen()

    asyncio.run(run())


async def test_a_renewal_among_many_arranges_nothing_anew() -> None:
    watched = Watched()
    watched.shelf.accept([reading(number, f"user{number}") for number in range(20)])
    await asyncio.sleep(0)
    watched.told.clear()
    before = watched.shelf.entries
    watched.shelf.accept([reading(7, "user7", 2)])
    watched.shelf.accept([reading(7, "user7", 2)])  # reformatted
    await asyncio.sleep(0)
    assert watched.arranged == 1
    (told,) = watched.told
    assert isinstance(told, Updated)
    assert (str(told.entry.account), told.entry.generation) == ("fake/user7", before[told.entry.account].generation + 1)
    assert watched.shelf.entries is not before
    assert list(watched.shelf.entries) == list(before)


@pytest.mark.parametrize(
    "change",
    [
        reading(1, "alice", 2),  # a second file of hers
        reading(0, "bob", 2),  # becomes somebody else
        reading(5, "carol"),  # is new
        replace(
            reading(0, "alice", 2), source=replace(reading(0, "alice", 2).source, place=Place(0, "0.json", paused=True))
        ),
    ],
)
async def test_what_may_move_others_is_arranged_anew(change: Reading) -> None:
    watched = Watched()
    watched.shelf.accept([reading(0), reading(2, "dave")])
    watched.shelf.accept([change])
    assert watched.arranged == 2


async def test_a_file_that_goes_takes_its_account_along() -> None:
    watched = Watched()
    watched.shelf.accept([reading(0)])
    watched.shelf.accept([reading(0, grant=2)])
    watched.shelf.accept(gone=[Place(0, "0.json")])
    await asyncio.sleep(0)
    assert [type(each) for each in watched.told] == [Updated, Updated, Gone]
    assert watched.shelf.entries == {}


@pytest.mark.parametrize("generation", [-(1 << 63), -1, 0, (1 << 63) - 1])
def test_any_generation_the_state_database_can_hold_is_remembered(generation: int) -> None:
    shelf, token = Shelf(("/auth",), FakeClock(), lambda _rows: None), Secret("fake-refresh-1")
    row = Row(ALICE, "/auth", "0.json", Generation(generation), "x", token.digest())
    shelf.restore(Remembered({ALICE: row}))
    assert shelf.digest_of(ALICE, Generation(generation)) == (True, token.digest())
    assert shelf.digest_of(ALICE, Generation(1)) == (False, None)


async def test_what_was_remembered_is_known_beside_what_came_since_and_moves_with_the_name() -> None:
    watched, bob = Watched(), AccountId("fake", "bob")
    tokens = [Secret(f"fake-refresh-{grant}") for grant in range(3)]
    row = Row(ALICE, "/auth", "0.json", Generation(7), "x", tokens[0].digest())
    watched.shelf.restore(Remembered({ALICE: row}))
    for grant in (1, 2):
        watched.shelf.accept([reading(0, grant=grant)])
    known = [watched.shelf.digest_of(ALICE, Generation(7 + grant)) for grant in range(4)]
    assert known == [*((True, token.digest()) for token in tokens), (False, None)]
    watched.shelf.rename(ALICE, bob)
    watched.shelf.accept([reading(0, "bob", grant=2)], raised=bob)
    assert [watched.shelf.digest_of(bob, Generation(7 + grant)) for grant in range(3)] == known[:3]
    assert watched.shelf.digest_of(bob, Generation(10)) == (True, tokens[2].digest())
    assert watched.shelf.digest_of(ALICE, Generation(9)) == (False, None)
