import pytest

from broker.translate.claude_errors import decode_error, read_error
from broker.translate.ir import FailureKind


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (
            401,
            b'{"type":"error","error":{"type":"authentication_error","message":"bad"}}',
            FailureKind.AUTHENTICATION,
            "bad",
        ),
        (400, b'{"error":{"type":"request_too_large","message":"big"}}', FailureKind.TOO_LARGE, "big"),
        (529, b'{"error":{"type":"overloaded_error","message":"busy"}}', FailureKind.OVERLOADED, "busy"),
        (429, b'{"error":{"type":7}}', FailureKind.RATE_LIMITED, "the upstream answered 429 without saying why"),
        (503, b'{"error":"plain"}', FailureKind.OVERLOADED, "plain"),
        (500, b"<html>", FailureKind.SERVER, "the upstream answered 500 without saying why"),
    ],
)
def test_what_an_answer_means(status, body, kind, message):
    failure = decode_error(status, body)
    assert (failure.status, failure.kind, failure.message) == (status, kind, message)


@pytest.mark.parametrize(
    ("word", "status"),
    [("rate_limit_error", 429), ("api_error", 502), ("billing_error", 403), ("of_next_year", 502), (None, 502)],
)
def test_an_error_in_a_stream_has_the_status_of_its_type(word, status):
    assert read_error({"type": word, "message": "m"}).status == status
