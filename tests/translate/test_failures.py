"""Failures: what a status means, and our own errors in the neutral shape."""

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.failures import (
    broken_answer,
    error_body,
    error_inside,
    failure_of,
    kind_of,
    message_of,
    tells_error,
)
from broker.translate.ir import Failed, Failure, FailureKind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FailureKind.BAD_REQUEST),
        (401, FailureKind.AUTHENTICATION),
        (403, FailureKind.PERMISSION),
        (404, FailureKind.NOT_FOUND),
        (408, FailureKind.TIMEOUT),
        (413, FailureKind.TOO_LARGE),
        (422, FailureKind.BAD_REQUEST),
        (429, FailureKind.RATE_LIMITED),
        (500, FailureKind.SERVER),
        (503, FailureKind.OVERLOADED),
        (504, FailureKind.TIMEOUT),
        (529, FailureKind.OVERLOADED),
        (599, FailureKind.SERVER),
    ],
)
def test_what_a_status_means(status, kind):
    assert kind_of(status) is kind


def test_a_bad_field_becomes_the_param():
    failure = failure_of(BrokerError(ErrorCode.BAD_REQUEST, "messages[0].role: unknown role"))
    assert failure == Failure(
        400, FailureKind.BAD_REQUEST, "messages[0].role: unknown role", code="bad_request", param="messages[0].role"
    )


def test_other_errors_carry_their_advice_and_delay():
    failure = failure_of(BrokerError(ErrorCode.RATE_LIMITED, "All accounts cool down.", hint="Wait.", retry_after=3))
    assert failure == Failure(
        429, FailureKind.RATE_LIMITED, "All accounts cool down. Wait.", code="rate_limited", retry_after=3
    )
    assert failure_of(BrokerError(ErrorCode.INTERNAL, "Oops.", hint="")).message == "Oops."


def test_a_broken_answer_is_the_upstreams_fault():
    event = broken_answer("cut")
    assert isinstance(event, Failed)
    assert (event.failure.status, event.failure.kind, event.failure.message) == (502, FailureKind.SERVER, "cut")


@pytest.mark.parametrize(
    ("body", "whole", "inside"),
    [
        (b'{"error":{"message":"m"},"x":1}', {"error": {"message": "m"}, "x": 1}, {"message": "m"}),
        (b'[{"error":"plain"}]', {"error": "plain"}, {"message": "plain"}),
        (b'{"error":7}', {"error": 7}, {}),
        (b"[]", {}, {}),
        (b"7", {}, {}),
        (b"<html>", {}, {}),
        (b'{"error":"\xff"}', {}, {}),
        (b"[" * 50_000, {}, {}),
    ],
)
def test_what_an_error_answer_holds(body, whole, inside):
    assert (error_body(body), error_inside(body)) == (whole, inside)


def test_a_message_is_never_empty_and_never_a_page():
    assert message_of("m", 500) == "m"
    assert message_of("", 500) == message_of(None, 500) == "the upstream answered 500 without saying why"
    assert len(message_of("x" * 5000, 500)) == 2000


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error":{"message":"x"}}', True),
        (b'[{"error":{"code":400}}]', True),
        (b'{"error":"x"}', False),
        (b"<html>error</html>", False),
        (b"[]", False),
        (b"\xff", False),
    ],
)
def test_what_is_an_error_in_an_api_s_own_words(body: bytes, told: bool) -> None:
    assert tells_error(body) is told
