import json

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers.base import Client
from broker.store.base import OWN, Origin
from broker.store.link import Link, link_of, linked
from broker.store.origin import new_document, relinked, renewed
from broker.store.reading import Reading, interpret
from broker.store.table import Place
from tests.contract.store_contract import record, tokens
from tests.fakes.provider import FakeProvider, FakeRegistry

NOW = Now(1_750_000_000.0, 10.0)
LINK = Link("claude-code", "/home/ann/.claude/.credentials.json")
CLIENT = Client("fake-client")


def reading(document: dict[str, object]) -> Reading:
    made = interpret(json.dumps(document).encode(), "content", Place(0, "a.json"), FakeRegistry(), None)
    assert isinstance(made, Reading)
    return made


def test_a_login_of_ones_own_is_as_the_provider_makes_it() -> None:
    assert new_document(FakeProvider(), record(), CLIENT, NOW, OWN) == FakeProvider().create(record(), CLIENT, NOW)


def test_a_file_that_is_taken_over_is_kept_whole() -> None:
    taken = {"type": "fake", "access_token": "fake-access-1", "x_theirs": [1, None]}
    name, made = new_document(FakeProvider(), record(), CLIENT, NOW, Origin(document=taken, name="theirs.json"))
    assert (name, made) == ("theirs.json", taken)
    assert made is not taken


def test_a_link_is_part_of_the_first_write() -> None:
    _, made = new_document(FakeProvider(), record(), CLIENT, NOW, Origin(LINK))
    assert link_of(made) == LINK


def test_a_renewal_notes_what_it_leaves_behind() -> None:
    _, document = new_document(FakeProvider(), record(), CLIENT, NOW, Origin(LINK))
    made = renewed(reading(document), document, tokens(2), NOW)
    link = link_of(made)
    assert link is not None
    assert link.spent == (Secret("fake-refresh-1").digest(),)
    assert FakeProvider().read(made, "a.json").tokens.refresh_token == Secret("fake-refresh-2")


def test_an_answer_without_a_refresh_token_keeps_the_old_one() -> None:
    _, document = new_document(FakeProvider(), record(), CLIENT, NOW, Origin(LINK))
    made = renewed(reading(document), document, Tokens(Secret("fake-access-9")), NOW)
    assert FakeProvider().read(made, "a.json").tokens.refresh_token == Secret("fake-refresh-1")
    assert link_of(made) == LINK


def test_a_link_is_set_and_taken_away() -> None:
    document = {"type": "fake", "access_token": "fake-access-1"}
    plain = reading(document)
    made = relinked(LINK)(plain, document)
    assert made == linked(document, LINK)
    assert relinked(LINK)(plain, made) is None
    assert relinked(None)(plain, made) == document
    assert relinked(None)(plain, document) is None
