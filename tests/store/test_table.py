import hashlib
from dataclasses import replace

import pytest

from broker.model.account import AccountId, NeedsLogin, Record, Routing, Tokens
from broker.model.secret import Secret
from broker.oauth.client import Client
from broker.store.table import Place, Source, arrange, checked, fingerprint

ALICE = AccountId("fake", "alice@example.com")


def record(n: int = 1, account: AccountId = ALICE, **changes: object) -> Record:
    tokens = Tokens(Secret(f"fake-access-{n}"), Secret(f"fake-refresh-{n}"), expires_at=1000.0 * n)
    made = Record(account, tokens, email="alice@example.com")
    return replace(made, **changes)  # type: ignore[arg-type]


def source(name: str, told: Record | None = None, *, paused: bool = False, directory: int = 0) -> Source:
    return Source(Place(directory, name, paused), "0", told or record())


def test_each_login_is_an_account() -> None:
    bob = record(account=AccountId("fake", "bob"), email="bob@example.com")
    arranged = arrange([source("b.json", bob), source("a.json")], {}, ())
    assert {str(account): owner.place.name for account, owner in arranged.owners.items()} == {
        "fake/alice@example.com": "a.json",
        "fake/bob": "b.json",
    }
    assert arranged.account_at(Place(0, "b.json")) == AccountId("fake", "bob")
    assert arranged.account_at(Place(0, "c.json")) is None
    assert arranged.shadowed == {}


def test_the_newest_grant_of_one_login_wins() -> None:
    arranged = arrange([source("old.json", record(1)), source("new.json", record(2))], {}, ())
    assert arranged.owners[ALICE].place.name == "new.json"
    assert arranged.shadowed == {Place(0, "old.json"): Place(0, "new.json")}
    assert arranged.account_at(Place(0, "old.json")) == ALICE


def test_between_equals_the_present_one_stays_then_the_active() -> None:
    pair = [source("a.json", paused=True), source("b.json")]
    assert arrange(pair, {}, ()).owners[ALICE].place.name == "b.json"
    assert arrange(pair, {}, [Place(0, "a.json", paused=True)]).owners[ALICE].place.name == "a.json"


def test_last_refresh_decides_where_the_end_is_the_same() -> None:
    later = record(1, tokens=replace(record().tokens, last_refresh=5.0))
    arranged = arrange([source("a.json"), source("b.json", later)], {}, ())
    assert arranged.owners[ALICE].place.name == "b.json"


def test_two_projects_of_one_person_are_two_accounts() -> None:
    one, two = record(facts={"project_id": "p/1"}), record(facts={"project_id": "p/2"})
    arranged = arrange([source("a.json", one), source("b.json", two)], {}, ())
    assert [str(account) for account in arranged.owners] == ["fake/alice@example.com", "fake/alice@example.com:p_2"]


def test_a_name_once_given_stays() -> None:
    one, two = record(facts={"project_id": "p1"}), record(facts={"project_id": "p2"})
    first = arrange([source("b.json", two)], {}, ())
    names = {owner.place.slot: account for account, owner in first.owners.items()}
    both = arrange([source("a.json", one), source("b.json", two)], names, ())
    assert both.owners[ALICE].place.name == "b.json"
    assert AccountId("fake", "alice@example.com:p1") in both.owners
    names = {owner.place.slot: account for account, owner in both.owners.items()}
    alone = arrange([source("a.json", one)], names, ())
    assert list(alone.owners) == [AccountId("fake", "alice@example.com:p1")]


def test_a_name_that_no_longer_fits_is_dropped() -> None:
    names = {(0, "a.json"): AccountId("fake", "somebody else")}
    assert list(arrange([source("a.json")], names, ()).owners) == [ALICE]


