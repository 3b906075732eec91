import json

import pytest

from broker.translate.ir import FailureKind
from broker.translate.kiro_errors import decode_error, read_error


def read(status, **body):
    return decode_error(status, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "body", "meant", "kind"),
    [
        (402, {"reason": "MONTHLY_REQUEST_COUNT"}, 402, FailureKind.QUOTA_EXHAUSTED),
        (402, {}, 402, FailureKind.QUOTA_EXHAUSTED),
        (400, {"reason": "MONTHLY_REQUEST_COUNT"}, 402, FailureKind.QUOTA_EXHAUSTED),
        (403, {"reason": "OVERAGE_REQUEST_LIMIT_EXCEEDED"}, 402, FailureKind.QUOTA_EXHAUSTED),
        (429, {"reason": "MONTHLY_REQUEST_COUNT"}, 429, FailureKind.QUOTA_EXHAUSTED),
        (429, {"reason": None}, 429, FailureKind.RATE_LIMITED),
        (400, {"reason": "USER_REQUEST_RATE_EXCEEDED"}, 429, FailureKind.RATE_LIMITED),
        (429, {"reason": "INSUFFICIENT_MODEL_CAPACITY"}, 503, FailureKind.OVERLOADED),
        (500, {"reason": "INSUFFICIENT_MODEL_CAPACITY"}, 503, FailureKind.OVERLOADED),
        (400, {"reason": "INVALID_MODEL_ID"}, 404, FailureKind.NOT_FOUND),
        (400, {"reason": "CONTENT_LENGTH_EXCEEDS_THRESHOLD"}, 400, FailureKind.BAD_REQUEST),
        (400, {"__type": "com.amazon#ThrottlingException"}, 429, FailureKind.RATE_LIMITED),
        (400, {"__type": "ThrottlingError:http://internal.amazon.com/"}, 429, FailureKind.RATE_LIMITED),
        (400, {"__type": "ServiceQuotaExceededException"}, 402, FailureKind.QUOTA_EXHAUSTED),
        (400, {"__type": "AccessDeniedException"}, 403, FailureKind.PERMISSION),
        (400, {"__type": "ExpiredTokenException"}, 401, FailureKind.AUTHENTICATION),
        (400, {"__type": "ValidationException"}, 400, FailureKind.BAD_REQUEST),
        (400, {"__type": "SomethingException"}, 400, FailureKind.BAD_REQUEST),
        (403, {"__type": "ThrottlingException"}, 403, FailureKind.PERMISSION),
        (403, {"reason": "TEMPORARILY_SUSPENDED"}, 403, FailureKind.PERMISSION),
        (500, {"__type": "ValidationException"}, 500, FailureKind.SERVER),
    ],
)
def test_what_an_answer_means(status, body, meant, kind):
    failure = read(status, message="told", **body)
    assert (failure.status, failure.kind, failure.message) == (meant, kind, "told")


@pytest.mark.parametrize(
    ("status", "message", "meant"),
    [
        (403, "The bearer token included in the request is invalid.", 401),
        (403, "The security token included in the request is expired", 401),
        (401, "The bearer token included in the request is invalid.", 401),
        (403, "Invalid token", 403),  # a wrong region: a new token would be no better
        (403, "User is not authorized to access this feature.", 403),
        (400, "The bearer token included in the request is invalid.", 400),
    ],
)
def test_a_token_that_has_ended_is_told_by_401(status, message, meant):
    assert read(status, message=message).status == meant


def test_words_are_kept():
    failure = read(402, message="You have reached the limit.", reason="MONTHLY_REQUEST_COUNT", __type="a.b#Limit")
    assert (failure.message, failure.reason, failure.code) == (
        "You have reached the limit.", "MONTHLY_REQUEST_COUNT", "Limit",
    )  # fmt: skip
    assert read(400, Message="big letter").message == "big letter"
    assert read(400, error={"reason": "INVALID_MODEL_ID", "message": "inside"}).status == 404
    assert read(400, reason="PROMPT_TOO_LONG").message == "PROMPT_TOO_LONG"
    assert read(400, __type="x#ValidationException").message == "ValidationException"
    assert "without saying why" in decode_error(500, b"<html>").message


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("ThrottlingException", {}, 429),
        ("ServiceQuotaExceededException", {}, 402),
        ("AccessDeniedException", {"message": "The bearer token included in the request is invalid"}, 401),
        ("AccessDeniedException", {}, 403),
        ("ResourceNotFoundException", {}, 404),
        ("InternalServerException", {}, 500),
        ("InternalServerException", {"reason": "INSUFFICIENT_MODEL_CAPACITY"}, 503),
        ("ServiceUnavailableException", {}, 503),
        ("ValidationException", {"reason": "MONTHLY_REQUEST_COUNT"}, 402),
        ("ModelBrokeException", {}, 502),
        ("", {}, 502),
    ],
)
def test_in_a_stream_the_name_tells(name, body, status):
    assert read_error(body, name=name).status == status
