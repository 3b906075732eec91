import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import AccountId, Generation
from broker.model.secret import Secret
from broker.oauth.messages import HttpResponse
from broker.store.rotation import ROOM_BYTES, Answer, Intent, decode, encode_answer, encode_intent, presented_mark

INTENT = Intent(AccountId("fake", "älice"), Generation(7), Secret("fake-refresh").digest(), 1750000000.25)
ANSWER = HttpResponse(
    200, {"date": "Mon", "retry-after": "7", "set-cookie": "dropped"}, b'{"access_token": "fake"}\n\0'
)


def test_an_intent_alone() -> None:
    data = encode_intent(INTENT)
    assert data.endswith(b"\n")
    assert decode(data) == (INTENT, None)
    assert decode(data + b"\0" * ROOM_BYTES) == (INTENT, None)


@pytest.mark.parametrize("sealed", [False, True])
def test_an_answer_with_room_left_behind_it(sealed: bool) -> None:
    data = encode_intent(INTENT) + encode_answer(ANSWER, ANSWER.body, sealed=sealed) + b"\0" * 100
    expected = Answer(200, {"date": "Mon", "retry-after": "7"}, ANSWER.body, sealed)
    assert decode(data) == (INTENT, expected)


def test_an_answer_shows_no_body() -> None:
    assert "fake" not in repr(Answer(200, {}, b"fake-access"))


def test_every_torn_answer_counts_as_none() -> None:
    data = encode_intent(INTENT) + encode_answer(ANSWER, ANSWER.body, sealed=False)
    first = len(encode_intent(INTENT))
    for end in range(first, len(data)):
        assert decode(data[:end] + b"\0" * (len(data) - end + 5))[1] in (None, decode(data)[1])
        assert decode(data[:end]) == (INTENT, None)


def test_a_flipped_byte_in_the_body_is_noticed() -> None:
    data = bytearray(encode_intent(INTENT) + encode_answer(ANSWER, ANSWER.body, sealed=False))
    data[-3] ^= 1
    assert decode(bytes(data)) == (INTENT, None)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0" * 40,
        b"{}",
        b"[]",
        json.dumps({"v": 1, "account": "no slash", "generation": 1, "digest": "0" * 32, "since": 1.0}).encode(),
        json.dumps({"v": 1, "account": "fake/a", "generation": 1, "digest": "short", "since": 1.0}).encode(),
        json.dumps({"v": 2, "account": "fake/a", "generation": 1, "digest": "0" * 32, "since": 1.0}).encode(),
    ],
)
def test_an_intent_that_cannot_be_trusted_is_none(line: bytes) -> None:
    assert decode(line + b"\n" + encode_answer(ANSWER, b"", sealed=False)) == (None, None)


def test_an_absurd_length_is_no_answer() -> None:
    line = json.dumps({"status": 200, "headers": {}, "sealed": False, "length": -4, "sha256": ""}).encode()
    assert decode(encode_intent(INTENT) + line + b"\nbody")[1] is None


def test_a_header_that_is_not_unicode_does_not_cost_the_answer() -> None:
    answer = HttpResponse(200, {"date": "\udcff"}, b"{}")
    found = decode(encode_intent(INTENT) + encode_answer(answer, b"{}", sealed=False))[1]
    assert found is not None
    assert (found.headers, found.body) == ({"date": "?"}, b"{}")


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    decode(data)
    decode(encode_intent(INTENT) + data)


def test_a_line_is_marked_in_place() -> None:
    line, marked = encode_intent(INTENT), replace(INTENT, presented=True)
    place, mark = presented_mark(line)
    after = line[:place] + mark + line[place + len(mark) :]
    assert after == encode_intent(marked)
    assert len(after) == len(line)
    assert decode(line) == (INTENT, None)
    assert decode(after) == (marked, None)


def test_a_record_of_a_time_without_the_mark_may_have_been_presented() -> None:
    old = json.loads(encode_intent(INTENT))
    del old["presented"]
    assert decode(json.dumps(old).encode() + b"\n")[0] == replace(INTENT, presented=True)
