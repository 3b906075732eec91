import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.embeddings import Texts, Vectors, decode_request, encode_answer
from broker.translate.ir import Failure


def decode(**fields: object) -> Texts:
    return decode_request(json.dumps({"model": "m", **fields}).encode())


def test_requests() -> None:
    assert decode(input="a", user="me") == Texts(("a",))
    assert decode(input=["a", ""], dimensions=3, encoding_format="base64") == Texts(("a", ""), 3, packed=True)
    assert decode(input="a", encoding_format="float") == Texts(("a",))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, "input"), ({"input": []}, "input"), ({"input": [1, 2]}, "input"), ({"input": ["a", [1]]}, "input"), ({"input": {}}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"), ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
    ],
)  # fmt: skip
def test_refused_requests_name_the_field(fields: dict[str, object], where: str) -> None:
    with pytest.raises(BrokerError) as caught:
        decode(**fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert caught.value.detail.startswith(f"{where}: ")


def test_answers() -> None:
    whole = encode_answer(Vectors([[0.5, -1.25], [3.0, 0.1]], 7), Texts(("a", "b")), "mine")
    assert isinstance(whole, bytes)
    assert json.loads(whole) == {
        "object": "list",
        "model": "mine",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.25]},
            {"object": "embedding", "index": 1, "embedding": [3.0, 0.1]},
        ],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def test_tokens_that_nobody_counted_are_not_told() -> None:
    assert b"usage" not in encode_answer(Vectors([[1.0]]), Texts(("a",)), "m")  # type: ignore[operator]


def test_base64_is_little_endian() -> None:
    whole = encode_answer(Vectors([[1.0, -2.5]], 1), Texts(("a",), packed=True), "m")
    assert isinstance(whole, bytes)
    packed = base64.b64decode(json.loads(whole)["data"][0]["embedding"])
    assert packed == bytes.fromhex("0000803f000020c0")


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_numbers_survive_both_ways(numbers: list[float]) -> None:
    asked = Texts(("a",))
    plain, packed = (encode_answer(Vectors([numbers]), Texts(asked.texts, packed=each), "m") for each in (False, True))
    assert isinstance(plain, bytes)
    assert isinstance(packed, bytes)
    told = base64.b64decode(json.loads(packed)["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(numbers)}f", told)) == numbers == json.loads(plain)["data"][0]["embedding"]


@pytest.mark.parametrize(
    ("found", "asked"), [(Vectors([[1.0]]), Texts(("a", "b"))), (Vectors([[1e300]]), Texts(("a",), packed=True))]
)
def test_what_is_no_answer(found: Vectors, asked: Texts) -> None:
    told = encode_answer(found, asked, "m")
    assert isinstance(told, Failure)
    assert told.status == 502
