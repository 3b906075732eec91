import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import AccountId, Record
from broker.model.secret import Secret
from broker.providers.base import Document
from broker.providers.registry import build
from broker.store.codec import Fault, FaultKind
from broker.store.reading import Opened, Reading, interpret
from broker.store.table import Place
from tests.fakes.provider import FakeProvider, FakeRegistry

PLACE = Place(0, "fake-a.json")
GOOD = {"type": "fake", "access_token": "fake-access", "client_id": "fake-own"}


class Wrapper:
    """An envelope that hides nothing."""

    def __init__(self, opened: Opened | Fault) -> None:
        self._opened = opened

    def open_file(self, document: Document, file_name: str) -> Opened | Fault:
        assert (document["ccs_broker_sealed"], file_name) == ({}, PLACE.name)
        return self._opened


class Buggy(FakeProvider):
    """A vendor's reader with a bug."""

    def read(self, document: Document, file_name: str) -> Record:
        raise AttributeError("fake-secret")


def read(document: object, registry: FakeRegistry | None = None, envelope: Wrapper | None = None) -> Reading | Fault:
    return interpret(json.dumps(document).encode(), "c0", PLACE, registry or FakeRegistry(), envelope)


def test_a_good_file() -> None:
    reading = read(GOOD)
    assert isinstance(reading, Reading)
    assert reading.source.record.account == AccountId("fake", "fake-a")
    assert reading.source.client is not None
    assert reading.source.client.id == "fake-own"
    assert (reading.source.content, reading.source.sealed, reading.outer) == ("c0", None, None)
    assert "fake-access" not in repr(reading)


@pytest.mark.parametrize(
    ("document", "kind", "said"),
    [
        ({"type": "strange"}, FaultKind.UNKNOWN_TYPE, "'strange'"),
        ({"type": "fake"}, FaultKind.BAD_FIELDS, "there is no token"),
        ({**GOOD, "email": "a/b"}, FaultKind.BAD_FIELDS, "account label"),
        ({**GOOD, "access_token": "\ud800"}, FaultKind.BAD_FIELDS, "UnicodeEncodeError"),
        ({**GOOD, "client_id": 7}, FaultKind.BAD_FIELDS, "client_id"),
        ({"type": "x" * 100}, FaultKind.UNKNOWN_TYPE, "xxx"),
        ([], FaultKind.NOT_OBJECT, "object"),
        ({**GOOD, "ccs_broker_sealed": {}}, FaultKind.SEALED, "sealed"),
    ],
)
def test_faults(document: object, kind: FaultKind, said: str) -> None:
    fault = read(document)
    assert isinstance(fault, Fault)
    assert fault.kind is kind
    assert said in fault.detail
    assert len(fault.detail) < 150


def test_a_registration_whose_secret_nobody_could_send_is_a_fault_of_the_file() -> None:
    token = {"access_token": "fake-access-1", "client_id": "fake-own", "client_secret": "\ud800"}
    document = {"type": "gemini", "email": "a@example.com", "token": token}
    fault = interpret(json.dumps(document).encode(), "c0", PLACE, build({}), None)
    assert fault == Fault(FaultKind.BAD_FIELDS, "cannot be used: UnicodeEncodeError")


def test_a_bug_in_a_vendors_reader_costs_one_file_and_tells_nothing() -> None:
    fault = read(GOOD, FakeRegistry(Buggy()))
    assert fault == Fault(FaultKind.BAD_FIELDS, "cannot be used: AttributeError")


def test_inside_an_envelope() -> None:
    sealed = {"type": "fake", "ccs_broker_sealed": {}}
    reading = read(sealed, envelope=Wrapper(Opened(json.dumps(GOOD).encode(), 7)))
    assert isinstance(reading, Reading)
    assert reading.source.record.tokens.access_token == Secret("fake-access")
    assert reading.source.sealed == 7
    assert reading.outer is not None
    assert reading.outer.document == sealed
    tampered = Fault(FaultKind.TAMPERED, "was changed")
    assert read(sealed, envelope=Wrapper(tampered)) == tampered
    hollow = read(sealed, envelope=Wrapper(Opened(b"nothing", 7)))
    assert isinstance(hollow, Fault)
    assert hollow.kind is FaultKind.TAMPERED


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    assert isinstance(interpret(data, "c0", PLACE, FakeRegistry(), None), Reading | Fault)