@pytest.mark.parametrize(
    ("changes", "suffix"),
    [
        ({"subject": "s2"}, "s2"),
        ({"facts": {"account_id": "team"}}, "team"),
        ({"email": "other@example.com", "subject": None}, "b"),
        ({"subject": "s 2\n"}, "b"),
    ],
)
def test_what_tells_logins_apart_becomes_the_suffix(changes: dict[str, object], suffix: str) -> None:
    one = record(subject="s1", facts={"account_id": "personal"})
    two = record(**{"subject": "s1", **changes})  # type: ignore[arg-type]
    arranged = arrange([source("a.json", one), source("b.json", two)], {}, ())
    assert [account.label for account in arranged.owners] == ["alice@example.com", f"alice@example.com:{suffix}"]


def test_suffixes_never_collide() -> None:
    told = [record(subject=f"s{n}", facts={"project_id": "p"}) for n in range(4)]
    sources = [source("x.json", one, directory=n) for n, one in enumerate(told)]
    arranged = arrange(sources, {}, ())
    assert len(arranged.owners) == 4
    assert sorted(owner.place.directory for owner in arranged.owners.values()) == [0, 1, 2, 3]


def test_even_names_made_to_collide_do_not() -> None:
    long = AccountId("fake", "x" * 170)
    pair = [source("a.json", record(account=long, subject="s1")), source("b.json", record(account=long, subject="s2"))]
    digest = hashlib.sha256(repr((0, "b.json")).encode()).hexdigest()[:8]
    hostile = [
        source(f"h{n}.json", record(account=AccountId("fake", "x" * 160 + f":{suffix}"), email=f"h{n}@example.com"))
        for n, suffix in enumerate(("s2", "b", digest))
    ]
    arranged = arrange([*pair, *hostile], {}, ())
    assert arranged.owners[AccountId("fake", "x" * 160 + f":{digest}-2")].place.name == "b.json"
    assert len(arranged.owners) == 5


def test_a_place_and_where_a_pause_moves_it() -> None:
    place = Place(1, "a.json")
    assert place.flipped == Place(1, "a.json", paused=True)
    assert place.flipped.flipped == place
    assert place.flipped.slot == place.slot


def test_long_labels_leave_room_for_the_suffix() -> None:
    long = AccountId("fake", "x" * 200)
    one, two = record(account=long, subject="s1"), record(account=long, subject="s2")
    labels = [account.label for account in arrange([source("a.json", one), source("b.json", two)], {}, ()).owners]
    assert labels == ["x" * 200, "x" * 160 + ":s2"]


def test_fingerprint_sees_what_a_client_could_notice() -> None:
    base = record()
    verdict = NeedsLogin("revoked", 1.0, None)
    seen = {
        fingerprint(base, None, paused=False, terminal=None),
        fingerprint(base, None, paused=True, terminal=None),
        fingerprint(base, None, paused=False, terminal=verdict),
        fingerprint(base, None, paused=False, terminal=replace(verdict, digest=Secret("x").digest())),
        fingerprint(base, Client("id"), paused=False, terminal=None),
        fingerprint(base, Client("id", Secret("fake")), paused=False, terminal=None),
        fingerprint(record(2), None, paused=False, terminal=None),
        fingerprint(record(disabled=True), None, paused=False, terminal=None),
        fingerprint(record(facts={"a": "b"}), None, paused=False, terminal=None),
        fingerprint(record(routing=Routing(proxy_url=Secret("direct"))), None, paused=False, terminal=None),
        fingerprint(record(routing=Routing(proxy_url=Secret("none"))), None, paused=False, terminal=None),
    }
    assert len(seen) == 11
    assert fingerprint(record(), None, paused=False, terminal=None) in seen


def test_text_that_cannot_be_sent_is_refused() -> None:
    assert checked(record()) == record()
    for bad in (record(facts={"a": "\ud800"}), record(email="\ud800"), record(tokens=Tokens(Secret("\ud800")))):
        with pytest.raises(ValueError, match="surrogates"):
            checked(bad)
