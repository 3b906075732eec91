import pytest

from broker.translate.ir import FailureKind
from broker.translate.openai_errors import decode_error, read_error, tells_error


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (401, b'{"error":{"message":"bad key","type":"invalid_request_error","code":"invalid_api_key"}}', FailureKind.AUTHENTICATION, "bad key"),
        (429, b'{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}', FailureKind.QUOTA_EXHAUSTED, "m"),
        (429, b'{"error":{"message":"m","type":"requests"}}', FailureKind.RATE_LIMITED, "m"),
        (404, b'{"error":{"message":"m","type":"invalid_request_error","code":"model_not_found"}}', FailureKind.NOT_FOUND, "m"),
        (413, b'{"error":{"message":"m","type":"invalid_request_error"}}', FailureKind.TOO_LARGE, "m"),
        (503, b'[{"error":{"message":"m","type":"overloaded_error"}}]', FailureKind.OVERLOADED, "m"),
        (400, b'{"error":"plain"}', FailureKind.BAD_REQUEST, "plain"),
        (422, b'{"detail":"unprocessable"}', FailureKind.BAD_REQUEST, "unprocessable"),
        (500, b"[]", FailureKind.SERVER, "the upstream answered 500 without saying why"),
    ],
)  # fmt: skip
def test_what_an_answer_means(status, body, kind, message):
    failure = decode_error(status, body)
    assert (failure.status, failure.kind, failure.message) == (status, kind, message)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"type": "rate_limit_error"}, 429),
        ({"type": "server_error"}, 502),
        ({"code": 503}, 503),
        ({"code": 7}, 502),
        ({}, 502),
    ],
)
def test_an_error_in_a_stream_has_the_status_its_words_tell(error, status):
    assert read_error({"error": error}).status == status


def test_what_is_no_json_is_told_by_its_status():
    told = decode_error(503, b"<html>")
    assert (told.kind, told.message) == (FailureKind.OVERLOADED, "the upstream answered 503 without saying why")


def test_the_field_at_fault_and_the_wait_are_kept():
    told = read_error({"error": {"type": "usage_limit_reached", "message": "m", "param": "p", "resets_in_seconds": 90}})
    assert (told.param, told.retry_after, told.kind) == ("p", 90.0, FailureKind.QUOTA_EXHAUSTED)
    assert read_error({"error": {"resets_in_seconds": True}}).retry_after is None
    assert read_error({"error": {"resets_at": 1777936568}}).retry_at == 1777936568.0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error":{"message":"m"},"x":1}', True),
        (b'{"detail":"Unauthorized"}', False),
        (b'{"error":"plain"}', False),
        (b'{"error":null}', False),
        (b"[]", False),
        (b"<html>", False),
        (b'{"error":"\xff"}', False),
        (b'{"error":' + b"[" * 50_000, False),
    ],
)
def test_whether_a_body_is_an_error_of_the_dialect(body, told):
    assert tells_error(body) is told
