import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.daemon.hub import Hub
from broker.ipc.schema import AccountView, Changed, Lease, Removed, Snapshot, WatchAccount, WatchEvent, decode_event
from broker.ipc.sse import EventReader
from broker.model.account import AccountId
from broker.model.secret import Secret

ANN, BOB = AccountId("acme", "ann"), AccountId("acme", "bob")


def seen(
    account: AccountId, generation: int = 1, *, next_refresh: float | None = None, token: bool = True
) -> WatchAccount:
    view = AccountView(
        account=str(account),
        provider="acme",
        label=account.label,
        state="active",
        generation=generation,
        next_refresh=next_refresh,
    )
    lease = Lease(
        account=str(account), provider="acme", generation=generation, access_token=Secret(f"fake-{generation}")
    )
    return WatchAccount(view, lease if token else None)


def hub_of(instance: str = "i") -> Hub:
    return Hub(instance, "1.0", lambda data: data)


def read(data: bytes) -> list[tuple[str, WatchEvent]]:
    return [(each.id, decode_event(each.data)) for each in EventReader().feed(data)]


class Listener:
    def __init__(self, hub: Hub, last: str | None = None) -> None:
        self.got: list[bytes] = []
        data, self.leave = hub.join(self.got.append, last)
        self.first = read(data)

    @property
    def news(self) -> list[tuple[str, WatchEvent]]:
        return read(b"".join(self.got))


def test_a_new_reader_gets_the_whole_table_then_changes() -> None:
    hub = hub_of()
    hub.update(BOB, seen(BOB))
    hub.update(ANN, seen(ANN))
    reader = Listener(hub)
    assert reader.first == [("i-2", Snapshot((seen(ANN), seen(BOB)), "1.0"))]
    hub.update(ANN, seen(ANN, 2))
    hub.update(BOB, None)
    assert reader.news == [("i-3", Changed(seen(ANN, 2))), ("i-4", Removed("acme/bob"))]


def test_an_empty_table_is_a_snapshot_too() -> None:
    assert Listener(hub_of()).first == [("i-0", Snapshot((), "1.0"))]


def test_what_is_no_news_is_not_told() -> None:
    hub = hub_of()
    assert hub.update(ANN, seen(ANN))
    reader = Listener(hub)
    assert not hub.update(ANN, seen(ANN))
    assert not hub.update(ANN, seen(ANN, next_refresh=5.0))
    assert not hub.update(BOB, None)
    assert reader.got == []
    assert hub.update(ANN, seen(ANN, token=False))


def test_all_readers_are_handed_the_same_bytes() -> None:
    hub = hub_of()
    one, two = Listener(hub), Listener(hub)
    hub.update(ANN, seen(ANN))
    assert one.got[0] is two.got[0]


def test_a_reader_that_left_hears_nothing() -> None:
    hub = hub_of()
    reader = Listener(hub)
    assert hub.readers == 1
    reader.leave()
    reader.leave()
    hub.update(ANN, seen(ANN))
    assert reader.got == []
    assert hub.readers == 0


def test_coming_back_tells_the_last_of_what_was_missed_in_order() -> None:
    hub = hub_of()
    hub.update(ANN, seen(ANN))
    hub.update(BOB, seen(BOB))
    for generation in (2, 3, 4):
        hub.update(ANN, seen(ANN, generation))
    hub.update(BOB, None)
    assert Listener(hub, "i-2").first == [("i-5", Changed(seen(ANN, 4))), ("i-6", Removed("acme/bob"))]
    assert Listener(hub, "i-6").first == []


def test_an_account_that_came_back_is_not_told_as_gone() -> None:
    hub = hub_of()
    hub.update(ANN, seen(ANN))
    hub.update(ANN, None)
    hub.update(ANN, seen(ANN, 2))
    assert Listener(hub, "i-1").first == [("i-3", Changed(seen(ANN, 2)))]


@pytest.mark.parametrize("last", ["j-1", "i-9", "i-", "i", "", "i--1", "i-１", "i-1 ", "i-" + "9" * 30, "x"])
def test_an_id_that_says_nothing_gets_the_whole_table(last: str) -> None:
    hub = hub_of()
    hub.update(ANN, seen(ANN))
    ((_, event),) = Listener(hub, last).first
    assert isinstance(event, Snapshot)


def test_graves_are_bounded_and_older_readers_get_the_whole_table() -> None:
    hub = hub_of()
    for number in range(1001):
        account = AccountId("acme", f"a{number}")
        hub.update(account, seen(account))
        hub.update(account, None)
    ((_, first),) = Listener(hub, "i-1").first
    assert isinstance(first, Snapshot)
    assert len(Listener(hub, "i-2").first) == 1000


def test_tokens_that_were_replaced_are_not_kept() -> None:
    hub = hub_of()
    for generation in range(1, 20):
        hub.update(ANN, seen(ANN, generation))
    data, _ = hub.join(lambda _: None, "i-0")
    assert data.count(b"access_token") == 1


ACTIONS = st.lists(st.tuples(st.sampled_from([ANN, BOB]), st.one_of(st.none(), st.integers(1, 3))), max_size=12)


@given(ACTIONS, ACTIONS, st.booleans())
def test_a_reader_that_comes_back_ends_with_the_same_table(before: list, while_away: list, restarted: bool) -> None:
    """State machine in short: apply, leave, miss, come back (perhaps to another daemon); the reader's table is the hub's."""
    hub = hub_of()
    table: dict[str, WatchAccount] = {}
    last = ""

    def apply(events: list[tuple[str, WatchEvent]]) -> None:
        nonlocal last
        for event_id, event in events:
            last = event_id
            match event:
                case Snapshot(accounts=accounts):
                    table.clear()
                    table.update({each.view.account: each for each in accounts})
                case Changed(account=each):
                    table[each.view.account] = each
                case Removed(account=name):
                    table.pop(name, None)

    reader = Listener(hub)
    apply(reader.first)
    for account, generation in before:
        hub.update(account, None if generation is None else seen(account, generation))
    apply(reader.news)
    reader.leave()
    if restarted:
        hub = hub_of("other")
    for account, generation in while_away:
        hub.update(account, None if generation is None else seen(account, generation))
    apply(Listener(hub, last).first)
    ((_, truth),) = Listener(hub).first
    assert isinstance(truth, Snapshot)
    assert table == {each.view.account: each for each in truth.accounts}


def test_what_changed_unseen_is_worked_out_when_somebody_comes_and_not_kept_before() -> None:
    hub = hub_of()
    hub.update(ANN, seen(ANN))
    hub.update(BOB, seen(BOB))
    away = Listener(hub)
    away.leave()
    hub.neglect(ANN)
    hub.neglect(BOB)
    hub.neglect(AccountId("acme", "carol"))
    assert hub._known[ANN].account is None

    def catch_up() -> None:
        hub.update(ANN, seen(ANN, 2))
        hub.update(BOB, None)

    hub.before_join = catch_up
    back = Listener(hub, "i-2")
    assert back.first == [("i-3", Changed(seen(ANN, 2))), ("i-4", Removed("acme/bob"))]
    assert Listener(hub).first == [("i-4", Snapshot((seen(ANN, 2),), "1.0"))]


def test_what_nobody_worked_out_is_left_out() -> None:
    hub = hub_of()
    hub.update(ANN, seen(ANN))
    hub.neglect(ANN)
    assert Listener(hub).first == [("i-1", Snapshot((), "1.0"))]
    assert Listener(hub, "i-0").first == []
