from broker.model.account import AccountId, Active, Generation, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers.base import RefreshPolicy
from broker.refresh.grant import granted
from broker.refresh.life import Life
from broker.refresh.plan import Known
from broker.store.base import Entry

TOKENS = Tokens(Secret("fake-access-1"), Secret("fake-refresh-1"), expires_at=1100.0)
ENTRY = Entry(Record(AccountId("fake", "ann"), TOKENS), Generation(1), "ann.json")
NOW = Now(wall=1000.0, boot=50.0)


def known(life: Life) -> Known:
    return Known(TOKENS, life, Active(), RefreshPolicy())


def test_it_says_whether_it_is_less_than_asked_for() -> None:
    life = Life(ends_boot=150.0, ends_wall=1100.0)
    assert not granted(ENTRY, known(life), NOW, 100.0).short
    assert granted(ENTRY, known(life), NOW, 101.0).short
    assert granted(ENTRY, known(life), NOW, 0.0).tokens is TOKENS


def test_its_end_is_told_by_todays_clock() -> None:
    told = granted(ENTRY, known(Life(ends_boot=80.0, ends_wall=1100.0, own=True)), NOW, 60.0)
    assert (told.tokens.expires_at, told.short) == (1030.0, True)
    assert told.entry is ENTRY
