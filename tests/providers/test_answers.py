import pytest

from broker.model.clock import Now
from broker.oauth.failures import FlowFailedError, RateLimited
from broker.oauth.messages import HttpResponse
from broker.providers.answers import amount, expected, parsed, share

NOW = Now(1_777_630_830.0, 1.0)


@pytest.mark.parametrize(
    ("body", "found"),
    [(b'{"a":1}', {"a": 1}), (b"[]", {}), (b"nothing", {}), (b"", {}), (b'{"a":"\xff"}', {}), (b"[" * 100_000, {})],
)
def test_an_answer_is_an_object_or_empty(body: bytes, found: object) -> None:
    assert parsed(HttpResponse(200, body=body)) == found


def test_a_refusal_is_sorted() -> None:
    assert expected(HttpResponse(200, body=b'{"a":1}'), NOW) == {"a": 1}
    with pytest.raises(FlowFailedError) as caught:
        expected(HttpResponse(429, {"retry-after": "7"}), NOW)
    assert caught.value.failure == RateLimited("the provider answered 429", 7.0)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (5, 5.0),
        (0.25, 0.25),
        ("100", 100.0),
        ("many", None),
        (-1, None),
        (True, None),
        (float("inf"), None),
        ("nan", None),
        (None, None),
        ([], None),
    ],
)
def test_amounts(value: object, found: float | None) -> None:
    assert amount(value) == found


@pytest.mark.parametrize(
    ("part", "whole", "found"),
    [(1.0, 4.0, 0.25), (0.0, 4.0, 0.0), (9.0, 4.0, 1.0), (None, 4.0, None), (1.0, None, None), (1.0, 0.0, None)],
)
def test_shares(part: float | None, whole: float | None, found: float | None) -> None:
    assert share(part, whole) == found
