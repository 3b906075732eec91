from dataclasses import dataclass, replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers.base import Client, FormatError
from broker.providers.flat import FlatProvider
from broker.providers.setup import Setup

T = 1_777_630_830.0  # 2026-05-01T10:20:30Z
NOW = Now(T, 1.0)


@dataclass(frozen=True, slots=True)
class Acme(FlatProvider):
    @property
    def types(self) -> frozenset[str]:
        return frozenset({"acme", "acme-old"})

    @property
    def fact_keys(self) -> tuple[str, ...]:
        return ("region", "seat", "using_api")


ACME = Acme(Setup("acme", "Acme", "ours", scopes=("a", "b")))
PLAIN = FlatProvider(Setup("plain", "Plain"))
TOKENS = Tokens(Secret("fake-access"), Secret("fake-refresh"), Secret("fake-id"), expires_at=T + 60)


@pytest.mark.parametrize(("kind", "claimed"), [("acme", True), (" ACME-old ", True), ("plain", False), (7, False)])
def test_types_are_compared_as_people_write_them(kind: object, claimed: bool) -> None:
    assert ACME.claims({"type": kind}) is claimed


def test_facts_are_text_whatever_they_were() -> None:
    record = ACME.read({"access_token": "fake", "region": "eu", "seat": 7, "using_api": True, "label": "x"}, "f.json")
    assert record.facts == {"region": "eu", "seat": "7", "using_api": "true"}
    assert ACME.facts({"using_api": False, "seat": 1.5}) == {"using_api": "false"}
    assert PLAIN.facts({"region": "eu"}) == {}


def test_a_nested_grant_fills_what_the_top_lacks_and_is_kept_in_step() -> None:
    document: dict[str, object] = {
        "refresh_token": "fake-1",
        "token": {"access_token": "fake-2", "expired": "2026-05-01T10:20:30Z"},
    }
    record = ACME.read(document, "acme-x.json")
    assert (record.tokens.access_token, record.tokens.expires_at) == (Secret("fake-2"), T)
    after = ACME.write(document, TOKENS, NOW)
    assert after["token"] == {"access_token": "fake-access", "expired": "2026-05-01T10:21:30Z"}
    assert after["access_token"] == "fake-access"


def test_facts_that_came_with_a_grant_are_put_down_if_the_file_has_a_place_for_them() -> None:
    tokens = replace(TOKENS, facts={"region": "eu", "other": "x"})
    after = ACME.write({"access_token": "fake"}, tokens, NOW)
    assert (after["region"], "other" in after) == ("eu", False)
    assert tokens == TOKENS, "they do not make it another grant"


def test_a_file_with_no_token_is_refused() -> None:
    with pytest.raises(FormatError):
        ACME.read({"token": 5}, "f.json")


def test_a_new_file_reads_back_and_is_named_by_who_it_is() -> None:
    record = Record(
        AccountId("acme", "work"), TOKENS, "a@example.com", "42", {"region": "eu", "other": "x"}, disabled=True
    )
    name, document = ACME.create(record, Client("ours"), NOW)
    assert name == "acme-a@example.com.json"
    assert list(document)[:3] == ["type", "access_token", "refresh_token"]
    assert (document["label"], document["region"], document["scope"]) == ("work", "eu", "a b")
    assert "other" not in document
    again = ACME.read(document, name)
    assert (again.account, again.email, again.subject, again.disabled) == (record.account, "a@example.com", "42", True)


def test_without_an_identity_the_label_names_the_file() -> None:
    name, document = PLAIN.create(Record(AccountId("plain", "x y"), Tokens(Secret("fake"))), Client("c"), NOW)
    assert name == "plain-x_y.json"
    assert document["label"] == "x y"
    assert "expired" not in document


def test_a_grant_of_another_public_client_keeps_its_client() -> None:
    record = Record(AccountId("acme", "a@example.com"), TOKENS, "a@example.com")
    for client, written in (
        (Client("theirs"), "theirs"),
        (Client("ours"), None),
        (Client(""), None),
        (Client("x", Secret("fake")), None),
    ):
        _, document = ACME.create(record, client, NOW)
        assert document.get("client_id") == written
        assert ACME.client_of(document) == (Client("theirs") if written else None)


def test_a_registration_in_the_file_is_taken() -> None:
    assert ACME.client_of({}) is None
    assert ACME.client_of({"client_id": "c", "client_secret": "fake"}) == Client("c", Secret("fake"))
