import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import AccountId
from broker.store import codec
from broker.store.codec import Fault, FaultKind, Parsed
from broker.store.reading import SEALED_KEY, Opened
from broker.store.seal import AeadSeal, key_id

KEY = bytes(range(32))
ALICE = AccountId("fake", "alice@example.com")
NAME = "fake-alice.json"
PLAIN = b'{"type": "fake", "email": "alice@example.com", "access_token": "fake-canary", "mine": [1, 2]}'


def nonces() -> Callable[[int], bytes]:
    numbers = count()
    return lambda size: hashlib.shake_256(f"{id(numbers)} {next(numbers)}".encode()).digest(size)


def seal(key: bytes = KEY) -> AeadSeal:
    return AeadSeal(key, nonces())


def parsed(data: bytes) -> Parsed:
    made = codec.parse(data)
    assert isinstance(made, Parsed)
    return made


@given(st.binary(max_size=500), st.integers(1, 2**40))
def test_what_was_sealed_opens_again(data: bytes, generation: int) -> None:
    sealed = seal().close_file(data, None, ALICE, generation, NAME)
    assert seal().open_file(parsed_or_fail(sealed), NAME) == Opened(data, generation)


def parsed_or_fail(data: bytes) -> dict[str, object]:
    document: dict[str, object] = json.loads(data)
    return document


def test_outside_stand_the_type_and_the_owner_and_nothing_secret() -> None:
    sealed = seal().close_file(PLAIN, None, ALICE, 3, NAME)
    document = parsed_or_fail(sealed)
    assert b"fake-canary" not in sealed
    assert (document["type"], document["email"]) == ("fake", "alice@example.com")
    assert "mine" not in document


def test_two_sealings_of_one_text_differ() -> None:
    one = seal()
    assert one.close_file(PLAIN, None, ALICE, 3, NAME) != one.close_file(PLAIN, None, ALICE, 3, NAME)


def test_fields_others_put_around_the_seal_are_kept() -> None:
    first = parsed_or_fail(seal().close_file(PLAIN, None, ALICE, 3, NAME))
    outer = parsed(json.dumps({"note": "theirs", **first}).encode())
    again = parsed_or_fail(seal().close_file(PLAIN, outer, ALICE, 4, NAME))
    assert again["note"] == "theirs"
    assert seal().open_file(again, NAME) == Opened(PLAIN, 4)


def changed(**changes: object) -> dict[str, object]:
    document = parsed_or_fail(seal().close_file(PLAIN, None, ALICE, 3, NAME))
    envelope = document[SEALED_KEY]
    assert isinstance(envelope, dict)
    return {**document, SEALED_KEY: {**envelope, **changes}}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"v": 2}, FaultKind.TAMPERED),
        ({"account": "fake/bob"}, FaultKind.TAMPERED),
        ({"account": 1}, FaultKind.TAMPERED),
        ({"generation": 4}, FaultKind.TAMPERED),
        ({"generation": True}, FaultKind.TAMPERED),
        ({"generation": "3"}, FaultKind.TAMPERED),
        ({"key": "0" * 16}, FaultKind.SEALED),
        ({"nonce": "AAAAAAAAAAAAAAAA"}, FaultKind.TAMPERED),
        ({"nonce": ""}, FaultKind.TAMPERED),
        ({"nonce": None}, FaultKind.TAMPERED),
        ({"data": "!"}, FaultKind.TAMPERED),
        ({"data": "AAAA"}, FaultKind.TAMPERED),
    ],
)
def test_what_was_changed_does_not_open(changes: dict[str, object], kind: FaultKind) -> None:
    fault = seal().open_file(changed(**changes), NAME)
    assert isinstance(fault, Fault)
    assert fault.kind is kind


def test_a_file_under_another_name_does_not_open() -> None:
    assert isinstance(seal().open_file(changed(), "other.json"), Fault)


@pytest.mark.parametrize("envelope", [None, 1, [], {}])
def test_what_is_no_envelope_is_told(envelope: object) -> None:
    fault = seal().open_file({"type": "fake", SEALED_KEY: envelope}, NAME)
    assert isinstance(fault, Fault)


def test_another_key_is_told_as_such() -> None:
    fault = seal(b"x" * 32).open_file(changed(), NAME)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.SEALED


@given(st.binary(max_size=300), st.data())
def test_answers_open_only_whole_and_where_they_belong(body: bytes, data: st.DataObject) -> None:
    closed = seal().close_body(body, b"here")
    assert seal().open_body(closed, b"here") == body
    assert seal().open_body(closed, b"there") is None
    at = data.draw(st.integers(0, len(closed) - 1))
    broken = bytearray(closed)
    broken[at] ^= 1
    assert seal().open_body(bytes(broken), b"here") is None
    assert seal().open_body(closed[:at], b"here") is None


def test_keys_have_one_length_and_do_not_show() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        AeadSeal(b"short", nonces())
    assert KEY.hex() not in repr(seal())
    assert key_id(KEY) == seal().key_id
    assert key_id(KEY) != key_id(b"x" * 32)


def test_text_that_is_no_auth_file_is_sealed_all_the_same() -> None:
    sealed = parsed_or_fail(seal().close_file(b"not json", None, ALICE, 1, NAME))
    assert set(sealed) == {SEALED_KEY}
    assert replace(Opened(b"not json", 1)) == seal().open_file(sealed, NAME)
